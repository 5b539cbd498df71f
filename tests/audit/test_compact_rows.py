"""How audit entries lie on disk: small, and the same again when they are read."""

import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.audit.event import LETTERS, Event, from_entry
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.params import what
from fhir_server.store.protocol import AuditEntry, AuditQuery, Unit
from fhir_server.store.sqlite.chain import Chain
from fhir_server.store.sqlite.found import entries, file, recent
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import pack, unpack
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, connect
from fhir_server.store.sqlite.store import SqliteStore

MOST_BYTES = 400
UUID = "018f3c1e-7b1a-7c3d-9e4f-0123456789ab"

_TEXTS = ("Slot/1", "A/1", "Slot/", "Slot/1/_history/01", "Slot/1/_history/", "Slot/1/_history/7", UUID, UUID.upper(),
          f"Slot/{UUID}/_history/999999999999999999", "a1b2c3d4", "A1B2C3D4", "Größe", "", " ", "\0", "a" * 300,
          "ab" * 130, "Slot/Slot/1", "public", "1", "-")  # fmt: skip


def _body(chance: random.Random) -> bytes:
    """Any members in any order, with any texts."""
    letters = chance.sample(list(LETTERS), chance.randrange(len(LETTERS)))

    def value(letter: str) -> object:
        if letter == "p":
            return [chance.choice(_TEXTS) for _ in range(chance.randrange(4))]
        if letter in "bn":
            return chance.choice((0, 1, 127, 128, 16_384, 2**40))
        return chance.choice(_TEXTS)

    return orjson.dumps({letter: value(letter) for letter in letters})


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    connection = connect(tmp_path / "names.db", AUDIT_MIGRATIONS)
    yield Names(connection)
    connection.close()


def test_a_packed_body_is_the_same_again(names: Names) -> None:
    """The hash covers the body, so unpacking gives it back byte for byte."""
    chance = random.Random(7)
    for body in (_body(chance) for _ in range(3_000)):
        assert unpack(pack(body, names), names) == body


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"1", b"[]", b"{}", b'{"I":1}', b'{"ab":"c"}', b'{"b":-1}', b'{"b":true}', b'{"b":1.5}', b'{"e": "x"}',
     b'{"e":{"e":"x"}}', b'{"e":"x","e":"y"}', b"\x00\xff", b'{"p":[1]}', b'{"b":18446744073709551615}'],
)  # fmt: skip
def test_any_other_body_is_the_same_again_too(names: Names, body: bytes) -> None:
    """The store promises to give back what it was given."""
    assert unpack(pack(body, names), names) == body


@given(packed=st.binary(max_size=60))
def test_what_pack_did_not_make_is_refused_or_means_one_thing(packed: bytes) -> None:
    """No two stored forms mean the same: whatever can be unpacked is what packing gives."""
    connection = apsw.Connection(":memory:")
    connection.execute(AUDIT_MIGRATIONS[0])
    names = Names(connection)
    for text in ("I", "e", "p", "Slot", "read"):
        names.number(text)
    try:
        body = unpack(packed, names)
    except ValueError:
        return
    assert unpack(pack(body, names), names) == body


def _read_event(ids: Ids, number: int) -> Event:
    person = random.randrange(100)
    return Event(
        "read", "R", "0", system_clock() + number, "provider-portal", f"Practitioner/{person:036}", f"Dr {person}",
        "practitioner", ids.resource_id(), f"10.0.0.{person}", f"{random.getrandbits(64):016x}",
        entity=f"Appointment/{ids.resource_id()}/_history/1", patients=(ids.resource_id(),),
        rule="R-7.6 provider manages appointments",
    )  # fmt: skip


async def test_a_read_event_takes_at_most_400_bytes_on_disk(tmp_path: Path) -> None:
    """Issue 7, "Cheap": the row, and the indexes by time, patient, agent and entity; every id seen once only."""
    ids, count = Ids(system_clock), 20_000
    store = SqliteStore(tmp_path, system_clock, ids)
    await store.create_tenant("demo")
    for first in range(0, count, 1_000):
        await store.record("demo", [_read_event(ids, first + n).entry() for n in range(1_000)])
    await store.close()
    assert (tmp_path / "tenants/demo/audit-1.db").stat().st_size / count <= MOST_BYTES


async def test_names_that_were_rolled_back_are_written_again(tmp_path: Path) -> None:
    """A Unit that fails takes the names with it that its entries used; a later one must not rely on them."""
    ids = Ids(system_clock)
    store = SqliteStore(tmp_path, system_clock, ids)
    await store.create_tenant("demo")

    async def fail(unit: Unit) -> None:
        await unit.audit(Event("read", "R", "0", 1, client="fails").entry())
        raise RuntimeError

    async def succeed(unit: Unit) -> None:
        await unit.audit(Event("read", "R", "0", 2, client="other").entry())
        await unit.audit(Event("read", "R", "0", 3, client="fails").entry())

    with pytest.raises(RuntimeError):
        await store.run("demo", fail, write=True)
    await store.run("demo", succeed, write=True)

    async def look(unit: Unit) -> list[str]:
        found = await unit.audited(AuditQuery(ascending=True))
        return [from_entry(each.recorded, each.body).client for each in found]

    assert await store.run("demo", look, write=True) == ["other", "fails"]
    assert await store.run("demo", look, write=False) == ["other", "fails"]
    await store.close()


def test_entries_are_found_by_what_they_name(names: Names, tmp_path: Path) -> None:
    """A thing is found under its kind only."""
    connection = connect(tmp_path / "found.db", AUDIT_MIGRATIONS)
    chain = Chain("demo", "r1", connection)
    chain.begin()
    chain.extend(
        [AuditEntry(5, b'{"I":"read"}', (("patient", "a"),)), AuditEntry(6, b'{"I":"read"}', (("agent", "a"),))]
    )
    assert [e.recorded for e in entries(connection, chain.names, "r1", AuditQuery(found_by=("patient", "a")))] == [5]
    assert [e.recorded for e in entries(connection, chain.names, "r1", AuditQuery(found_by=("agent", "a")))] == [6]
    connection.close()


def test_many_things_of_one_entry_are_found_before_and_after_filing(names: Names, tmp_path: Path) -> None:
    """A row of `audit_recent` has room for four; an entry that is found by more has more rows, and no thing is lost."""
    connection = connect(tmp_path / "many.db", AUDIT_MIGRATIONS)
    chain = Chain("demo", "r1", connection)
    chain.begin()
    things = [[("patient", f"p{count}-{n}") for n in range(count)] for count in range(11)]
    chain.extend([AuditEntry(count, b'{"I":"read"}', tuple(its)) for count, its in enumerate(things)])
    everything = [(count, thing) for count, its in enumerate(things) for thing in its]

    def found() -> list[tuple[int, tuple[str, str]]]:
        asked = [(thing, entries(connection, chain.names, "r1", AuditQuery(found_by=thing))) for _, thing in everything]
        return [(entry.recorded, thing) for thing, its in asked for entry in its]

    assert found() == everything
    assert sorted(recent(connection)) == sorted((1 + count, count, what(thing)) for count, thing in everything)
    file(connection, 1 << 20)
    assert not recent(connection)
    assert found() == everything
    connection.close()


def test_what_an_older_file_has_not_filed_is_brought_forward(tmp_path: Path) -> None:
    """The first form of `audit_recent` had a row for each thing."""
    connection = connect(tmp_path / "old.db", AUDIT_MIGRATIONS[:1])
    chain = Chain("demo", "r1", connection)
    chain.begin()
    chain.extend([AuditEntry(5, b'{"I":"read"}'), AuditEntry(6, b'{"I":"read"}')])
    rows = [(what(("patient", "a")), 5, 1), (what(("agent", "b")), 5, 1), (what(("patient", "a")), 6, 2)]
    connection.executemany("INSERT INTO audit_recent (what, recorded, number) VALUES (?, ?, ?)", rows)
    connection.close()
    connection = connect(tmp_path / "old.db", AUDIT_MIGRATIONS)
    names = Names(connection)
    asked = [AuditQuery(found_by=thing, ascending=True) for thing in (("patient", "a"), ("agent", "b"))]
    assert [[e.recorded for e in entries(connection, names, "r1", each)] for each in asked] == [[5, 6], [5]]
    connection.close()
