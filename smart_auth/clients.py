"""Clients of a tenant: what is registered of an app, and its secret (RFC 6749 §2, SMART App Launch client types)."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.interactions.access import Role
from fhir_server.store.protocol import Unit
from smart_auth import redirects, revocations
from smart_auth.scopes import AnyScope, parse

Kind = Literal["public", "confidential-symmetric", "confidential-asymmetric"]
Surface = Literal["website", "patient-portal", "provider-portal", "auditor", "administrator", "service"]
GrantType = Literal["client_credentials", "authorization_code", "refresh_token"]
KIND = "client"

# The role of a client that acts for itself; a portal never does.
OWN_ROLE: Mapping[Surface, Role] = {
    "website": "website",
    "auditor": "auditor",
    "administrator": "administrator",
    "service": "service",
}
# Whom a surface lets in: people of these roles may sign in through it.
PEOPLE: Mapping[Surface, frozenset[Role]] = {
    "website": frozenset({"patient", "proxy"}),
    "patient-portal": frozenset({"patient", "proxy"}),
    "provider-portal": frozenset({"practitioner", "front-desk", "auditor", "administrator"}),
    "auditor": frozenset({"auditor"}),
    "administrator": frozenset({"administrator"}),
    "service": frozenset(),
}

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_ABSENT = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True, slots=True)
class Client:
    """A registered app. `secret_hash` is the hex SHA-256 of a random secret; `jwks` holds public keys only."""

    client_id: str
    kind: Kind
    surface: Surface
    scopes: tuple[str, ...]
    grant_types: tuple[GrantType, ...]
    redirect_uris: tuple[str, ...] = ()
    secret_hash: str = ""
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str = ""
    name: str = ""
    disabled: bool = False
    launch_uris: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    def registered(self) -> tuple[AnyScope, ...]:
        """The scopes that it may be granted."""
        return tuple(parse(scope) for scope in self.scopes)

    def knows_secret(self, secret: str) -> bool:
        """Whether `secret` is the client's, in constant time; never for a client that has none."""
        given = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
        has_one = self.kind == "confidential-symmetric" and bool(self.secret_hash)
        return hmac.compare_digest(given, self.secret_hash if has_one else _ABSENT) and has_one


def hash_secret(secret: str) -> str:
    """What is stored of a client's secret: it is random, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret() -> str:
    """A random secret of 256 bits."""
    return secrets.token_urlsafe(32)


async def save(unit: Unit, client: Client) -> None:
    """Store a client, replacing the one of its id; a disabled one's tokens are refused from now on."""
    await unit.keep(KIND, client.client_id, json.dumps(asdict(client)).encode())
    mark = revocations.client_mark(client.client_id)
    if client.disabled:
        await revocations.revoke(unit, mark, None)
    else:
        await revocations.restore(unit, mark)
    uris = [uri for each in await all_clients(unit) if not each.disabled for uri in each.redirect_uris]
    await unit.keep("setting", "app-origins", json.dumps(redirects.origins(uris)).encode())


async def load(unit: Unit, client_id: str) -> Client | None:
    """The client of that id, a disabled one too."""
    if CLIENT_ID.fullmatch(client_id) is None:
        return None
    stored = await unit.peek(KIND, client_id)
    return None if stored is None else _read(stored)


async def all_clients(unit: Unit) -> Sequence[Client]:
    """The tenant's clients, by id."""
    return sorted((_read(value) for _, value in await unit.kept(KIND)), key=lambda client: client.client_id)


async def rotate_secret(unit: Unit, client_id: str) -> str | None:
    """A new secret, shown this once; the old one stops working. None when there is no such symmetric client."""
    client = await load(unit, client_id)
    if client is None or client.kind != "confidential-symmetric":
        return None
    secret = new_secret()
    await save(unit, replace(client, secret_hash=hash_secret(secret)))
    return secret


async def disable(unit: Unit, client_id: str) -> bool:
    """Let the client get no more tokens. False when there is no such client."""
    client = await load(unit, client_id)
    if client is None:
        return False
    await save(unit, replace(client, disabled=True))
    return True


def import_jwks(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The public parts of a JWK Set for client assertions. Raises ValueError naming what is wrong with it."""
    keys = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError("A JWK Set is an object with a non-empty array 'keys'.")
    try:
        imported = KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise ValueError("The JWK Set holds a key that cannot be read.") from error
    public = []
    for key in imported:
        if not isinstance(key, RSAKey | ECKey) or not key.kid:
            raise ValueError("Each key of the JWK Set must be an RSA or EC key with a 'kid'.")
        if isinstance(key, RSAKey) and key.public_key.key_size < 2048:
            raise ValueError("An RSA key of the JWK Set is shorter than 2048 bits.")
        public.append(key.as_dict(private=False))
    return {"keys": public}


def _check(client: Client) -> None:
    """Raises ValueError for a registration that contradicts itself."""
    if CLIENT_ID.fullmatch(client.client_id) is None:
        raise ValueError("A client id is 1 to 128 letters, digits and . _ ~ - and begins with a letter or digit.")
    if client.kind not in get_args(Kind) or client.surface not in get_args(Surface):
        raise ValueError("The client's kind or surface is none that this server has.")
    if set(client.grant_types) - set(get_args(GrantType)):
        raise ValueError("A grant type of the client is none that this server has.")
    if (client.kind == "confidential-symmetric") != bool(client.secret_hash):
        raise ValueError("A secret belongs to a confidential-symmetric client, and only to one.")
    if (client.kind == "confidential-asymmetric") != bool(client.jwks or client.jwks_uri):
        raise ValueError("A JWK Set or its URL belongs to a confidential-asymmetric client, and only to one.")
    acts_for_itself = "client_credentials" in client.grant_types
    if acts_for_itself and (client.kind == "public" or client.surface not in OWN_ROLE):
        raise ValueError("client_credentials is for a confidential client of a surface that acts for itself.")
    for uri in client.redirect_uris:
        redirects.check(uri)
    client.registered()


def _read(stored: bytes) -> Client:
    written: dict[str, Any] = json.loads(stored)
    for name in ("scopes", "grant_types", "redirect_uris", "launch_uris"):
        written[name] = tuple(written.get(name, ()))
    return Client(**written)


# Stands in for a client that is not there, so that the answer takes as long.
NOBODY = Client("nobody", "public", "service", (), (), disabled=True)
