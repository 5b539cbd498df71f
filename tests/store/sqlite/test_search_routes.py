"""The three routes of a search in SQLite give one answer, and the differential test would find a fault in any."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from fhir_server.search.plan import Uri
from fhir_server.store.protocol import Store, Unit
from fhir_server.store.sqlite import compile as compiler
from fhir_server.store.sqlite import estimate, order, search, several
from fhir_server.store.sqlite.compile import Sql
from tests.search.differential import World, differences

# Questions in one Unit, whose reading has a time limit.
TOGETHER = 100
COUNTS = {"Patient": 30, "Slot": 12, "Observation": 20}


@pytest.fixture
def store_kind() -> str:
    return "sqlite"


@pytest.fixture(params=[(1, 2, 4), (2, 12, 12), (1_000_000,)], ids=["broad", "mixed", "narrow"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bounds that make the few resources of a test count as many; which routes were taken is counted."""
    monkeypatch.setattr(estimate, "STEPS", request.param)
    monkeypatch.setattr(estimate, "BROAD", request.param[-1])
    monkeypatch.setattr(search, "BROAD", request.param[-1])
    monkeypatch.setattr(several, "MOST", max(1, request.param[0] - 1))
    taken: Counter[str] = Counter()
    choose = search.choose

    def counted(*given: Any) -> search.Route:
        route = choose(*given)
        taken[route.way] += 1
        return route

    monkeypatch.setattr(search, "choose", counted)
    return taken


async def _ask(store: Store, seed: int, questions: int) -> list[str]:
    random = Random(seed)
    world = World(random, COUNTS)
    await store.run("demo", world.fill, write=True)

    async def ask(unit: Unit) -> list[str]:
        return await differences(unit, world, random, min(questions, TOGETHER))

    return [fault for _ in range(0, questions, TOGETHER) for fault in await store.run("demo", ask, write=False)]


async def test_every_route_gives_the_same_answer(store: Store, steps: Counter[str]) -> None:
    faults = await _ask(store, 7, 600)
    assert not faults, f"{len(faults)} differ; the shortest: {min(faults, key=len)}"
    assert steps["candidates"] > 100
    if estimate.STEPS[-1] < 100:
        assert steps["sort walk"] > 50
        assert steps["group walk"] > 50
        assert steps["walk"] > 20


FAULTS = (
    "an interval's bound",
    "a word's end",
    "the order of missing values",
    "a page's place",
    "a unit",
    "a negation",
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found(store: Store, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A test must be seen to fail: each of these changes to the store is told by some plan."""
    condition, after, by, probe = compiler.condition, order.after, order.by, compiler.probe
    match fault:
        case "an interval's bound":
            monkeypatch.setattr(compiler, "_lo_bounds", lambda shape, box, span: _cut(shape, box, span))
        case "a word's end":
            monkeypatch.setattr(
                compiler,
                "condition",
                lambda sought: Sql("value = ?", (sought.value,)) if isinstance(sought, Uri) else condition(sought),
            )
        case "the order of missing values":
            monkeypatch.setattr(order, "by", lambda query: by(query).replace("NULLS LAST", "NULLS FIRST"))
        case "a page's place":
            monkeypatch.setattr(
                order, "after", lambda query: Sql(after(query).text.replace("key > ?", "key >= ?"), after(query).args)
            )
        case "a unit":
            monkeypatch.setattr(
                compiler, "_interval", lambda sought: Sql("1") if sought.unit == "g" else Sql("hi > lo")
            )
        case "a negation":
            monkeypatch.setattr(
                compiler, "probe", lambda *given: Sql(probe(*given).text.replace("NOT ", "", 1), probe(*given).args)
            )
            monkeypatch.setattr(search, "probe", compiler.probe)
    assert await _ask(store, 11, 300)


_original = compiler._lo_bounds


def _cut(shape: str, box: Any, span: int) -> list[Sql]:
    return [Sql(bound.text.replace(">=", ">"), bound.args) for bound in _original(shape, box, span)]
