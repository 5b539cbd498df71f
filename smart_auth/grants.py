"""What a person granted to an app, and the codes and refresh tokens that stand for it (RFC 6749 §4.1, §6).

Codes and refresh tokens are random, kept as SHA-256, and used once: using takes. What was taken leaves a `spent` mark,
so that whoever comes with it a second time gives the theft away and the whole family is revoked (RFC 9700 §4.14.2).

    code     SHA-256 -> Authorization, one minute
    refresh  SHA-256 -> Authorization; 90 days from its last use
    spent    SHA-256 -> id of the grant
    grant    id of the grant -> SHA-256 of its refresh token
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit
from smart_auth import revocations
from smart_auth.scopes import URI_FORM

CODE, REFRESH, SPENT, GRANT = "code", "refresh", "spent", "grant"
CODE_LIFETIME: Micros = 60 * 1_000_000
REFRESH_LIFETIME: Micros = 90 * 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Authorization:
    """A consent: which app may act for whom, how far, and in what context.

    `grant` is its id, borne by all tokens that stem from it. `context` holds what goes with a token response beside
    `patient` and `encounter`. `session` is the SHA-256 of the session in which it was given. `signed_in` is in seconds.
    """

    grant: str
    client_id: str
    account: str
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str
    session: str
    signed_in: int
    patient: str = ""
    encounter: str = ""
    nonce: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lasts(self) -> bool:
        """Whether a refresh token goes with it."""
        return bool({"offline_access", "online_access"}.intersection(self.bare_scopes()))

    @property
    def needs_session(self) -> bool:
        """Whether the refresh token works only while the person is signed in."""
        return "offline_access" not in self.bare_scopes()

    def bare_scopes(self) -> frozenset[str]:
        """The scopes without the prefix of their URI form."""
        return frozenset(scope.removeprefix(URI_FORM) for scope in self.scopes)


def digest(value: str) -> str:
    """What is kept of a random value."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


async def new_code(unit: Unit, authorization: Authorization, now: Micros) -> str:
    """A code for the authorization."""
    code = secrets.token_urlsafe(32)
    await unit.keep(CODE, digest(code), _written(authorization), now + CODE_LIFETIME)
    return code


async def new_refresh_token(unit: Unit, authorization: Authorization, now: Micros) -> str:
    """A refresh token for the authorization."""
    token = secrets.token_urlsafe(48)
    await unit.keep(REFRESH, digest(token), _written(authorization), now + REFRESH_LIFETIME)
    await unit.keep(GRANT, authorization.grant, digest(token).encode(), now + REFRESH_LIFETIME)
    return token


async def peek_refresh_token(unit: Unit, token: str) -> Authorization | None:
    """What a refresh token stands for, without using it."""
    stored = await unit.peek(REFRESH, digest(token))
    return None if stored is None else _read(stored)


async def spend(unit: Unit, kind: str, value: str, now: Micros, revoked_until: Micros) -> Authorization | None:
    """What a code or refresh token stands for, used up now. None when it is not one, or not any more.

    One that was used before revokes its grant: its refresh token, and its access tokens until `revoked_until`.
    """
    name = digest(value)
    stored = await unit.take(kind, name)
    if stored is None:
        spent = await unit.peek(SPENT, name)
        if spent is not None:
            await revoke_grant(unit, spent.decode(), revoked_until)
        return None
    found = _read(stored)
    await unit.keep(SPENT, name, found.grant.encode(), now + REFRESH_LIFETIME)
    if await unit.peek(revocations.KIND, revocations.grant_mark(found.grant)) is not None:
        return None
    return found


async def revoke_grant(unit: Unit, grant: str, until: Micros) -> None:
    """Revoke all that stems from a consent; `until` is when its last access token has expired."""
    refresh = await unit.take(GRANT, grant)
    if refresh is not None:
        await unit.take(REFRESH, refresh.decode())
    await revocations.revoke(unit, revocations.grant_mark(grant), until)


def _written(authorization: Authorization) -> bytes:
    return json.dumps(asdict(authorization)).encode()


def _read(stored: bytes) -> Authorization:
    written: dict[str, Any] = json.loads(stored)
    written["scopes"] = tuple(written["scopes"])
    return Authorization(**written)
