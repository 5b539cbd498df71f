"""What waits for the end of a batch: seen by the Units after it, gone with a Unit that fails."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.search.plan import Entries, Query, Test, Token
from fhir_server.store.protocol import AuditEntry, AuditQuery, HistoryQuery, Put, Unit, VersionConflict
from fhir_server.store.sqlite.store import SqliteStore
from tests.harness import SteppingClock

Steps = Callable[[Unit], Awaitable[Any]]


def _put(id_: str, expected: int = 0, code: str | None = "a") -> Put:
    entries: Entries = {"token": [("status", code, "")]}
    return Put("Slot", id_, expected, expected, b'{"v":%d}' % expected, entries, "PUT")


def _together(folder: Path, *works: Steps, clock: SteppingClock | None = None) -> list[Any]:
    """What Units give that are submitted in one turn of the loop, and so are one batch."""
    clock = clock or SteppingClock()

    async def run() -> list[Any]:
        store = SqliteStore(folder, clock, Ids(clock))
        if not await store.has("t"):
            await store.create_tenant("t")
        try:
            running = [store.run("t", work, write=True) for work in works]
            return await asyncio.gather(*running, return_exceptions=True)
        finally:
            await store.close()

    return asyncio.run(run())


async def _found(unit: Unit, code: str) -> list[str]:
    page = await unit.search(Query("Slot", Test("status", "token", Token(code, ""))))
    return [stored.id for stored in page.matches]


def test_a_unit_sees_what_it_and_the_units_before_it_stored(tmp_path: Path) -> None:
    async def create(unit: Unit) -> None:
        await unit.put(_put("1"))

    async def change(unit: Unit) -> list[Any]:
        first = await unit.read("Slot", "1")
        await unit.put(_put("1", 1, "b"))
        now, before = await unit.read("Slot", "1"), await unit.vread("Slot", "1", 1)
        history = await unit.history(HistoryQuery(("Slot",), "1"))
        versions = [stored.version for stored in history.matches]
        return [first, now, before, versions, await _found(unit, "a"), await _found(unit, "b")]

    first, now, before, versions, old, new = _together(tmp_path, create, change)[1]
    assert (first.version, now.version, before.version, before.method) == (1, 2, 1, "PUT")
    assert (versions, old, new) == ([2, 1], [], ["1"])


@pytest.mark.parametrize("step", ["", "search", "keep"])
def test_a_unit_that_fails_leaves_the_others_and_nothing_of_its_own(tmp_path: Path, step: str) -> None:
    """Whether its rows still waited, or were written because a statement had to see them."""

    async def good(unit: Unit) -> None:
        await unit.put(_put("good"))
        await unit.audit(AuditEntry(1, b'{"I":"good"}'))

    async def bad(unit: Unit) -> None:
        await unit.put(_put("bad"))
        await unit.audit(AuditEntry(2, b'{"I":"bad"}'))
        if step == "search":
            assert await _found(unit, "a") == ["good", "bad"]
        if step == "keep":
            await unit.keep("k", "n", b"v")
            assert await unit.peek("k", "n") == b"v"
        await unit.put(_put("worse"))
        raise LookupError

    async def later(unit: Unit) -> list[Any]:
        log = await unit.audited(AuditQuery())
        there = [await unit.read("Slot", id_) is not None for id_ in ("good", "bad", "worse")]
        return [there, await _found(unit, "a"), [each.body for each in log], await unit.peek("k", "n")]

    _, error, result = _together(tmp_path, good, bad, later)
    assert isinstance(error, LookupError)
    assert result == [[True, False, False], ["good"], [b'{"I":"good"}'], None]


def test_a_row_that_is_refused_fails_the_unit_that_it_belongs_to(tmp_path: Path) -> None:
    async def good(unit: Unit) -> int:
        return (await unit.put(_put("good"))).version

    async def bad(unit: Unit) -> None:
        await unit.put(_put("bad", code=None))

    async def later(unit: Unit) -> list[str]:
        return await _found(unit, "a")

    first, error, found = _together(tmp_path, good, bad, later)
    assert isinstance(error, apsw.ConstraintError)
    assert (first, found) == (1, ["good"])


@pytest.mark.parametrize("step", ["", "search"])
def test_an_id_that_is_not_new_is_told_to_the_unit_that_expects_it_new(tmp_path: Path, step: str) -> None:
    """It is taken for new until its row is refused; then the Units of its batch are done again, one by one."""

    async def put(unit: Unit, id_: str) -> int:
        return (await unit.put(_put(id_))).version

    async def bad(unit: Unit) -> list[Any]:
        try:
            await unit.put(_put("1", code="b"))
            if step == "search":  # which has the row written, and refused, at once
                await _found(unit, "b")
        except VersionConflict as conflict:
            # Sorted, for keys made in one millisecond are in no order.
            return [conflict.current, sorted(await _found(unit, "a")), await _found(unit, "b")]
        return ["not refused"]

    _together(tmp_path, partial(put, id_="1"))
    results = _together(tmp_path, partial(put, id_="2"), bad, partial(put, id_="3"), partial(put, id_="1"))
    assert results[:3] == [1, [1, ["1", "2"], []], 1]
    assert isinstance(results[3], VersionConflict)


def test_a_kept_value_that_was_looked_up_expires_all_the_same(tmp_path: Path) -> None:
    clock = SteppingClock()

    async def work(unit: Unit) -> list[bytes | None]:
        await unit.keep("k", "n", b"v", clock.now + 10)
        found = [await unit.peek("k", "n")]
        clock.advance(10)
        return [*found, await unit.peek("k", "n"), await unit.take("k", "n")]

    assert _together(tmp_path, work, clock=clock) == [[b"v", None, None]]
