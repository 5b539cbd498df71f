"""Three nodes, the primary killed under booking-like load: no acknowledged write is lost, none is half there."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.fhir.errors import Unavailable
from fhir_server.search.plan import Query, Test, Token
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditEntry, AuditQuery, HistoryQuery, Put, Unit
from tests.mongod import ReplicaSet, make_replica_set

SLOTS = 8
# Elections take one to three seconds here; nobody may wait much longer for an answer, right or 503.
LONGEST_ANSWER_SECONDS = 25.0


@pytest.fixture
def three() -> Iterator[ReplicaSet]:
    made, folder = make_replica_set(3)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def pair(three: ReplicaSet) -> AsyncIterator[tuple[MongoStore, MongoStore]]:
    """Two stores, as two server processes have."""
    first, second = (MongoStore(three.uri(), system_clock, Ids(system_clock)) for _ in range(2))
    await first.create_tenant("demo")
    yield first, second
    await first.close()
    await second.close()


class Load:
    """Takers of slots: each takes one if nobody has, and remembers what was acknowledged."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}
        self.twice: list[str] = []
        self.refused = 0
        self.without_hint = 0
        self.longest = 0.0
        self.stop = False

    async def run(self, store: MongoStore, name: str) -> None:
        n = 0
        while not self.stop:
            n += 1
            slot, mine, began = f"slot-{n // SLOTS}-{n % SLOTS}", f"{name}-{n}", time.monotonic()
            try:
                if await store.run("demo", lambda unit, s=slot, m=mine: _take(unit, s, m), write=True):
                    if slot in self.taken:
                        self.twice.append(slot)
                    self.taken[slot] = mine
            except Unavailable as error:
                self.without_hint += "Retry-After" not in error.headers
                self.refused += 1
                await asyncio.sleep(0.1)
            self.longest = max(self.longest, time.monotonic() - began)


async def _take(unit: Unit, slot: str, id_: str) -> bool:
    await unit.guard(f"Slot/{slot}")
    page = await unit.search(Query("Appointment", Test("slot", "token", Token(slot, None))))
    if page.matches:
        return False
    await unit.put(Put("Appointment", id_, 0, 1, b"{}", {"token": [("slot", slot, "")]}, "POST"))
    await unit.audit(AuditEntry(1, id_.encode(), (("entity", f"Appointment/{id_}"),)))
    return True


async def _check(store: MongoStore, load: Load) -> None:
    """Every acknowledged taking is there with its history and audit; no slot is taken twice; nothing is half there."""

    async def work(unit: Unit) -> None:
        for slot, id_ in load.taken.items():
            page = await unit.search(Query("Appointment", Test("slot", "token", Token(slot, None))))
            assert [stored.id for stored in page.matches] == [id_]
        audited = [each.body.decode() for each in await unit.audited(AuditQuery(count=1_000_000))]
        history = (await unit.history(HistoryQuery(count=1_000_000))).matches
        assert sorted(audited) == sorted(stored.id for stored in history)
        assert set(load.taken.values()) <= set(audited)

    await store.run("demo", work, write=False)


async def _kill_primaries(three: ReplicaSet, pair: tuple[MongoStore, MongoStore], times: int) -> None:
    load = Load()
    tasks = [asyncio.create_task(load.run(pair[n % 2], f"w{n}")) for n in range(6)]
    for _ in range(times):
        await asyncio.sleep(2)
        before = len(load.taken)
        primary = await asyncio.to_thread(three.primary)
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(three.primary)
        await asyncio.to_thread(primary.start)
        await asyncio.sleep(2)
        assert len(load.taken) > before, "nothing was taken after the election"
    load.stop = True
    await asyncio.gather(*tasks)
    assert not load.twice
    assert load.without_hint == 0
    assert load.longest < LONGEST_ANSWER_SECONDS
    await _check(pair[0], load)


async def test_the_primary_is_killed_twice(three: ReplicaSet, pair: tuple[MongoStore, MongoStore]) -> None:
    await _kill_primaries(three, pair, 2)


@pytest.mark.soak
async def test_the_primary_is_killed_twenty_times(three: ReplicaSet, pair: tuple[MongoStore, MongoStore]) -> None:
    await _kill_primaries(three, pair, 20)
