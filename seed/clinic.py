"""The demo clinic, and synthetic data of the same kind for any tenant.

The demo clinic is made in one Unit: it is there whole, or not at all. Its resources, ids and secrets are the same on
every run; only dates move with the day.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server.audit.command import Command
from fhir_server.clinics import Clinics, ClinicSettings, keep_settings
from fhir_server.fhir.clock import Clock
from fhir_server.fhir.errors import Conflict, Failed
from fhir_server.store.protocol import Store, Unit
from seed import access, people, practice, us_core
from seed.practice import PRACTITIONERS, Practitioner
from seed.slots import slots
from seed.write import Item, Outcome, Writer

TENANT = "demo"
DAYS = 28
PATIENTS = 20
RULE = "seed"
BATCH = 500
_KEPT = ("setting", "seeded")


@dataclass(frozen=True, slots=True)
class Size:
    """How much synthetic data: patients, days of slots, and those who treat; `named`: anna and ben come first."""

    patients: int = PATIENTS
    days: int = DAYS
    practitioners: int = len(PRACTITIONERS)
    named: bool = False


async def is_made(store: Store) -> bool:
    """Whether the demo clinic is there, whole."""

    async def work(unit: Unit) -> bool:
        return await unit.peek(*_KEPT) is not None

    return await store.has(TENANT) and await store.run(TENANT, work, write=False, quick=True)


async def make_demo(store: Store, clinics: Clinics, clock: Clock, command: Command) -> Outcome:
    """Make the demo clinic. Raises Conflict when there is one."""
    if not await store.has(TENANT):
        await store.create_tenant(TENANT)

    async def prepare(unit: Unit) -> None:
        await keep_settings(unit, ClinicSettings(practice.ZONE, ("*",)))

    if await is_made(store):
        raise Conflict(f"The demo clinic is there already; `fhir-server seed {TENANT} --days N` adds to it.")
    await store.run(TENANT, prepare, write=True)
    accounts = await access.people()
    writer = Writer(store, await clinics.get(TENANT), command, RULE)
    items = [Item(RULE, "", resource) for resource in _demo_resources(clock)]
    _require_sound(writer, items)

    async def work(unit: Unit) -> Outcome:
        if await unit.peek(*_KEPT) is not None:
            raise Conflict("Another process has just made the demo clinic.")
        await unit.audit(command.event(clock()).entry())
        await access.register(unit, accounts)
        outcome = await writer.write_in(unit, items)
        await unit.keep(*_KEPT, b"1")
        return outcome

    return await store.run(TENANT, work, write=True)


async def has_slots(store: Store, clock: Clock) -> bool:
    """Whether the demo clinic has slots for as long ahead as it was made with."""
    last = list(_demo_slots(clock))[-1]["id"]

    async def work(unit: Unit) -> bool:
        return await unit.read("Slot", last) is not None

    return await store.run(TENANT, work, write=False, quick=True)


async def add_slots(store: Store, clinics: Clinics, clock: Clock, command: Command) -> Outcome:
    """Bring the demo clinic's free slots up to today; what is there stays as it is."""
    writer = Writer(store, await clinics.get(TENANT), command, RULE)
    await writer.begin()
    return await writer.write([Item(RULE, "", slot) for slot in _demo_slots(clock)], only_new=True)


async def add(
    writer: Writer, clock: Clock, zone: tzinfo, size: Size, progress: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Add synthetic data to any clinic; what is there already stays as it is. `progress` is told the count so far."""
    await writer.begin()
    total, done = Outcome(), 0
    resources = _synthetic(clock, zone, size)
    batch: list[Item] = []
    for resource in resources:
        batch.append(Item(RULE, "", resource))
        if len(batch) == BATCH:
            total.add(await writer.write(batch, only_new=True))
            done += len(batch)
            progress(done)
            batch = []
    total.add(await writer.write(batch, only_new=True))
    progress(done + len(batch))
    return total


def _demo_resources(clock: Clock) -> list[dict[str, Any]]:
    zone = ZoneInfo(practice.ZONE)
    today = _today(clock, zone)
    doctors = tuple(one.id for one in PRACTITIONERS)
    return [
        *practice.configuration(),
        *access.staff(),
        *people.patients(PATIENTS - 1, today, zone, doctors, named=True),
        *us_core.patient(today),
        *_demo_slots(clock),
    ]


def _demo_slots(clock: Clock) -> Iterable[dict[str, Any]]:
    zone = ZoneInfo(practice.ZONE)
    return slots(PRACTITIONERS, _today(clock, zone) + timedelta(days=1), DAYS, zone)


def _today(clock: Clock, zone: tzinfo) -> date:
    return datetime.fromtimestamp(clock() / 1_000_000, zone).date()


def _synthetic(clock: Clock, zone: tzinfo, size: Size) -> Iterable[dict[str, Any]]:
    today = _today(clock, zone)
    treating: tuple[Practitioner, ...] = (
        *PRACTITIONERS[: size.practitioners],
        *(practice.further(n) for n in range(len(PRACTITIONERS) + 1, size.practitioners + 1)),
    )
    yield from practice.configuration(treating)
    yield from people.patients(size.patients, today, zone, tuple(one.id for one in treating), named=size.named)
    yield from slots(treating, today + timedelta(days=1), size.days, zone)


def _require_sound(writer: Writer, items: list[Item]) -> None:
    for item in items:
        for issue in writer.check(item):
            raise Failed(f"The demo clinic's own {item.resource['resourceType']} is wrong: {issue.diagnostics}")
