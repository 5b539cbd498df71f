"""Every store's search answers as the plain interpreter does: thousands of random plans (architecture, "One search
plan, three interpreters").
"""

from random import Random

import pytest

from fhir_server.search.plan import EVERYTHING, Query
from fhir_server.store.protocol import Put, Store, Unit
from tests.search.differential import World, differences, random_entries

TOGETHER = 100
COUNTS = {"Patient": 30, "Slot": 12, "Observation": 20}


async def _compared(store: Store, seed: int, questions: int) -> None:
    random = Random(seed)
    world = World(random, COUNTS)
    await store.run("demo", world.fill, write=True)

    async def ask(unit: Unit) -> list[str]:
        return await differences(unit, world, random, TOGETHER)

    # A Unit that reads has a time limit.
    faults = [fault for _ in range(0, questions, TOGETHER) for fault in await store.run("demo", ask, write=False)]
    assert not faults, f"{len(faults)} differ; the shortest: {min(faults, key=len)}"


@pytest.mark.parametrize("seed", range(4))
async def test_a_store_answers_like_the_oracle(store: Store, seed: int) -> None:
    """2,000 plans."""
    await _compared(store, seed, 500)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 116))
async def test_a_store_answers_like_the_oracle_10000_times(store: Store, seed: int) -> None:
    """8,000 more, over other resources each time: 10,000 in all (issue 4)."""
    await _compared(store, seed, 500)


async def test_a_store_answers_like_the_oracle_after_changes(store: Store) -> None:
    """Updates and deletions leave no entry of an earlier version behind."""
    random = Random(99)
    world = World(random, COUNTS)
    await store.run("demo", world.fill, write=True)

    async def change(unit: Unit) -> None:
        for type_, id_ in list(world.entries):
            dice = random.random()
            if dice < 0.3:
                del world.entries[type_, id_]
                await unit.put(Put(type_, id_, 1, 0, None, {}, "DELETE"))
            elif dice < 0.7:
                entries = random_entries(random, type_, id_, COUNTS)
                world.entries[type_, id_] = entries
                await unit.put(Put(type_, id_, 1, 0, b"{}", entries, "PUT"))

    async def ask(unit: Unit) -> list[str]:
        everything = await unit.search(Query("Patient", EVERYTHING, count=1_000))
        assert [s.id for s in everything.matches] == [id_ for type_, id_ in world.entries if type_ == "Patient"]
        return await differences(unit, world, random, 300)

    await store.run("demo", change, write=True)
    faults = await store.run("demo", ask, write=False)
    assert not faults, f"{len(faults)} differ; the shortest: {min(faults, key=len)}"
