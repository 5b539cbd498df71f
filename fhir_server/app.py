"""The composition root: everything is made and joined here, and nowhere else.

FHIR bases are served by a thin endpoint; the authorization server and the operators' pages by FastAPI beside it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

from fhir_server import pages, tasks
from fhir_server.audit import surface
from fhir_server.audit.parameters import OWN_PARAMETERS
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.witness import FileWitness
from fhir_server.booking import care, receipt, sweeper, write_rules
from fhir_server.clinics import Clinics
from fhir_server.fhir.clock import Clock, Ids, system_clock
from fhir_server.interactions import search_parameters
from fhir_server.interactions.access import ANONYMOUS, Access, Agent
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.rest.http import FhirEndpoint, caller_address, path_of
from fhir_server.rest.pipeline import SERVER_LOG, Pipeline
from fhir_server.rest.table import TABLE
from fhir_server.search.parameters import Registry
from fhir_server.settings import Settings
from fhir_server.store import forgetting
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite.store import SqliteStore
from profiles import definitions
from profiles.structure import Structure
from smart_auth import discovery, patients, seals, web
from smart_auth.events import to_events
from smart_auth.jwks_url import JwksFetcher
from smart_auth.outbound import Outbound, Resolve, resolve
from smart_auth.provider_client import ProviderClient
from smart_auth.services import AuthEvent, Fhir, Services, registration_of
from smart_auth.surfaces.access import Policies
from smart_auth.tokens import Verifier, bearer_token, refusal
from smart_auth.urls import TenantUrls

# What writes of a type obey, beside their grants.
RULES = {**write_rules.RULES, "AuditEvent": surface.mark, search_parameters.TYPE: search_parameters.rule}

Asgi = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The server in parts, for the command line, `seed` and tests as well as for HTTP."""

    settings: Settings
    store: Store
    server: Server
    clinics: Clinics
    policies: Policies
    services: Services
    verifier: Verifier
    pipeline: Pipeline
    sealer: Sealer

    def sealed_tenants(self) -> list[str]:
        """The tenants whose logs this process seals: those that it serves, and the server's own."""
        return [SERVER_LOG, *(clinic.name for clinic in self.clinics.served())]


def store_for(settings: Settings, clock: Clock, ids: Ids) -> Store:
    """The store that the settings name: the embedded one, unless they have a MongoDB string. Raises Unfit."""
    settings.check_store()
    if not settings.store:
        return SqliteStore(settings.data, clock, ids)
    from fhir_server.store.mongo.store import MongoStore  # the driver takes time to load, and most need it never

    if not settings.field_key:
        return MongoStore(settings.store, clock, ids)
    from fhir_server.store.mongo.fields import with_key

    registry = Registry(definitions.load(), OWN_PARAMETERS)
    return MongoStore(settings.store, clock, ids, sealing=with_key(settings.field_key_bytes(), registry))


def make_parts(
    settings: Settings,
    *,
    store: Store | None = None,
    clock: Clock = system_clock,
    ids: Ids | None = None,
    resolve: Resolve = resolve,
) -> Parts:
    """All parts over one store, the one that the settings name unless another is given."""
    ids = ids or Ids(clock)
    store = store or store_for(settings, clock, ids)
    tables = definitions.load()
    server = Server(
        settings,
        tables,
        Registry(tables, OWN_PARAMETERS),
        Structure(tables),
        clock,
        ids,
        TABLE,
        RULES,
        care.OWN_ENTRIES,
        care.STAMPS,
        lambda tenant: discovery.capability_security(TenantUrls(settings.origin, tenant)),
    )
    clinics = Clinics(server, store)
    policies = Policies(tables.resource_types, tables.compartments["Patient"])

    async def record(event: AuthEvent) -> None:
        await store.record(event.tenant if await store.has(event.tenant) else "", [e.entry() for e in to_events(event)])

    async def access(tenant: str, agent: Agent, surface: str) -> Access:
        if agent.role == "proxy":  # asked anew whenever a token is checked anew
            agent = await store.run(tenant, partial(patients.in_relation, agent=agent, now=clock()), write=False)
        return policies.access_for(agent, surface, (await clinics.get(tenant)).parser, clock())

    outbound = Outbound(allow_loopback=settings.loopback_jwks, resolve=resolve)
    services = Services(
        store,
        clock,
        ids,
        settings.origin,
        record,
        tables.resource_types,
        seal=seals.from_setting(settings.key),
        fetch_jwks=JwksFetcher(clock, outbound),
        provider_client=ProviderClient(clock, outbound),
        fhir=Fhir(clinics.get, access),
        registration=registration_of(settings.registration),
        key_days=settings.signing_key_days,
        mounted_tenant=settings.mounted_tenant,
        address_of=lambda request: caller_address(settings, request.scope, request.headers),
    )
    verifier = Verifier(settings.origin, clock, services.key_ring, access, services.revocations.is_revoked)
    anonymous = policies.access_for(ANONYMOUS)

    async def authenticate(clinic: Clinic, authorization: str | None) -> Access:
        if authorization is None:
            return anonymous
        if authorization.startswith("Bearer "):  # as nearly every client writes it
            known = await verifier.known(clinic.name, authorization[len("Bearer ") :])
            if known is not None:
                return known.access
        given = bearer_token(authorization, clinic.base_url) or ""
        if given.startswith(receipt.PREFIX):
            found = receipt.access(clinic, given, anonymous)
            if found is None:
                raise refusal(clinic.base_url, "The receipt is not one of this clinic, or has expired.")
            return found
        return (await verifier.verify(clinic.name, given)).access

    pipeline = Pipeline(server, store, clinics.get, authenticate, clinics.forget)
    witness = FileWitness(settings.audit_witness) if settings.audit_witness is not None else None
    sealer = Sealer(store, clock, settings.audit_keys, witness)
    return Parts(settings, store, server, clinics, policies, services, verifier, pipeline, sealer)


def make_app(parts: Parts) -> Asgi:
    """The ASGI application."""
    fhir = FhirEndpoint(parts.settings, parts.pipeline, parts.clinics.get)
    others = _web(parts)

    async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        base = fhir.base_of(path_of(scope)) if scope["type"] == "http" else None
        if base is not None and base[1] != discovery.SMART_PATH:
            await fhir(scope, receive, send, base)
        else:
            await others(scope, receive, send)  # type: ignore[arg-type]

    return app


def _web(parts: Parts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = [
            asyncio.create_task(sweeper.run(parts.store, parts.clinics.served)),
            asyncio.create_task(parts.sealer.run(parts.sealed_tenants)),
            asyncio.create_task(parts.pipeline.sum_up_floods()),
            asyncio.create_task(forgetting.run(parts.store)),
        ]
        yield
        await tasks.end(working)
        await parts.pipeline.jobs.close()
        await parts.pipeline.sum_up(all_=True)
        for tenant in parts.sealed_tenants():
            await parts.sealer.seal(tenant)
        await parts.store.close()

    app = FastAPI(title="fhir-server", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(web.routes(parts.services, parts.verifier))

    @app.get("/healthz", response_class=PlainTextResponse, tags=["operation"])
    async def healthz() -> str:
        """Whether the process is alive."""
        return "ok"

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = pages.api_page(parts.settings.origin, TABLE, app.openapi())
        return HTMLResponse(page, headers={"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY})

    @app.get("/readyz", response_class=PlainTextResponse, tags=["operation"])
    async def readyz() -> str:
        """Whether the store answers."""
        await parts.store.tenants()
        return "ok"

    return app
