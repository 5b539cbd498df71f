"""Whether a tenant's files agree with themselves: resources, history, index, outbox, audit and hash chains.

It reads the files behind the server's back and works everything out again, so that a half-made change cannot hide.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw

from fhir_server.audit.event import Event, from_entry
from fhir_server.booking.care import OWN_ENTRIES
from fhir_server.booking.states import OCCUPYING
from fhir_server.fhir import json
from fhir_server.search.extract import Extractor
from fhir_server.search.parameters import Registry
from fhir_server.store.chain import genesis, link
from fhir_server.store.params import what
from fhir_server.store.sqlite.entries import rows
from fhir_server.store.sqlite.found import BLOCK_BITS, body_of, recent
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.schema import COLUMNS
from profiles import definitions
from tests.benchmarks.clinic import BASE, ZONE

CHANGES = frozenset("CUD")


@dataclass(slots=True)
class Found:
    """What a tenant's files hold: the versions, the events, and every disagreement."""

    versions: dict[tuple[str, str, int], bytes | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def requests(self) -> set[str]:
        """The ids of the requests that have an event."""
        return {event.request_id for event in self.events}


def look(folder: Path) -> Found:
    """All that the files of a tenant hold. They are opened for reading only."""
    found = Found()
    for path in (folder / "clinic.db", *sorted(folder.glob("audit-*.db"))):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(10_000)
        connection.execute("PRAGMA wal_autocheckpoint=0")
        try:
            connection.execute("BEGIN")
            _whole(connection, path.name, found)
            events = _chain(connection, path.name, found)
            found.events += events
            if path.name == "clinic.db":
                _versions(connection, found)
                _index(connection, found)
                _audit_of_changes(connection, events, found)
                _slots(connection, found)
        finally:
            connection.close()
    return found


def _whole(connection: apsw.Connection, name: str, found: Found) -> None:
    answer = connection.execute("PRAGMA integrity_check").fetchall()
    if answer != [("ok",)]:
        found.faults.append(f"{name}: integrity_check says {answer[:3]}")


def _chain(connection: apsw.Connection, name: str, found: Found) -> list[Event]:
    """The events of one file, whose hashes, numbers and `audit_found` rows are looked at."""
    events, before, expected = [], genesis("demo", chain_of(name)), Counter[tuple[Any, ...]]()
    names = Names(connection)
    query = "SELECT number, recorded, body, hash FROM audit ORDER BY number"
    for count, (number, recorded, packed, hash_) in enumerate(connection.execute(query), start=1):
        body = body_of(packed, names) or b""
        if number != count or hash_ != link(before, number, recorded, body):
            found.faults.append(f"{name}: the chain breaks at entry {number}")
            break
        before = hash_
        event = from_entry(recorded, body)
        expected.update({(number >> BLOCK_BITS, what(thing), recorded, number) for thing in event.found()})
        events.append(event)
    stored = Counter(connection.execute("SELECT block, what, recorded, number FROM audit_found"))
    stored.update((number >> BLOCK_BITS, what_, recorded, number) for number, recorded, what_ in recent(connection))
    found.faults += [f"{name}: audit_found differs in {row}" for row in _difference(stored, expected)]
    return events


def chain_of(name: str) -> str:
    """The chain that a file holds."""
    return "c" if name == "clinic.db" else "r" + name.removeprefix("audit-").removesuffix(".db")


def _versions(connection: apsw.Connection, found: Found) -> None:
    """History runs from 1 without a gap, its end is the current version, and the outbox has each version once."""
    latest: dict[tuple[str, str], tuple[Any, ...]] = {}
    query = "SELECT type, id, version, updated, body, key, patients FROM history ORDER BY type, id, version"
    for type_, id_, version, *rest in connection.execute(query):
        before = latest.get((type_, id_))
        if version != (before[0] + 1 if before else 1):
            found.faults.append(f"history of {type_}/{id_} jumps to {version}")
        if before and (rest[0] <= before[1] or rest[2] != before[3]):
            found.faults.append(f"history of {type_}/{id_}: version {version} goes back in time or changes its key")
        latest[type_, id_] = version, *rest
        found.versions[type_, id_, version] = rest[1]
    query = "SELECT type, id, version, updated, body, key, patients FROM resource"
    current = {(type_, id_): tuple(rest) for type_, id_, *rest in connection.execute(query)}
    found.faults += [
        f"{'/'.join(name)} differs from its history"
        for name in current.keys() | latest.keys()
        if current.get(name) != latest.get(name)
    ]
    changes = Counter(connection.execute("SELECT type, id, version FROM change"))
    found.faults += [f"outbox differs in {row}" for row in _difference(changes, Counter(list(found.versions)))]


def _index(connection: apsw.Connection, found: Found) -> None:
    """The index tables hold what the current resources give, and nothing else."""
    expected = {shape: Counter[tuple[Any, ...]]() for shape in COLUMNS}
    for type_, key, body in connection.execute("SELECT type, key, body FROM resource WHERE body IS NOT NULL"):
        resource = json.parse(body)
        for shape, values in rows((type_, key, entries) for entries in _entries(resource)).items():
            expected[shape].update(values)
    for shape, columns in COLUMNS.items():
        stored = Counter(connection.execute(f"SELECT param, {', '.join(columns)} FROM {shape}"))
        found.faults += [f"index {shape} differs in {row}" for row in _difference(stored, expected[shape])]


def _entries(resource: dict[str, Any]) -> Iterator[Any]:
    yield _extractor().entries(resource)
    own = OWN_ENTRIES.get(resource["resourceType"])
    if own is not None:
        yield own(resource, ZoneInfo(ZONE), BASE)


def _audit_of_changes(connection: apsw.Connection, events: list[Event], found: Found) -> None:
    """Every version has its one event, and every event of a change its version."""
    audited = Counter(event.entity for event in events if event.action in CHANGES and event.outcome == "0")
    versions = Counter(f"{type_}/{id_}/_history/{version}" for type_, id_, version in found.versions)
    found.faults += [f"audit and history differ in {row}" for row in _difference(audited, versions)]


def _slots(connection: apsw.Connection, found: Found) -> None:
    """A slot is busy if and only if one appointment, and no more, takes it (capacity one)."""
    taken: Counter[str] = Counter()
    query = (
        "SELECT type, id, body FROM resource WHERE type IN ('Appointment', 'Slot') AND body IS NOT NULL ORDER BY type"
    )
    for type_, id_, body in connection.execute(query):
        resource = json.parse(body)
        if type_ == "Appointment":
            if resource["status"] in OCCUPYING:
                taken.update(slot["reference"] for slot in resource.get("slot", ()))
        elif taken[f"Slot/{id_}"] > 1 or (taken[f"Slot/{id_}"] == 1) != (resource["status"] == "busy"):
            found.faults.append(f"Slot/{id_} is {resource['status']}, and taken {taken[f'Slot/{id_}']} times")


def _difference(one: Counter[Any], other: Counter[Any]) -> list[Any]:
    """A few of the elements in which two bags differ."""
    return [*(one - other), *(other - one)][:3]


@lru_cache(maxsize=1)
def _extractor() -> Extractor:
    return Extractor(Registry(definitions.load()), zone=ZoneInfo(ZONE), base_url=BASE, texts=True)
