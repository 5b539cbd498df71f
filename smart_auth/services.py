"""What the authorization server works with, handed in by the app."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.fhir.clock import Clock, Ids, Micros
from fhir_server.store.protocol import Store, Unit
from smart_auth import keys
from smart_auth.keys import KeyRing, Seal, SigningKey, Unsealed
from smart_auth.urls import TenantUrls


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token that was issued or refused, for the audit log. Nothing in it is secret.

    `client_id` is what the caller claimed when `outcome` is `refused`; `error` is then the OAuth error code.
    """

    tenant: str
    at: Micros
    outcome: Literal["issued", "refused"]
    grant_type: str
    client_id: str
    subject: str = ""
    scope: str = ""
    token_id: str = ""
    error: str = ""
    description: str = ""
    request_id: str = ""


Record = Callable[[TokenEvent], Awaitable[None]]
FetchJwks = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Services:
    """Store, clock, ids, the public origin, and where events go; no token leaves before `record` has returned.

    `fetch_jwks` reads a client's `jwks_uri`; None: keys by URL are refused. `types` are the resource types served.
    """

    store: Store
    clock: Clock
    ids: Ids
    origin: str
    record: Record
    types: frozenset[str] = frozenset()
    lifetime_in_seconds: int = 300
    seal: Seal = field(default_factory=Unsealed)
    fetch_jwks: FetchJwks | None = None

    def urls(self, tenant: str) -> TenantUrls:
        """The tenant's URLs."""
        return TenantUrls(self.origin, tenant)

    async def key_ring(self, tenant: str) -> KeyRing:
        """The tenant's keys; what a Verifier loads."""

        async def work(unit: Unit) -> KeyRing:
            return await keys.load(unit, self.seal)

        return await self.store.run(tenant, work, write=False, quick=True)

    async def signing_key(self, tenant: str) -> SigningKey:
        """The tenant's key for access tokens, made when there is none yet."""
        key = (await self.key_ring(tenant)).signing(keys.ACCESS_TOKEN_ALGORITHM)
        if key is not None:
            return key

        async def work(unit: Unit) -> KeyRing:
            return await keys.ensure(unit, self.seal, self.clock())

        made = (await self.store.run(tenant, work, write=True)).signing(keys.ACCESS_TOKEN_ALGORITHM)
        assert made is not None  # ensure() has just seen to it
        return made
