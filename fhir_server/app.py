"""The composition root: everything is made and joined here, and nowhere else.

FHIR bases are served by a thin endpoint; the authorization server and the operators' pages by FastAPI beside it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

from fhir_server import pages
from fhir_server.audit.event import Event
from fhir_server.booking import index, receipt, sweeper, write_rules
from fhir_server.clinics import Clinics
from fhir_server.fhir.clock import Clock, Ids, system_clock
from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.rest.http import FhirEndpoint, path_of
from fhir_server.rest.pipeline import Pipeline
from fhir_server.rest.table import TABLE
from fhir_server.search.parameters import Registry
from fhir_server.settings import Settings
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite.store import SqliteStore
from profiles import definitions
from profiles.structure import Structure
from smart_auth import token
from smart_auth.services import Services, TokenEvent
from smart_auth.surfaces.access import Policies
from smart_auth.tokens import Verifier, bearer_token, refusal

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


def store_for(settings: Settings, clock: Clock, ids: Ids) -> Store:
    """The store that the settings name: the embedded one, unless they have a MongoDB connection string."""
    if not settings.store:
        return SqliteStore(settings.data, clock, ids)
    from fhir_server.store.mongo.store import MongoStore  # the driver takes time to load, and most need it never

    return MongoStore(settings.store, clock, ids, secondaries=settings.read_secondaries)


def make_parts(
    settings: Settings, *, store: Store | None = None, clock: Clock = system_clock, ids: Ids | None = None
) -> Parts:
    """All parts over one store, the one that the settings name unless another is given."""
    ids = ids or Ids(clock)
    store = store or store_for(settings, clock, ids)
    tables = definitions.load()
    server = Server(
        settings, tables, Registry(tables), Structure(tables), clock, ids, TABLE, write_rules.RULES, index.OWN_ENTRIES
    )
    clinics = Clinics(server, store)
    policies = Policies(tables.resource_types, tables.compartments["Patient"])

    async def record(event: TokenEvent) -> None:
        await store.record(event.tenant if store.has(event.tenant) else "", [_token_event(event).entry()])

    services = Services(store, clock, ids, settings.origin, record, tables.resource_types)
    verifier = Verifier(settings.origin, clock, services.key_ring, policies.access_for)
    anonymous = policies.access_for(ANONYMOUS)

    async def authenticate(clinic: Clinic, authorization: str | None) -> Access:
        given = bearer_token(authorization, clinic.base_url)
        if given is None:
            return anonymous
        if given.startswith(receipt.PREFIX):
            found = receipt.access(clinic, given, anonymous)
            if found is None:
                raise refusal(clinic.base_url, "The receipt is not one of this clinic, or has expired.")
            return found
        return (await verifier.verify(clinic.name, given)).access

    pipeline = Pipeline(server, store, clinics.get, authenticate)
    return Parts(settings, store, server, clinics, policies, services, verifier, pipeline)


def make_app(parts: Parts) -> Asgi:
    """The ASGI application."""
    fhir = FhirEndpoint(parts.settings, parts.pipeline, parts.clinics.get)
    web = _web(parts)

    async def app(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and fhir.base_of(path_of(scope)) is not None:
            await fhir(scope, receive, send)
        else:
            await web(scope, receive, send)  # type: ignore[arg-type]

    return app


def _web(parts: Parts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sweeper.run(parts.store, parts.clinics.served))
        yield
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await parts.store.close()

    web = FastAPI(title="fhir-server", lifespan=lifespan, docs_url=None, redoc_url=None)
    web.include_router(token.routes(parts.services), prefix="/{tenant}/auth")

    @web.get("/healthz", response_class=PlainTextResponse, tags=["operation"])
    async def healthz() -> str:
        """Whether the process is alive."""
        return "ok"

    @web.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = pages.api_page(parts.settings.origin, TABLE, web.openapi())
        return HTMLResponse(page, headers={"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY})

    @web.get("/readyz", response_class=PlainTextResponse, tags=["operation"])
    async def readyz() -> str:
        """Whether the store answers."""
        await parts.store.tenants()
        return "ok"

    return web


def _token_event(event: TokenEvent) -> Event:
    """The issue or refusal of a token, for the audit log (IHE IUA ITI-71)."""
    issued = event.outcome == "issued"
    return Event(
        "token",
        "E",
        "0" if issued else "4",
        event.at,
        client=event.client_id,
        user_name=event.subject if event.subject != event.client_id else "",
        token_id=event.token_id,
        request_id=event.request_id,
        query=f"grant_type={event.grant_type} scope={event.scope}",
        description="" if issued else event.error,
    )
