"""Totals are remembered while nobody commits, and exact all the same; a page's statement is prepared once."""

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.search.plan import NOTHING, Box, Interval, Query, Sort, Test, Token, all_of, any_of
from fhir_server.store.protocol import Page, Put, Unit
from fhir_server.store.sqlite import search
from fhir_server.store.sqlite.estimate import Estimates
from fhir_server.store.sqlite.schema import CLINIC_MIGRATIONS, connect
from fhir_server.store.sqlite.store import SqliteStore
from tests.harness import SteppingClock

FREE = Test("status", "token", Token("free", None))
# Driven from a union, so that what is both comes twice.
EITHER = any_of(FREE, Test("_tag", "token", Token("a", None)))


def slot(n: int, expected: int = 0, status: str = "free") -> Put:
    tokens, dates = [("status", status, "x"), ("_tag", "a", "x")], [("start", n, n + 1)]
    return Put("Slot", f"s{n}", expected, 1, b"{}", {"token": tokens, "date": dates}, "PUT")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[SqliteStore, SqliteStore]]:
    """Two stores over one folder, as two processes have it, with 30 free slots."""
    clock = SteppingClock()
    first, second = (SqliteStore(tmp_path, clock, Ids(clock)) for _ in range(2))
    await first.create_tenant("demo")
    await put(first, *(slot(n) for n in range(30)))
    yield first, second
    await first.close()
    await second.close()


async def put(store: SqliteStore, *puts: Put) -> None:
    async def work(unit: Unit) -> None:
        for each in puts:
            await unit.put(each)

    await store.run("demo", work, write=True)


async def ask(store: SqliteStore, query: Query) -> Page:
    async def work(unit: Unit) -> Page:
        return await unit.search(query)

    return await store.run("demo", work, write=False)


@pytest.mark.parametrize("count", [0, 10])
async def test_a_total_is_exact_whoever_commits(pair: tuple[SqliteStore, SqliteStore], count: int) -> None:
    """Counted in one process, then changed in either: the next answer has the change."""
    first, second = pair
    query = Query("Slot", FREE, count=count, total=-1)
    assert (await ask(first, query)).total == (await ask(second, query)).total == 30
    for n, writer in enumerate((second, first, second)):
        await put(writer, slot(n, 1, "busy"))
        assert (await ask(first, query)).total == (await ask(second, query)).total == 29 - n


async def test_a_total_is_counted_once_while_nothing_changes(
    pair: tuple[SqliteStore, SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count = search._total
    monkeypatch.setattr(search, "_total", lambda *given: counted.append("once") or count(*given))  # type: ignore[func-returns-value]
    query = Query("Slot", FREE, count=0, total=100)
    assert [(await ask(pair[0], query)).total for _ in range(3)] == [30, 30, 30]
    assert counted == ["once"]
    await put(pair[1], slot(0, 1, "busy"))
    assert (await ask(pair[0], query)).total == 29
    assert counted == ["once", "once"]


async def test_a_unit_that_writes_counts_what_it_wrote(pair: tuple[SqliteStore, SqliteStore]) -> None:
    """What a Unit changes is no commit of another's: it remembers no totals."""
    query = Query("Slot", FREE, count=0, total=-1)

    async def work(unit: Unit) -> list[int | None]:
        found = [(await unit.search(query)).total]
        for n in range(3):
            await unit.put(slot(n, 1, "busy"))
            found.append((await unit.search(query)).total)
        return found

    assert await pair[0].run("demo", work, write=True) == [30, 29, 28, 27]


@pytest.mark.parametrize("where", [FREE, EITHER, any_of(EITHER, NOTHING)])
async def test_pages_join_without_gap_where_an_index_leads_twice_to_one(
    pair: tuple[SqliteStore, SqliteStore], where: Test
) -> None:
    for total in (None, 5, 1_000, -1):
        found: list[str] = []
        query = Query("Slot", where, count=7, total=total)
        page = await ask(pair[0], query)
        found += [stored.id for stored in page.matches]
        while page.next is not None:
            assert (page.total, page.total_is_exact) == ({None: None, 5: 5}.get(total, 30), total != 5)
            page = await ask(pair[0], Query("Slot", where, count=7, total=total, after=page.next))
            found += [stored.id for stored in page.matches]
        assert found == [f"s{n}" for n in range(30)]


@pytest.mark.parametrize("count", [0, 5])
async def test_a_statement_is_prepared_once(pair: tuple[SqliteStore, SqliteStore], tmp_path: Path, count: int) -> None:
    """However many values are bound to it. SQLite asks an authorizer whenever it prepares one."""
    connection = connect(tmp_path / "tenants/demo/clinic.db", CLINIC_MIGRATIONS)
    estimates, asked = Estimates(), list[int]()

    def find(begin: int) -> Page:
        box = Box(lo_from=begin, lo_below=begin + 20)
        where = all_of(FREE, Test("start", "date", Interval(box, brief=True), single=True))
        return search.run(connection, estimates, Query("Slot", where, (Sort("start", "date"),), count, total=12))

    def authorize(action: int, *_: str | None) -> int:
        asked.append(action)
        return apsw.SQLITE_OK

    connection.authorizer = authorize
    find(0)
    assert asked
    asked.clear()
    assert [(len(page.matches), page.total) for page in (find(4), find(14), find(25))] == [
        (count, 12),
        (count, 12),
        (count, 5),
    ]
    assert not asked
    connection.close()
