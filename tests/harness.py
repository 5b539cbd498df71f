"""The server in process: a store in a folder of the test's own, fixed time and ids, two clinics, and callers.

Every test acts over HTTP as a client would, and reads the audit log from the store to see what was recorded. Nothing
here knows which store is below.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from fhir_server.app import Parts, make_app, make_parts
from fhir_server.audit.event import Event, from_entry
from fhir_server.clinics import ClinicSettings, keep_settings
from fhir_server.fhir import own
from fhir_server.fhir.clock import Clock, Ids, Micros, instant
from fhir_server.settings import Settings
from fhir_server.store.mongo.cipher import KeyCipher
from fhir_server.store.mongo.fields import Sealing
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditQuery, HistoryQuery, Store, Unit
from fhir_server.store.sqlite.store import SqliteStore
from smart_auth import accounts, clients, operator
from smart_auth.clients import Client
from tests import mongo_rules, mongod

T = TypeVar("T")
Resource = dict[str, Any]

ORIGIN = "http://fhir.test"
# A Monday; every test begins at this moment.
NOW: Micros = 1_800_000_000_000_000 // 604_800_000_000 * 604_800_000_000 + 4 * 86_400_000_000 + 8 * 3_600_000_000
MINUTE: Micros = 60_000_000
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"

STORES = ("sqlite", "mongo")
SECRET = "a-secret-of-32-characters-and-so-on"


@dataclass
class SteppingClock:
    """A clock that stands still until it is moved."""

    now: Micros = NOW

    def __call__(self) -> Micros:
        return self.now

    def advance(self, micros: Micros) -> None:
        self.now += micros


def fixed_ids(clock: Clock) -> Ids:
    """Ids that are the same in every run."""
    numbers = itertools.count(1)
    return Ids(clock, random_bits=lambda bits: next(numbers) & ((1 << bits) - 1))


def open_store(kind: str, folder: Path, clock: Clock, ids: Ids, **options: Any) -> Store:
    """A store of a kind, its data below `folder`, or in a database that stands for it; `sealed`: MongoDB with a key."""
    if kind == "sealed":
        kind, options = "mongo", options | {"sealing": Sealing(lambda tenant: KeyCipher(bytes(32), tenant))}
    if kind == "mongo":
        uri = mongod.server().database_for(folder)
        return MongoStore(uri, clock, ids, listeners=[mongo_rules.LISTENER], **options)
    assert kind == "sqlite", f"no store is called {kind}"
    return SqliteStore(folder, clock, ids, **options)


# Callers: name -> (client, scopes, account). Anonymous and receipts have no token of this kind.
CALLERS: Mapping[str, tuple[str, str, str]] = {
    "website": ("website-builder", "system/Appointment.cr system/Slot.rs system/Schedule.rs", ""),
    "anna": ("patient-portal", "patient/*.cruds", "anna"),
    "ben": ("patient-portal", "patient/*.cruds", "ben"),
    "anna-on-website": ("website-booking", "patient/*.cruds", "anna"),
    "dr-lee": ("provider-portal", "user/*.cruds", "dr-lee"),
    "dr-kim": ("provider-portal", "user/*.cruds", "dr-kim"),
    "sam": ("provider-portal", "user/*.cruds", "sam"),
    "olga": ("provider-portal", "user/*.cruds", "olga"),
    "root": ("provider-portal", "user/*.cruds", "root"),
    "auditor": ("auditor", "system/AuditEvent.rs", ""),
    "admin": ("admin", "system/*.cruds", ""),
    "backend": ("backend", "system/*.cruds", ""),
}

_ROLES: Mapping[str, tuple[Any, str]] = {
    "anna": ("patient", "Patient/anna"),
    "ben": ("patient", "Patient/ben"),
    "dr-lee": ("practitioner", "Practitioner/dr-lee"),
    "dr-kim": ("practitioner", "Practitioner/dr-kim"),
    "sam": ("front-desk", "Practitioner/sam"),
    "olga": ("auditor", "Practitioner/olga"),
    "root": ("administrator", "Practitioner/root"),
}


def _clients() -> Sequence[Client]:
    hashed, own_grant = clients.hash_secret(SECRET), ("client_credentials",)
    code, redirects = ("authorization_code",), ("http://localhost:4567/callback",)

    def confidential(name: str, surface: Any, *scopes: str) -> Client:
        return Client(name, "confidential-symmetric", surface, scopes, own_grant, secret_hash=hashed)

    return (
        confidential("website-builder", "website", "system/Appointment.cr", "system/Slot.rs", "system/Schedule.rs"),
        confidential("website-two", "website", "system/Appointment.cr"),
        confidential("auditor", "auditor", "system/AuditEvent.rs"),
        confidential("admin", "administrator", "system/*.cruds"),
        confidential("backend", "service", "system/*.cruds"),
        Client("patient-portal", "public", "patient-portal", ("patient/*.cruds",), code, redirects),
        Client("website-booking", "public", "website", ("patient/*.cruds",), code, redirects),
        Client("provider-portal", "confidential-symmetric", "provider-portal", ("user/*.cruds", "patient/*.cruds"),
               code, redirects, secret_hash=hashed),
    )  # fmt: skip


@dataclass
class Harness:
    """The app over a store, and who calls it."""

    parts: Parts
    clock: SteppingClock
    http: httpx.AsyncClient
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    # Callers

    async def token(self, caller: str, *, tenant: str = "demo", scope: str = "", lifetime: int = 31_536_000) -> str:
        """A token of a caller, made once."""
        client, scopes, user = CALLERS[caller]
        name = (tenant, f"{caller} {scope} {lifetime}")
        if name not in self.tokens:
            wanted = operator.Wanted(client, scope or scopes, user, lifetime_in_seconds=lifetime)
            self.tokens[name] = await operator.mint(self.parts.services, tenant, wanted)
        return self.tokens[name]

    async def send(
        self,
        method: str,
        path: str,
        caller: str = "anonymous",
        *,
        json_: Any = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        tenant: str = "demo",
    ) -> httpx.Response:
        """One request below the clinic's base. `caller` is a name of CALLERS, `anonymous`, or a bearer token."""
        sent = dict(headers or {})
        if caller.count(".") == 2 or caller.startswith("pr."):
            sent.setdefault("Authorization", f"Bearer {caller}")
        elif caller != "anonymous":
            sent.setdefault("Authorization", f"Bearer {await self.token(caller, tenant=tenant)}")
        if json_ is not None:
            content = json.dumps(json_)
            sent.setdefault("Content-Type", JSON_PATCH if method == "PATCH" else FHIR_JSON)
        url = f"/{tenant}/fhir/{path}".rstrip("/")
        return await self.http.request(method, url, content=content, headers=sent)

    async def get(self, path: str, caller: str = "anonymous", **options: Any) -> httpx.Response:
        return await self.send("GET", path, caller, **options)

    async def create(self, resource: Resource, caller: str = "admin", **options: Any) -> httpx.Response:
        return await self.send("POST", resource["resourceType"], caller, json_=resource, **options)

    async def put(self, resource: Resource, caller: str = "admin", **options: Any) -> httpx.Response:
        return await self.send("PUT", f"{resource['resourceType']}/{resource['id']}", caller, json_=resource, **options)

    async def patch(self, path: str, operations: Any, caller: str = "dr-lee", **options: Any) -> httpx.Response:
        return await self.send("PATCH", path, caller, json_=operations, **options)

    async def delete(self, path: str, caller: str = "admin", **options: Any) -> httpx.Response:
        return await self.send("DELETE", path, caller, **options)

    async def stored(self, path: str, *, tenant: str = "demo") -> Resource:
        """A resource as the administrator reads it."""
        answer = await self.get(path, "admin", tenant=tenant)
        assert answer.status_code == 200, answer.text
        resource: Resource = answer.json()
        return resource

    # What is there

    async def run(self, work: Callable[[Unit], Awaitable[T]], *, tenant: str = "demo", write: bool = False) -> T:
        return await self.parts.store.run(tenant, work, write=write)

    async def close(self) -> None:
        """Close the client and the store, and let the loop close their connections before it ends."""
        await self.http.aclose()
        await self.parts.store.close()
        await asyncio.sleep(0.01)

    async def events(self, *, tenant: str = "demo") -> list[Event]:
        """All audit events, oldest first; those of tokens left out."""

        async def work(unit: Unit) -> Sequence[Any]:
            return await unit.audited(AuditQuery(count=100_000, ascending=True))

        found = [from_entry(each.recorded, each.body) for each in await self.run(work, tenant=tenant)]
        return [event for event in found if event.subtype != "token"]

    async def versions(self, *, tenant: str = "demo") -> int:
        """How many versions of resources there are."""

        async def work(unit: Unit) -> int | None:
            return (await unit.history(HistoryQuery(count=0))).total

        return await self.run(work, tenant=tenant) or 0

    # Making things

    async def seed(self, *resources: Resource, tenant: str = "demo") -> None:
        """Put resources as the administrator."""
        for resource in resources:
            answer = await self.put(resource, tenant=tenant)
            assert answer.status_code in (200, 201), answer.text

    def at(self, micros: Micros) -> str:
        """The instant so long from now."""
        return instant(self.clock.now + micros)

    def slot(
        self, id_: str, start: Micros = 2 * DAY, minutes: int = 30, schedule: str = "lee", **more: Any
    ) -> Resource:
        """A free slot, so long from now."""
        made = {"resourceType": "Slot", "id": id_, "schedule": {"reference": f"Schedule/{schedule}"}, "status": "free"}
        return made | {"start": self.at(start), "end": self.at(start + minutes * MINUTE)} | more


async def make_harness(
    kind: str, folder: Path, store_options: Mapping[str, Any] | None = None, **settings: Any
) -> Harness:
    """A harness over two clinics, `demo` and `other`, with the same clients and people."""
    clock = SteppingClock()
    ids = fixed_ids(clock)
    store = open_store(kind, folder, clock, ids, **store_options or {})
    chosen = Settings(data=folder, origin=ORIGIN, **settings)
    parts = make_parts(chosen, store=store, clock=clock, ids=ids)
    for tenant in ("demo", "other"):
        await store.create_tenant(tenant)
        await store.run(tenant, _set_up, write=True)
    transport = httpx.ASGITransport(app=make_app(parts))
    http = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
    return Harness(parts, clock, http)


async def _set_up(unit: Unit) -> None:
    for client in _clients():
        await clients.save(unit, client)
    for name, (role, fhir_user) in _ROLES.items():
        await accounts.save(unit, accounts.Account(name, "x", role, fhir_user, name.title()))
    await keep_settings(unit, ClinicSettings("Europe/Berlin", ("https://clinic.example",)))


# Resources that many tests begin with


def patient(id_: str, **more: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": id_.title()}], **more}


def cared_for(id_: str, *practitioners: str, **more: Any) -> Resource:
    """A patient with general practitioners: dr-lee and dr-kim, unless others are named."""
    named = practitioners or ("dr-lee", "dr-kim")
    return patient(id_, generalPractitioner=[{"reference": f"Practitioner/{name}"} for name in named], **more)


def practitioner(id_: str) -> Resource:
    return {"resourceType": "Practitioner", "id": id_, "active": True, "name": [{"family": id_.title()}]}


def service(id_: str, **rules: Any) -> Resource:
    """A bookable service with the clinic's rules, written as `auto_confirm=True, risk="low"`."""
    kinds = {bool: "valueBoolean", int: "valueInteger", str: "valueCode"}
    parts = [{"url": name.replace("_", "-"), kinds[type(value)]: value} for name, value in rules.items()]
    made: Resource = {"resourceType": "HealthcareService", "id": id_, "active": True, "name": id_.title()}
    return made | ({"extension": [{"url": own.BOOKING_RULES, "extension": parts}]} if parts else {})


def schedule(id_: str, *actors: str) -> Resource:
    references = [{"reference": actor} for actor in actors]
    return {"resourceType": "Schedule", "id": id_, "active": True, "actor": references}


def proposal(*slots: str, **more: Any) -> Resource:
    """What somebody without a login sends."""
    person = {"resourceType": "Patient", "id": "p", "name": [{"family": "New"}], "telecom": [{"value": "+49 1"}]}
    return {
        "resourceType": "Appointment",
        "status": "proposed",
        "slot": [{"reference": f"Slot/{slot}"} for slot in slots],
        "contained": [person],
        "participant": [{"actor": {"reference": "#p"}, "status": "accepted"}],
        **more,
    }


def appointment(id_: str, status: str, patient_: str = "anna", *slots: str, **more: Any) -> Resource:
    """What staff send."""
    made: Resource = {"resourceType": "Appointment", "id": id_, "status": status}
    if slots:
        made["slot"] = [{"reference": f"Slot/{slot}"} for slot in slots]
    made["participant"] = [{"actor": {"reference": f"Patient/{patient_}"}, "status": "accepted"}]
    return made | more


def to_status(status: str) -> list[dict[str, Any]]:
    """The JSON Patch that moves an appointment."""
    moves = [{"op": "replace", "path": "/status", "value": status}]
    reason = {"op": "add", "path": "/cancelationReason", "value": {"text": "not possible"}}
    return [*moves, reason] if status == "cancelled" else moves


def ids(answer: httpx.Response, mode: str = "match") -> list[str]:
    """The ids in a searchset, in order."""
    assert answer.status_code == 200, answer.text
    entries = answer.json().get("entry", ())
    return [entry["resource"]["id"] for entry in entries if entry.get("search", {}).get("mode", mode) == mode]


def link(answer: httpx.Response, relation: str) -> str | None:
    """A link of a Bundle, relative to the origin."""
    for each in answer.json()["link"]:
        if each["relation"] == relation:
            return str(each["url"]).removeprefix(ORIGIN)
    return None


def issue(answer: httpx.Response) -> dict[str, Any]:
    """The first issue of an OperationOutcome, which every refusal is."""
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", answer.text
    first: dict[str, Any] = body["issue"][0]
    assert first["severity"] in ("error", "fatal")
    assert first["code"]
    assert first["diagnostics"]
    return first
