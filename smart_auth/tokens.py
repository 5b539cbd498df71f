"""Access tokens: JWTs that are issued and verified here (RFC 9068, RFC 6750 §3, RFC 8725).

The verifier pins the algorithm and the header's members, takes only keys of the tenant that is asked, and never
looks at keys that a token brings along.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from joserfc import jwt
from joserfc.errors import JoseError

from fhir_server.fhir.clock import Clock, Micros
from fhir_server.fhir.errors import Unauthorized
from fhir_server.interactions.access import Access, Agent, Role
from smart_auth import revocations
from smart_auth.keys import ACCESS_TOKEN_ALGORITHM, KeyRing, SigningKey
from smart_auth.urls import TenantUrls

TYPE = "at+jwt"
MAX_LENGTH = 8192  # characters
SKEW_IN_SECONDS = 5  # between the clocks of the machines of one deployment
CHECKED_FOR_IN_SECONDS = 60  # then a cached token's signature and key are checked again

_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, slots=True)
class Verified:
    """A good token: who sends it, what that one may do, and until when (`expires`, seconds since 1970).

    `marks` are what it may be revoked by.
    """

    agent: Agent
    access: Access
    subject: str
    expires: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issue:
    """What a token says. `subject` is the account's name, or the client's id when no person is behind it.

    `grant` is the consent that it stems from, `encounter` the id of the launch context's encounter.
    """

    agent: Agent
    subject: str
    surface: str
    issued: Micros
    lifetime_in_seconds: int
    grant: str = ""
    encounter: str = ""


def issue(key: SigningKey, urls: TenantUrls, what: Issue) -> str:
    """A signed access token; the agent's `token_id` is its `jti`."""
    agent, now = what.agent, what.issued // 1_000_000
    claims: dict[str, Any] = {
        "iss": urls.issuer,
        "aud": urls.fhir_base,
        "sub": what.subject,
        "client_id": agent.client_id,
        "scope": " ".join(agent.scopes),
        "jti": agent.token_id,
        "iat": now,
        "exp": now + what.lifetime_in_seconds,
        "role": agent.role,
        "surface": what.surface,
    }
    private = {"name": agent.name, "fhirUser": agent.fhir_user, "patient": agent.patient,
               "encounter": what.encounter, "grant": what.grant}  # fmt: skip
    claims |= {name: value for name, value in private.items() if value}
    header = {"alg": key.algorithm, "typ": TYPE, "kid": key.kid}
    return jwt.encode(header, claims, key.key, algorithms=[key.algorithm])


def challenge(realm: str, description: str = "") -> str:
    """The WWW-Authenticate value; with a description, the token that was sent is invalid (RFC 6750 §3)."""
    plain = f'Bearer realm="{_quotable(realm)}"'
    return f'{plain}, error="invalid_token", error_description="{_quotable(description)}"' if description else plain


def bearer_token(authorization: str | None, realm: str) -> str | None:
    """The token of an Authorization header; None when there is no header. Raises Unauthorized for another scheme."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or _TOKEN68.fullmatch(token) is None:
        raise refusal(realm, "The Authorization header must be 'Bearer' and one access token.")
    return token


def refusal(realm: str, description: str, *, code: str = "login") -> Unauthorized:
    """A 401 with its challenge; the description must not repeat the token."""
    headers = {"WWW-Authenticate": challenge(realm, description)}
    return Unauthorized(description, code=code, headers=headers)


class Verifier:
    """Verifies access tokens, and remembers the last `size` good ones by their SHA-256.

    `load_keys` reads a tenant's keys, `resolve` makes an agent's Access in a tenant (its third argument is the
    surface), `is_revoked` says whether a token with these marks was revoked. Expiry and revocation are looked at on
    every call.
    """

    def __init__(
        self,
        origin: str,
        clock: Clock,
        load_keys: Callable[[str], Awaitable[KeyRing]],
        resolve: Callable[[str, Agent, str], Awaitable[Access]],
        is_revoked: Callable[[str, Sequence[str]], Awaitable[bool]],
        *,
        size: int = 10_000,
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._load_keys = load_keys
        self._resolve = resolve
        self._is_revoked = is_revoked
        self._size = size
        self._good: dict[tuple[str, bytes], tuple[int, Verified]] = {}
        self._rings: dict[str, tuple[int, KeyRing]] = {}

    async def verify(self, tenant: str, token: str) -> Verified:
        """Who sends the token. Raises Unauthorized, with the challenge, for any token that is not good here."""
        verified = await self.known(tenant, token)
        if verified is not None:
            return verified
        now = self._clock() // 1_000_000
        verified = await self._check(TenantUrls(self._origin, tenant), token, now)
        if await self._is_revoked(tenant, verified.marks):
            raise self._revoked(tenant)
        self._remember(_name(tenant, token), verified, now)
        return verified

    async def known(self, tenant: str, text: str) -> Verified | None:
        """Who sends a token that is remembered as good; None for any other text. Raises Unauthorized if revoked."""
        name = _name(tenant, text)
        known = self._good.pop(name, None)
        if known is None or self._clock() // 1_000_000 >= known[0]:
            return None
        if await self._is_revoked(tenant, known[1].marks):
            raise self._revoked(tenant)
        self._good[name] = known  # put back as the newest
        return known[1]

    def _revoked(self, tenant: str) -> Unauthorized:
        return refusal(TenantUrls(self._origin, tenant).fhir_base, "The access token was revoked.")

    def forget(self, tenant: str) -> None:
        """Drop what is remembered of a tenant, after a key was withdrawn or a client disabled."""
        self._rings.pop(tenant, None)
        for name in [name for name in self._good if name[0] == tenant]:
            del self._good[name]

    def _remember(self, name: tuple[str, bytes], verified: Verified, now: int) -> None:
        while len(self._good) >= self._size:
            del self._good[next(iter(self._good))]
        self._good[name] = (min(verified.expires, now + CHECKED_FOR_IN_SECONDS), verified)

    async def _check(self, urls: TenantUrls, token: str, now: int) -> Verified:
        kid = _kid(token)
        key = None if kid is None else await self._key(urls.tenant, kid, now)
        claims = None if key is None else _signed_claims(token, key)
        if claims is None:
            raise refusal(urls.fhir_base, "The access token is malformed, or not signed by this clinic.")
        if fault := _fault(claims, urls, now):
            raise refusal(urls.fhir_base, fault, code="expired" if "expired" in fault else "login")
        agent = _agent(claims)
        access = await self._resolve(urls.tenant, agent, claims["surface"])
        return Verified(agent, access, claims["sub"], claims["exp"], _marks(claims, agent))

    async def _key(self, tenant: str, kid: str, now: int) -> SigningKey | None:
        loaded, ring = self._rings.get(tenant, (0, KeyRing(())))
        key = ring.verifying(kid, ACCESS_TOKEN_ALGORITHM)
        if key is not None and now - loaded < CHECKED_FOR_IN_SECONDS:
            return key
        # An unknown `kid` may be one that another process just made; asking costs no more than an anonymous read.
        ring = await self._load_keys(tenant)
        self._rings.pop(tenant, None)
        while len(self._rings) >= self._size:
            del self._rings[next(iter(self._rings))]
        self._rings[tenant] = (now, ring)
        return ring.verifying(kid, ACCESS_TOKEN_ALGORITHM)


def _name(tenant: str, token: str) -> tuple[str, bytes]:
    """What a token is remembered by."""
    return tenant, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _kid(token: str) -> str | None:
    """The key's id, if the header is exactly one that this server writes."""
    if len(token) > MAX_LENGTH or token.count(".") != 2:
        return None
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or header.keys() != {"alg", "typ", "kid"}:
        return None
    is_ours = header["alg"] == ACCESS_TOKEN_ALGORITHM and header["typ"] == TYPE
    return header["kid"] if is_ours and isinstance(header["kid"], str) else None


def unverified_claims(token: str) -> dict[str, Any]:
    """The claims of a token that a Verifier found good just now."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _signed_claims(token: str, key: SigningKey) -> dict[str, Any] | None:
    try:
        return jwt.decode(token, key.key, algorithms=[key.algorithm]).claims
    except (JoseError, ValueError, RecursionError):
        return None


def _fault(claims: dict[str, Any], urls: TenantUrls, now: int) -> str:
    """What is wrong with signed claims; '' when nothing is."""
    texts = ("iss", "aud", "sub", "client_id", "scope", "jti", "role", "surface")
    times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if any(type(claims.get(name)) is not str for name in texts) or any(type(time) is not int for time in times):
        return "The access token lacks a claim that RFC 9068 requires."
    if claims["iss"] != urls.issuer:
        return "The access token is of another issuer."
    if claims["aud"] != urls.fhir_base:
        return "The access token is for another audience."
    if claims["exp"] <= now:
        return "The access token has expired."
    if max(claims["iat"], claims.get("nbf", 0)) > now + SKEW_IN_SECONDS:
        return "The access token is not valid yet."
    return "" if claims["role"] in get_args(Role) else "The access token names a role that this server does not have."


def _marks(claims: dict[str, Any], agent: Agent) -> tuple[str, ...]:
    marks = [revocations.token_mark(agent.token_id), revocations.client_mark(agent.client_id)]
    if agent.is_human:
        marks.append(revocations.user_mark(claims["sub"]))
    if grant := claims.get("grant"):
        marks.append(revocations.grant_mark(grant))
    return tuple(marks)


def _agent(claims: dict[str, Any]) -> Agent:
    return Agent(
        role=cast(Role, claims["role"]),
        client_id=claims["client_id"],
        fhir_user=claims.get("fhirUser", ""),
        name=claims.get("name", ""),
        patient=claims.get("patient", ""),
        token_id=claims["jti"],
        scopes=tuple(claims["scope"].split(" ")) if claims["scope"] else (),
    )


def _quotable(text: str) -> str:
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
