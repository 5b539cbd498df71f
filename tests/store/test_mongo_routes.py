"""The routes of a search in MongoDB give one answer, with bounds that make the few resources of a test many."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from fhir_server.store.mongo import grouped, route, search
from fhir_server.store.protocol import Store, Unit
from tests.search.differential import World, differences

COUNTS = {"Patient": 30, "Slot": 12, "Observation": 20}
TOGETHER, QUESTIONS = 50, 300


@pytest.fixture
def store_kind() -> str:
    return "mongo"


@pytest.mark.parametrize("broad", [3, 12, 1_000_000], ids=["broad", "mixed", "narrow"])
async def test_every_route_gives_the_same_answer(store: Store, monkeypatch: pytest.MonkeyPatch, broad: int) -> None:
    monkeypatch.setattr(route, "STEPS", (1, 2, broad))
    monkeypatch.setattr(route, "BROAD", broad)
    monkeypatch.setattr(search, "BROAD", broad)
    monkeypatch.setattr(search, "PATIENT_FROM", 1)
    monkeypatch.setattr(grouped, "FEWEST", 1)
    monkeypatch.setattr(grouped, "MOST", 4)
    taken: Counter[str] = Counter()
    for owner, name in ((grouped, "standing"), (grouped, "_ordered"), (search.Search, "_tried")):
        monkeypatch.setattr(owner, name, _counted(taken, name, getattr(owner, name)))
    random = Random(11)
    world = World(random, COUNTS)
    await store.run("demo", world.fill, write=True)

    async def ask(unit: Unit) -> list[str]:
        return await differences(unit, world, random, TOGETHER)

    faults = [fault for _ in range(0, QUESTIONS, TOGETHER) for fault in await store.run("demo", ask, write=False)]
    assert not faults, f"{len(faults)} differ; the shortest: {min(faults, key=len)}"
    if broad < 100:
        assert taken["_ordered"] > 20
        assert taken["standing"] > 5
    if broad > 3:
        assert taken["_tried"] > 10


def _counted(taken: Counter[str], name: str, made: Any) -> Any:
    def counted(*given: Any) -> Any:
        taken[name] += 1
        return made(*given)

    return counted
