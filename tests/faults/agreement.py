"""Whether a clinic's resources, history, slots and audit log agree, asked through the store: the same for each store.

`integrity` looks deeper, into the files of the embedded one.
"""

import asyncio
from collections import Counter
from typing import Any

from fhir_server.audit import whole
from fhir_server.audit.event import from_entry
from fhir_server.audit.sealer import Sealer
from fhir_server.booking.states import OCCUPYING
from fhir_server.fhir import json
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditQuery, HistoryQuery, Store, Stored, Unit
from tests.benchmarks.clinic import TENANT
from tests.faults.integrity import CHANGES, Found

ALL = 10_000_000


def look_in(uri: str) -> Found:
    """All that a database holds of the clinic."""

    async def run() -> Found:
        store = MongoStore(uri, system_clock, Ids(system_clock))
        try:
            return await look_through(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def look_through(store: Store) -> Found:
    """All that a store holds of the clinic, with its log sealed and verified."""
    found = Found()
    await Sealer(store, system_clock).seal(TENANT)
    report = await whole.verify_store(store, TENANT, await whole.kept_keys(store, TENANT))
    found.faults += [str(fault) for fault in report.faults]

    async def work(unit: Unit) -> tuple[list[Stored], dict[Any, Stored | None], list[Any]]:
        history = list((await unit.history(HistoryQuery(count=ALL))).matches)
        current = {name: await unit.read(*name) for name in {(each.type, each.id) for each in history}}
        return history, current, list(await unit.audited(AuditQuery(count=ALL, ascending=True)))

    history, current, audited = await store.run(TENANT, work, write=False)
    found.versions = {(each.type, each.id, each.version): each.body for each in history}
    found.events = [from_entry(each.recorded, each.body) for each in audited]
    _versions(found, current)
    _slots(found, current)
    changes = Counter(e.entity for e in found.events if e.action in CHANGES and e.outcome == "0")
    versions = Counter(f"{type_}/{id_}/_history/{version}" for type_, id_, version in found.versions)
    found.faults += [f"audit and history differ in {row}" for row in (*(changes - versions), *(versions - changes))]
    return found


def _versions(found: Found, current: dict[Any, Stored | None]) -> None:
    """History runs from 1 without a gap, and its end is the current version."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for type_, id_, version in found.versions:
        numbers.setdefault((type_, id_), []).append(version)
    for name, versions in numbers.items():
        now, last = current[name], max(versions)
        if sorted(versions) != list(range(1, last + 1)):
            found.faults.append(f"history of {'/'.join(name)} has a gap")
        if now is None or (now.version, now.body) != (last, found.versions[*name, last]):
            found.faults.append(f"{'/'.join(name)} differs from its history")


def _slots(found: Found, current: dict[Any, Stored | None]) -> None:
    """A slot is busy if and only if one appointment, and no more, takes it."""
    there = [json.parse(stored.body) for stored in current.values() if stored is not None and stored.body is not None]
    taken = Counter(
        slot["reference"]
        for resource in there
        if resource["resourceType"] == "Appointment" and resource["status"] in OCCUPYING
        for slot in resource.get("slot", ())
    )
    for slot in (each for each in there if each["resourceType"] == "Slot"):
        times = taken[f"Slot/{slot['id']}"]
        if times > 1 or (times == 1) != (slot["status"] == "busy"):
            found.faults.append(f"Slot/{slot['id']} is {slot['status']}, and taken {times} times")
