"""The audit log on MongoDB: chained after commit by the sealer, and verified."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.store.mongo.sealer import LEASE, SETTLED_AFTER, Sealer, Verified, verify
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditEntry, AuditQuery, Unit
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


async def found(store: MongoStore) -> list[str]:
    async def work(unit: Unit) -> list[str]:
        return [each.id for each in await unit.audited(AuditQuery(ascending=True))]

    return await store.run("demo", work, write=False)


async def chains(store: MongoStore) -> list[Verified]:
    return await verify(store.database, "demo")


async def test_entries_are_sealed_once_they_are_settled(store: MongoStore, clock: SteppingClock) -> None:
    """Until then they are there, under the ids that they keep, and called unsealed."""
    await record(store, clock, 5)
    before = await found(store)
    sealer = Sealer(store.database, clock, "me")
    assert await sealer.seal() == 0
    assert [(each.entries, each.unsealed) for each in await chains(store)] == [(0, 5)]
    clock.advance(SETTLED_AFTER + 1_000)
    assert await sealer.seal() == 5
    await record(store, clock, 2)
    clock.advance(SETTLED_AFTER + 1_000)
    assert await sealer.seal() == 2
    assert [(each.entries, each.unsealed, each.broken) for each in await chains(store)] == [(7, 0, "")]
    assert (await found(store))[:5] == before


@pytest.mark.parametrize("fault", ["changed", "removed", "cut off", "renamed"])
async def test_what_was_done_to_a_sealed_log_is_found(store: MongoStore, clock: SteppingClock, fault: str) -> None:
    await record(store, clock, 5)
    clock.advance(SETTLED_AFTER + 1_000)
    await Sealer(store.database, clock, "me").seal()
    [chain] = await chains(store)
    ids = await found(store)
    at = {"tenant": "demo", "type": chain.chain, "id": ids[2]}
    match fault:
        case "changed":
            await store.database.audit.update_one(at, {"$set": {"body": b'{"n":9}'}})
        case "removed":
            await store.database.audit.delete_one(at)
        case "cut off":
            await store.database.audit.delete_one(at | {"id": ids[-1]})
        case "renamed":
            await store.database.audit.update_one(at, {"$set": {"id": "rx-1"}})
    [after] = await chains(store)
    expected = {
        "changed": ids[2],
        "removed": ids[3],
        "cut off": "after 4 entries: the end is missing",
        "renamed": "rx-1",
    }
    assert after.broken == expected[fault]


async def test_one_process_has_the_lease(store: MongoStore, clock: SteppingClock) -> None:
    one, other = Sealer(store.database, clock, "one"), Sealer(store.database, clock, "other")
    assert await one.has_lease()
    assert not await other.has_lease()
    assert await one.has_lease()
    clock.advance(LEASE + 1)
    assert await other.has_lease()
    assert not await one.has_lease()
