"""Random plans over random resources: every store finds what plain Python finds, in the same order, page by page."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.search.plan import Query
from fhir_server.store.mongo import compile as mongo_compile
from fhir_server.store.mongo import join
from fhir_server.store.protocol import Page, Put, Store, Unit
from tests.harness import STORES, SteppingClock, open_store
from tests.store.plans import World, query

RESOURCES_OF_A_TYPE = 40
PLANS = 1_000


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[dict[str, Store]]:
    """Every store."""
    clock = SteppingClock()
    opened = {kind: open_store(kind, tmp_path / kind, clock, Ids(clock)) for kind in STORES}
    for store in opened.values():
        await store.create_tenant("demo")
    yield opened
    for store in opened.values():
        await store.close()


async def fill(store: Store, world: World) -> None:
    async def work(unit: Unit) -> None:
        for (type_, id_), entries in world.entries.items():
            await unit.put(Put(type_, id_, 0, 1, b"{}", entries, "POST"))

    await store.run("demo", work, write=True)


async def found_by(store: Store, asked: Query) -> tuple[list[str], int | None, bool]:
    """All ids by pages, and the total that the first page told."""

    async def work(unit: Unit) -> tuple[list[str], Page]:
        first = page = await unit.search(asked)
        ids = [stored.id for stored in page.matches]
        while page.next is not None:
            page = await unit.search(replace(asked, after=page.next))
            ids += [stored.id for stored in page.matches]
        return ids, first

    ids, first = await store.run("demo", work, write=False)
    return ids, first.total, first.total_is_exact


async def differences(stores: dict[str, Store], seed: int, plans: int) -> list[str]:
    rng = random.Random(seed)
    world = World(rng, RESOURCES_OF_A_TYPE)
    for store in stores.values():
        await fill(store, world)
    faults = []
    for _ in range(plans):
        asked = query(rng, world.ids)
        expected = world.search(asked)
        limit = asked.total
        exact = limit is None or limit < 0 or len(expected) <= limit
        total = None if limit is None else (len(expected) if exact else limit)
        for kind, store in stores.items():
            found = await found_by(store, asked)
            if found != (expected, total, exact):
                faults.append(f"{kind}: {asked}\n  expected {expected, total, exact}\n  found    {found}")
    return faults


async def test_every_store_finds_what_plain_python_finds(stores: dict[str, Store]) -> None:
    faults = await differences(stores, 1, PLANS)
    assert not faults, f"{len(faults)} of {PLANS}; the first: {faults[0]}"


async def test_chains_and_has_past_their_bound_find_the_same(
    stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be looked up whole is asked again of each batch, and nothing is lost."""
    monkeypatch.setattr(join, "MOST_IDS", 3)
    monkeypatch.setattr(join, "BATCH", 7)
    faults = await differences({"mongo": stores["mongo"]}, 2, 300)
    assert not faults, faults[0]


async def test_a_planted_fault_is_found(stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison sees a store that forgets one bound of an interval."""
    right = mongo_compile.lo_bounds

    def wrong(shape: str, box: object, span: int | None) -> dict[str, object]:
        return {name: bound for name, bound in right(shape, box, span).items() if name != "$lt"}  # type: ignore[arg-type]

    monkeypatch.setattr(mongo_compile, "lo_bounds", wrong)
    assert await differences({"mongo": stores["mongo"]}, 1, 100)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 20))
async def test_ten_thousand_plans(stores: dict[str, Store], seed: int) -> None:
    faults = await differences(stores, seed, 1_000)
    assert not faults, faults[0]
