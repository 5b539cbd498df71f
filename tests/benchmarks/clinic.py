"""A clinic to measure and to break: clients, people, schedules and slots, made in this process before a server runs."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from fhir_server.app import Parts, make_parts
from fhir_server.clinics import ClinicSettings, keep_settings
from fhir_server.fhir.clock import system_clock
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.repository import Repository
from fhir_server.rest.events import Recorder
from fhir_server.rest.request import Request
from fhir_server.rest.table import TABLE, Found
from fhir_server.settings import Settings
from fhir_server.store.protocol import Store, Unit
from smart_auth import accounts, clients, operator
from smart_auth.accounts import Account
from smart_auth.clients import Client

TENANT = "demo"
# Tokens and links are bound to it, whatever port a process listens on.
ORIGIN = "http://127.0.0.1:8000"
BASE = f"{ORIGIN}/{TENANT}/fhir"
ZONE = "Europe/Berlin"
# Slots of one schedule follow each other from nine o'clock on, sixteen a day.
SLOTS_A_DAY = 16
SLOT = timedelta(minutes=30)
_BATCH = 500

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Bearer tokens: a practitioner's, an auditor's, and that of another system of the clinic, which sees all."""

    practitioner: str
    auditor: str
    service: str


def parts_of(place: Path | str, store: Store | None = None) -> Parts:
    """The server's parts over a folder, or over the database of a connection string."""
    where: Any = {"store": place} if str(place).startswith("mongodb") else {"data": Path(place)}
    reads = os.environ.get("FHIR_SERVER_AUDIT_READS", "true") == "true"
    return make_parts(Settings(**where, origin=ORIGIN, proposals_per_hour=0, audit_reads=reads), store=store)


async def make(parts: Parts, *, schedules: int = 1, slots: int = 1, patients: int = 0) -> Tokens:
    """The clinic with `slots` slots, spread evenly over `schedules` schedules (ids `s0`…, and `0`… for slots)."""
    await parts.store.create_tenant(TENANT)
    await parts.store.run(TENANT, _register, write=True)
    resources = (*_schedules(schedules), *_patients(patients))
    await _store(parts, iter(resources))
    await _store(parts, slots_of(schedules, slots))
    practitioner = operator.Wanted("portal", "user/*.cruds", "lee")
    auditor = operator.Wanted("auditing", "system/AuditEvent.rs")
    return Tokens(
        await operator.mint(parts.services, TENANT, practitioner),
        await operator.mint(parts.services, TENANT, auditor),
        await operator.mint(parts.services, TENANT, operator.Wanted("system", "system/*.cruds")),
    )


def first_day() -> datetime:
    """Midnight of the day of the first slots."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)


def slots_of(schedules: int, slots: int) -> Iterator[Resource]:
    """Slots, day after day over all schedules; one in five is held back (`busy-unavailable`)."""
    begin = first_day() + timedelta(hours=9)
    for n in range(slots):
        turn, schedule = divmod(n, schedules)
        day, place = divmod(turn, SLOTS_A_DAY)
        start = begin + timedelta(days=day) + place * SLOT
        yield {
            "resourceType": "Slot",
            "id": str(n),
            "serviceType": [{"coding": [{"system": "http://snomed.info/sct", "code": "408443003"}]}],
            "schedule": {"reference": f"Schedule/s{schedule}"},
            "status": "free" if _is_free(n) else "busy-unavailable",
            "start": instant(start),
            "end": instant(start + SLOT),
        }


def free_slots(slots: int) -> Iterator[int]:
    """The ids, as numbers, of the free ones among that many slots."""
    return filter(_is_free, range(slots))


def _is_free(slot: int) -> bool:
    return slot % 5 != 4


def proposal(slot_id: str, family: str = "New") -> Resource:
    """What somebody without a login submits."""
    return {
        "resourceType": "Appointment",
        "status": "proposed",
        "slot": [{"reference": f"Slot/{slot_id}"}],
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "name": [{"family": family, "given": ["Ada"]}],
                "telecom": [{"system": "phone", "value": "+49 30 1234567"}],
            }
        ],
        "participant": [{"actor": {"reference": "#p"}, "status": "accepted"}],
    }


def observation(value: float = 72.5) -> Resource:
    """A record as a practitioner writes it."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "vital-signs",
                    }
                ]
            }
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "Body weight"}]},
        "subject": {"reference": "Patient/p0"},
        "effectiveDateTime": "2026-11-20T09:30:00+01:00",
        "valueQuantity": {"value": value, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }


def instant(moment: datetime) -> str:
    """A FHIR instant."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def run_in(place: Path | str, work: Callable[[Parts], Awaitable[Any]]) -> Any:
    """Do `work` on the parts over a folder or database, in a loop of its own, and close them."""

    async def whole() -> Any:
        parts = parts_of(place)
        try:
            return await work(parts)
        finally:
            await parts.store.close()

    return asyncio.run(whole())


async def _register(unit: Unit) -> None:
    await keep_settings(unit, ClinicSettings(zone=ZONE))
    portal = Client("portal", "confidential-symmetric", "provider-portal", ("user/*.cruds",), ("authorization_code",),
                    secret_hash=clients.hash_secret("portal-secret"))  # fmt: skip
    auditing = Client("auditing", "confidential-symmetric", "auditor", ("system/AuditEvent.rs",),
                      ("client_credentials",), secret_hash=clients.hash_secret("auditing-secret"))  # fmt: skip
    system = Client("system", "confidential-symmetric", "service", ("system/*.cruds",), ("client_credentials",),
                    secret_hash=clients.hash_secret("system-secret"))  # fmt: skip
    for client in (portal, auditing, system):
        await clients.save(unit, client)
    await accounts.save(
        unit, Account(name="lee", password_hash="unusable", fhir_user="Practitioner/lee", role="practitioner")
    )


def _schedules(count: int) -> Iterator[Resource]:
    yield {"resourceType": "Practitioner", "id": "lee", "name": [{"family": "Lee"}]}
    for n in range(count):
        yield {"resourceType": "Practitioner", "id": f"d{n}", "name": [{"family": f"Doctor {n}"}]}
        yield {"resourceType": "Schedule", "id": f"s{n}", "actor": [{"reference": f"Practitioner/d{n}"}]}


def _patients(count: int) -> Iterator[Resource]:
    for n in range(count):
        yield {
            "resourceType": "Patient",
            "id": f"p{n}",
            "identifier": [{"system": "https://clinic.example/patients", "value": f"{n:06}"}],
            "name": [{"family": f"Family {n % 500}", "given": ["Ada", "Maria"]}],
            "generalPractitioner": [{"reference": "Practitioner/lee"}],
            "telecom": [
                {"system": "phone", "value": f"+49 30 {n:07}"},
                {"system": "email", "value": f"p{n}@example.org"},
            ],
            "gender": "female",
            "birthDate": f"19{n % 100:02}-0{n % 9 + 1}-1{n % 9}",
            "address": [{"line": [f"Street {n}"], "city": "Berlin", "postalCode": f"1{n % 9999:04}", "country": "DE"}],
        }


async def _store(parts: Parts, resources: Iterator[Resource]) -> None:
    """Store resources as they are, audited, in large Units."""
    clinic = await parts.clinics.get(TENANT)
    types = parts.server.definitions.resource_types
    access = Access(Agent("administrator", name="seed"), dict.fromkeys(types, (Grant(frozenset("cruds")),)))
    row = next(row for row in TABLE if row.name == "create")
    request = Request("POST", TENANT, (), "", {}, b"", "", "seed")
    recorder = Recorder(request, access, Found(row))

    async def work(unit: Unit, batch: Iterable[Resource]) -> None:
        repository = Repository(unit, clinic, access)
        for resource in batch:
            await repository.create(resource, id_=resource["id"])
        for event in recorder.changes(repository.changes, repository.decided, system_clock()):
            await unit.audit(event.entry())

    while batch := list(islice(resources, _BATCH)):
        await parts.store.run(TENANT, lambda unit, batch=batch: work(unit, batch), write=True)
