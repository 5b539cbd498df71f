"""What the authorization server works with, handed in by the app."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from fastapi import Request

from fhir_server.fhir.clock import Clock, Ids, Micros
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.clinic import Clinic
from fhir_server.store.protocol import Store, Unit
from smart_auth import keys
from smart_auth.keys import ACCESS_TOKEN_ALGORITHM, Algorithm, KeyRing, Seal, SigningKey, Unsealed
from smart_auth.provider_client import ProviderClient
from smart_auth.revocations import Revocations
from smart_auth.urls import TenantUrls

EventKind = Literal[
    "token", "refresh", "revoke", "introspect", "login", "logout", "authorize", "consent", "launch", "register",
    "patient-search", "passkey-add", "passkey-remove", "account-link",
]  # fmt: skip
_DAY: Micros = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class AuthEvent:
    """What the authorization server did or refused, for the audit log. Nothing in it is secret.

    `client_id` and `subject` are what the caller claimed when `outcome` is `refused`, where somebody has that name;
    `error` is then the OAuth error code. `method` is how a person signed in, where it was not by password.
    `patients` are those whose data were shown (patient-search) or who are in context.
    """

    tenant: str
    at: Micros
    kind: EventKind
    outcome: Literal["done", "refused"]
    grant_type: str = ""
    client_id: str = ""
    subject: str = ""
    scope: str = ""
    token_id: str = ""
    error: str = ""
    description: str = ""
    request_id: str = ""
    address: str = ""
    fhir_user: str = ""
    role: str = ""
    query: str = ""
    method: str = ""
    patients: tuple[str, ...] = ()


Record = Callable[[AuthEvent], Awaitable[None]]
FetchJwks = Callable[[str], Awaitable[Mapping[str, Any]]]
Registration = Literal["off", "token", "open"]


@dataclass(frozen=True, slots=True)
class Fhir:
    """The clinic's FHIR side, for launch contexts and the patient picker: its tools, and an agent's access there."""

    clinic: Callable[[str], Awaitable[Clinic]]
    access: Callable[[str, Agent, str], Awaitable[Access]]


def registration_of(text: str) -> Registration:
    """The setting of that name. Raises ValueError."""
    for known in get_args(Registration):
        if known == text:
            return cast(Registration, known)
    raise ValueError("FHIR_SERVER_REGISTRATION must be off, token or open.")


def _peer(request: Request) -> str:
    return request.client.host if request.client is not None else ""


@dataclass(frozen=True, slots=True)
class Services:
    """Store, clock, ids, the public origin, and where events go; no token leaves before `record` has returned.

    `fetch_jwks` reads a client's `jwks_uri`; None: keys by URL are refused. `provider_client` speaks to the OpenID
    providers of clinics that have one. `types` are the resource types served.
    `fhir` None: no sign-in of people. `key_days`: a signing key older than that is replaced.
    """

    store: Store
    clock: Clock
    ids: Ids
    origin: str
    record: Record
    types: frozenset[str] = frozenset()
    lifetime_in_seconds: int = 300
    persons_lifetime_in_seconds: int = 3600
    seal: Seal = field(default_factory=Unsealed)
    fetch_jwks: FetchJwks | None = None
    provider_client: ProviderClient | None = None
    fhir: Fhir | None = None
    registration: Registration = "off"
    key_days: int = 90
    mounted_tenant: str = ""
    address_of: Callable[[Request], str] = _peer
    revocations: Revocations = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "revocations", Revocations(self.store, self.clock))

    def urls(self, tenant: str) -> TenantUrls:
        """The tenant's URLs."""
        return TenantUrls(self.origin, tenant)

    def audiences(self, tenant: str) -> tuple[str, ...]:
        """The FHIR bases of the tenant, as `aud` of an authorization request may name them."""
        base = self.urls(tenant).fhir_base
        return (base, f"{self.origin}/fhir") if tenant == self.mounted_tenant else (base,)

    async def key_ring(self, tenant: str) -> KeyRing:
        """The tenant's keys; what a Verifier loads."""

        async def work(unit: Unit) -> KeyRing:
            return await keys.load(unit, self.seal)

        return await self.store.run(tenant, work, write=False, quick=True)

    async def signing_key(self, tenant: str, algorithm: Algorithm = ACCESS_TOKEN_ALGORITHM) -> SigningKey:
        """The tenant's key of an algorithm; made when there is none yet, or when the last one is too old."""
        key = (await self.key_ring(tenant)).signing(algorithm)
        if key is not None and not self._is_old(key):
            return key
        # An RSA key takes long to make: not on the event loop, and not while the store is locked.
        made = await asyncio.to_thread(keys.generate, algorithm, self.clock())

        async def work(unit: Unit) -> SigningKey:
            there = (await keys.load(unit, self.seal)).signing(algorithm)
            if there is not None and not self._is_old(there):
                return there  # another process was first
            await keys.replace_with(unit, self.seal, self.clock(), made)
            return made

        return await self.store.run(tenant, work, write=True)

    def _is_old(self, key: SigningKey) -> bool:
        return self.clock() - key.created > self.key_days * _DAY
