"""A store with two clinics, fixed time, and the authorization server mounted on an app."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from fhir_server.app import make_app, make_parts
from fhir_server.fhir.clock import Ids, Micros
from fhir_server.interactions.access import Access, Agent
from fhir_server.settings import Settings
from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients, discovery
from smart_auth.clients import Client
from smart_auth.services import AuthEvent, Services
from smart_auth.token import routes
from smart_auth.tokens import Verifier
from tests.harness import open_store
from tests.smart.site import FixedClock as SiteClock
from tests.smart.site import Site, fill

ORIGIN = "https://fhir.example.org"
SECRET = "a-secret-of-the-website"


@dataclass
class FixedClock:
    now: Micros = 1_800_000_000_000_000

    def __call__(self) -> Micros:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)

    @property
    def seconds(self) -> int:
        return self.now // 1_000_000


@dataclass
class Clinic:
    """What a test works with: services, the events recorded, keys of the asymmetric client, an HTTP client."""

    services: Services
    clock: FixedClock
    events: list[AuthEvent]
    keys: dict[str, Any]
    http: httpx.AsyncClient
    resolved: list[Agent] = field(default_factory=list)

    def verifier(self, **options: Any) -> Verifier:
        async def resolve(tenant: str, agent: Agent, surface: str) -> Access:
            self.resolved.append(agent)
            return Access(agent)

        is_revoked = options.pop("is_revoked", self.services.revocations.is_revoked)
        return Verifier(ORIGIN, self.clock, self.services.key_ring, resolve, is_revoked, **options)

    async def write(self, work: Callable[[Unit], Any], tenant: str = "demo") -> Any:
        return await self.services.store.run(tenant, work, write=True)

    def assertion(self, kid: str = "rsa", alg: str = "RS384", **changes: Any) -> str:
        """A client assertion; a change to None leaves the claim out."""
        header = {"alg": alg, "typ": "JWT", "kid": changes.pop("header_kid", kid), **changes.pop("header", {})}
        claims = {
            "iss": "backend",
            "sub": "backend",
            "aud": f"{ORIGIN}/demo/auth/token",
            "exp": self.clock.seconds + 240,
            "jti": f"jti-{time.perf_counter_ns()}",
        } | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, claims, self.keys[kid], algorithms=[alg])

    async def token(self, tenant: str = "demo", **form: str) -> httpx.Response:
        headers = {}
        if basic := form.pop("basic", None):
            headers["Authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
        return await self.http.post(f"/{tenant}/auth/token", data=form, headers=headers)

    async def backend_token(self, assertion: str, scope: str = "system/Patient.rs", **form: str) -> httpx.Response:
        return await self.token(
            grant_type="client_credentials",
            scope=scope,
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            client_assertion=assertion,
            **form,
        )

    async def website_token(self, scope: str = "system/Appointment.cr") -> str:
        answer = await self.token(basic=f"website-builder:{SECRET}", grant_type="client_credentials", scope=scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture
async def clinic(store_kind: str, tmp_path: Path) -> AsyncIterator[Clinic]:
    clock = FixedClock()
    store = open_store(store_kind, tmp_path, clock, Ids(clock))
    events: list[AuthEvent] = []

    async def record(event: AuthEvent) -> None:
        events.append(event)

    keys = {"rsa": RSAKey.generate_key(2048), "ec": ECKey.generate_key("P-384"), "other": RSAKey.generate_key(2048)}
    public = {"keys": [{**keys[kid].as_dict(private=False), "kid": kid} for kid in ("rsa", "ec")]}
    types = frozenset({"Appointment", "Observation", "Patient", "Slot", "AuditEvent"})
    services = Services(store, clock, Ids(clock), ORIGIN, record, types)
    for tenant in ("demo", "other"):
        await store.create_tenant(tenant)

    async def register(unit: Unit) -> None:
        website = Client(
            "website-builder",
            "confidential-symmetric",
            "website",
            ("system/Appointment.cr", "system/Slot.rs"),
            ("client_credentials",),
            secret_hash=clients.hash_secret(SECRET),
        )
        backend = Client(
            "backend",
            "confidential-asymmetric",
            "service",
            ("system/*.rs", "system/Appointment.cruds"),
            ("client_credentials",),
            jwks=clients.import_jwks(public),
        )
        scopes = ("patient/*.rs", "launch/patient", "openid")
        portal = Client(
            "patient-portal", "public", "patient-portal", scopes, ("authorization_code",), ("http://localhost/cb",)
        )
        provider = Client(
            "provider-portal",
            "confidential-symmetric",
            "provider-portal",
            ("user/*.cruds", "patient/*.rs"),
            ("authorization_code",),
            ("http://localhost/cb",),
            secret_hash=clients.hash_secret("another"),
        )
        for client in (website, backend, portal, provider):
            await clients.save(unit, client)
        await accounts.save(unit, accounts.Account("anna", "x", "patient", "Patient/anna", "Anna"))
        await accounts.save(unit, accounts.Account("dr-lee", "x", "practitioner", "Practitioner/lee", "Dr Lee"))

    await store.run("demo", register, write=True)
    app = FastAPI()
    app.include_router(routes(services), prefix="/{tenant}/auth")
    app.include_router(discovery.routes(services))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield Clinic(services, clock, events, keys, http)
    await store.close()


def decoded(token: str, part: int) -> dict[str, Any]:
    """The header (0) or claims (1) of a JWT, unverified."""
    text = token.split(".")[part]
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return value


@pytest.fixture
def read_jwt() -> Callable[[str, int], dict[str, Any]]:
    return decoded


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A whole server, with a browser."""
    made = SiteClock()
    parts = make_parts(Settings(data=tmp_path / "site", origin=ORIGIN), clock=made)
    await fill(parts)
    app = make_app(parts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as browser:
        yield Site(parts, made, browser, app)
    await parts.store.close()
