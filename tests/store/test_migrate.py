"""Moving a clinic from store to store: everything arrives, the chains are whole, and a second run finds no work."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit import whole
from fhir_server.audit.sealer import Sealer
from fhir_server.fhir.clock import Ids
from fhir_server.store.migrate import Report, migrate
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transfer import MongoSide
from fhir_server.store.protocol import AuditEntry, AuditQuery, HistoryQuery, Put, Store, Unit
from fhir_server.store.sqlite.store import SqliteStore
from fhir_server.store.sqlite.transfer import SqliteSide
from tests.harness import SteppingClock
from tests.harness import open_store as open_any
from tests.store.plans import World

Stores = tuple[SqliteStore, MongoStore, SqliteStore]


@pytest.fixture
async def stores(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[Stores]:
    """The first embedded store, a database, and another embedded store."""
    opened: Any = tuple(
        open_any(kind, tmp_path / str(n), clock, Ids(clock)) for n, kind in enumerate(("sqlite", "mongo", "sqlite"))
    )
    yield opened
    for store in opened:
        await store.close()


async def fill(store: Store, clock: SteppingClock) -> None:
    import random

    world = World(random.Random(3), 30)
    await store.create_tenant("demo")

    async def work(unit: Unit) -> None:
        for n, ((type_, id_), entries) in enumerate(world.entries.items()):
            patients = ("p1", "p2") if n % 3 else ()
            await unit.put(Put(type_, id_, 0, 1 + n, b'{"n":1.50}', entries, "POST", patients))
            if n % 4 == 0:
                await unit.put(Put(type_, id_, 1, 1_000 + n, b'{"n":2}', entries, "PUT", patients))
            if n % 8 == 0:
                await unit.put(Put(type_, id_, 2, 2_000 + n, None, {}, "DELETE", patients))
            clock.advance(10)
            await unit.audit(AuditEntry(clock.now, b'{"n":%d}' % n, (("patient", "p1"), ("agent", "a b"))))
        await unit.keep("setting", "clinic", b"{}")
        await unit.keep("code", "x", b"\x00\xff", clock.now + 5_000_000)

    await store.run("demo", work, write=True)
    for n in range(20):
        clock.advance(10)
        await store.record("demo", [AuditEntry(clock.now, b'{"r":%d}' % n, (("agent", "me"),))])
    await Sealer(store, clock).seal("demo")


async def everything(store: Store) -> list[object]:
    """What the protocol shows of a clinic."""

    async def work(unit: Unit) -> list[object]:
        history = (await unit.history(HistoryQuery(count=10_000))).matches
        during = (await unit.history(HistoryQuery(count=10_000, at=(1_000, 1_010)))).matches
        current = [await unit.read(each.type, each.id) for each in history]
        audited = [await unit.audited(AuditQuery(found_by=by)) for by in (None, ("agent", "me"), ("agent", "a b"))]
        return [history, during, current, audited, await unit.kept("setting"), await unit.kept("code")]

    return await store.run("demo", work, write=False)


async def found(store: Store) -> list[object]:
    import random

    from tests.store.plans import query
    from tests.store.test_differential import found_by

    rng = random.Random(5)
    ids = World(random.Random(3), 30).ids
    return [await found_by(store, query(rng, ids)) for _ in range(60)]


async def state(store: Store) -> tuple[bool, int, int]:
    """Whether the log is whole, how many entries are sealed, and by how many checkpoints."""
    report = await whole.verify_store(store, "demo", await whole.kept_keys(store, "demo"))
    assert not report.faults
    return report.is_whole, report.sealed, report.checkpoints


async def moved(source: Any, target: Any) -> Report:
    [report] = await migrate(source, target)
    return report


async def test_a_clinic_goes_to_mongo_and_back(stores: Stores, clock: SteppingClock, tmp_path: Path) -> None:
    first, database, second = stores
    await fill(first, clock)
    report = await moved(SqliteSide(tmp_path / "0", first), MongoSide(database))
    assert report.is_whole
    assert (report.passes, report.parts["resource"].rows, report.parts["audit"].rows) == (2, 90, 110)
    assert await everything(database) == await everything(first)
    assert await found(database) == await found(first)
    assert await state(database) == (True, 110, 1)

    await database.record("demo", [AuditEntry(clock.now, b'{"s":%d}' % n) for n in range(3)])
    await Sealer(database, clock).seal("demo")
    back = await moved(MongoSide(database), SqliteSide(tmp_path / "2", second))
    assert back.is_whole
    assert await everything(second) == await everything(database)
    assert await found(second) == await found(first)
    assert await state(second) == (True, 113, 2)
    await second.record("demo", [AuditEntry(clock.now, b"{}")])
    await Sealer(second, clock).seal("demo")
    assert await state(second) == (True, 114, 3)


async def test_a_second_run_copies_what_changed(stores: Stores, clock: SteppingClock, tmp_path: Path) -> None:
    first, database, _ = stores
    await fill(first, clock)
    sides = SqliteSide(tmp_path / "0", first), MongoSide(database)
    await moved(*sides)

    async def change(unit: Unit) -> None:
        current = await unit.read("Slot", "s1")
        assert current is not None
        await unit.put(Put("Slot", "s1", current.version, 9_000, b"{}", {}, "PUT"))
        await unit.take("setting", "clinic")

    await first.run("demo", change, write=True)
    report = await moved(*sides)
    assert (report.is_whole, report.passes) == (True, 2)
    assert await everything(database) == await everything(first)


async def test_what_was_changed_in_the_copy_is_put_right(stores: Stores, clock: SteppingClock, tmp_path: Path) -> None:
    """The comparison is of every row, not of counts."""
    first, database, _ = stores
    await fill(first, clock)
    sides = SqliteSide(tmp_path / "0", first), MongoSide(database)
    await moved(*sides)
    at = {"tenant": "demo", "type": "Slot", "id": "s1", "version": 1}
    await database.database.history.update_one(at, {"$set": {"body": b"{}"}})
    report = await moved(*sides)
    assert (report.passes, report.is_whole) == (2, True)
    assert await everything(database) == await everything(first)
