"""The audit log on MongoDB: chained after commit, by whoever seals, and verified as on every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.audit import whole
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.verify import Report
from fhir_server.fhir.clock import Ids
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded, Unit
from tests.harness import SteppingClock, open_store


@pytest.fixture
async def store(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[MongoStore]:
    opened = open_store("mongo", tmp_path, clock, Ids(clock))
    assert isinstance(opened, MongoStore)
    await opened.create_tenant("demo")
    yield opened
    await opened.close()


async def record(store: MongoStore, clock: SteppingClock, count: int) -> None:
    for n in range(count):
        clock.advance(1_000)
        await store.record("demo", [AuditEntry(clock.now, b'{"n":%d}' % n)])


async def audited(store: MongoStore, **query: object) -> list[Recorded]:
    async def work(unit: Unit) -> list[Recorded]:
        return list(await unit.audited(AuditQuery(ascending=True, **query)))  # type: ignore[arg-type]

    return await store.run("demo", work, write=False)


async def verified(store: MongoStore) -> Report:
    return await whole.verify_store(store, "demo", await whole.kept_keys(store, "demo"))


async def test_entries_are_chained_when_they_are_sealed(store: MongoStore, clock: SteppingClock) -> None:
    """Until then they are there, under the ids that they keep, and called unsealed."""
    await record(store, clock, 5)
    before = await audited(store)
    report = await verified(store)
    assert (report.is_whole, report.sealed, report.unsealed) == (True, 0, 5)
    sealer = Sealer(store, clock)
    assert len(await sealer.seal("demo")) == 1
    await record(store, clock, 2)
    report = await verified(store)
    assert (report.is_whole, report.sealed, report.unsealed) == (True, 5, 2)
    await sealer.seal("demo")
    report = await verified(store)
    assert (report.is_whole, report.sealed, report.unsealed, report.checkpoints) == (True, 7, 0, 2)
    assert (await audited(store))[:5] == before


async def test_two_who_seal_at_once_make_one_chain(tmp_path: Path, store: MongoStore, clock: SteppingClock) -> None:
    import asyncio

    other = open_store("mongo", tmp_path, clock, Ids(clock))
    for _ in range(5):
        await record(store, clock, 10)
        await asyncio.gather(Sealer(store, clock).seal("demo"), Sealer(other, clock).seal("demo"))
    report = await verified(store)
    assert (report.is_whole, report.sealed, report.unsealed) == (True, 50, 0)
    await other.close()


async def test_pages_go_on_at_an_entry_of_the_same_time(store: MongoStore, clock: SteppingClock) -> None:
    await store.record("demo", [AuditEntry(clock.now, b'{"n":%d}' % n) for n in range(7)])
    found: list[Recorded] = []
    while page := await audited(store, count=2, after=(found[-1].recorded, found[-1].id) if found else None):
        found += page
    assert [each.body for each in found] == [b'{"n":%d}' % n for n in range(7)]
    assert found == await audited(store)


@pytest.mark.parametrize("fault", ["changed", "removed", "cut off", "moved"])
async def test_what_was_done_to_a_sealed_log_is_found(store: MongoStore, clock: SteppingClock, fault: str) -> None:
    await record(store, clock, 5)
    await Sealer(store, clock).seal("demo")
    entries = store.database.audit
    ids = [each.id for each in await audited(store)]
    third, last = ({"tenant": "demo", "type": "rx", "id": ids[n]} for n in (2, 4))
    match fault:
        case "changed":
            await entries.update_one(third, {"$set": {"body": b'{"n":9}'}})
        case "removed":
            await entries.delete_one(third)
        case "cut off":
            await entries.delete_one(last)
        case "moved":
            await entries.update_one(third, {"$set": {"number": 6}})
    expected = {"changed": "rx-3 is not what was recorded", "removed": "rx-3 was removed",
                "cut off": "rx-5 was removed, and all after it", "moved": "rx-3 was removed"}  # fmt: skip
    assert (await verified(store)).faults == [expected[fault]]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"number": 0}, "rx-0 was inserted or moved"),
        ({"number": -(1 << 40)}, f"rx-{-(1 << 40)} was inserted or moved"),
        ({"number": 2}, "rx-2 "),
        ({"number": 4}, "rx-4 "),
        ({"number": 4.5}, "rx-4.5 was inserted or moved"),
        ({"number": 6}, "rx-6 is not what was recorded"),
        ({"number": "6"}, "rx-inserted stands in no chain of a registered writer"),
        ({"number": None}, "rx-inserted stands in no chain of a registered writer"),
        ({"type": "r1"}, "rx-inserted stands in no chain of a registered writer"),
        ({"type": "r1", "unchained": True}, "rx-inserted stands in no chain of a registered writer"),
    ],
)
async def test_what_is_inserted_is_found(
    store: MongoStore, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], fault: str
) -> None:
    """Whatever a search shows stands in a chain, or waits to; also where a batch ends at an entry's double."""
    await record(store, clock, 5)
    await Sealer(store, clock).seal("demo")
    entry = await store.database.audit.find_one({"tenant": "demo", "type": "rx", "number": 3})
    assert entry is not None
    del entry["_id"]
    await store.database.audit.insert_one(entry | {"id": "rx-inserted", "key": entry["key"] + 1} | changes)
    assert len(await audited(store)) == 6
    for batch in (2, 3, 4, 2_000):
        monkeypatch.setattr(whole, "BATCH", batch)
        assert any(told.startswith(fault) for told in (await verified(store)).faults)


async def test_a_chain_whose_head_is_gone_is_found(store: MongoStore, clock: SteppingClock) -> None:
    await record(store, clock, 2)
    await store.run("demo", lambda unit: unit.heads(), write=True)
    assert (await verified(store)).is_whole
    await store.database.head.delete_one({"tenant": "demo", "type": "chain", "id": "rx"})
    first, second = [each.id for each in await audited(store)]
    told = "stands in no chain of a registered writer"
    assert (await verified(store)).faults == [f"{first} {told}", f"{second} {told}"]


async def test_a_purge_leaves_a_chain_that_goes_on(store: MongoStore, clock: SteppingClock) -> None:
    await record(store, clock, 5)
    sealer = Sealer(store, clock)
    await sealer.seal("demo")

    async def purge(unit: Unit) -> None:
        await unit.purge("rx", 3)

    await store.run("demo", purge, write=True)
    assert len(await audited(store)) == 2
    head = await store.database.head.find_one({"tenant": "demo", "type": "chain", "id": "rx"})
    assert head is not None
    assert (head["number"], head["purged"][0]) == (5, 3)
