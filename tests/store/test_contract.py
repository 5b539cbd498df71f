"""What every store promises (store/protocol.py): the same tests for each of them."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fhir_server import tasks
from fhir_server.fhir.errors import BadRequest, Conflict, NotFound
from fhir_server.search.plan import Query
from fhir_server.store import forgetting
from fhir_server.store.chain import link
from fhir_server.store.protocol import (
    AuditEntry,
    AuditQuery,
    HistoryQuery,
    Put,
    Recorded,
    Store,
    Stored,
    Unit,
    VersionConflict,
)
from fhir_server.store.sqlite.store import SqliteStore
from fhir_server.store.tenants import SERVER
from tests.harness import STORES, SteppingClock


@pytest.fixture(params=(*STORES, "sealed"))
def store_kind(request: pytest.FixtureRequest) -> str:
    """Every store, and MongoDB with its fields sealed."""
    return str(request.param)


def put(id_: str = "a", expected: int = 0, body: bytes | None = b"{}", **more: Any) -> Put:
    values: dict[str, Any] = {"updated": expected, "entries": {}, "method": "PUT"} | more
    return Put(values.pop("type", "Patient"), id_, expected, values.pop("updated"), body, **values)


def entry(recorded: int, body: bytes = b"{}", **found_by: tuple[str, ...]) -> AuditEntry:
    kinds = {"patients": "patient", "agents": "agent", "entities": "entity"}
    found = tuple((kinds[name], value) for name, values in found_by.items() for value in values)
    return AuditEntry(recorded, body, found)


async def write(store: Store, work: Callable[[Unit], Any], tenant: str = "demo") -> Any:
    return await store.run(tenant, work, write=True)


async def read(store: Store, work: Callable[[Unit], Any], tenant: str = "demo") -> Any:
    return await store.run(tenant, work, write=False)


async def _put(store: Store, *puts: Put, tenant: str = "demo") -> list[Stored]:
    async def work(unit: Unit) -> list[Stored]:
        return [await unit.put(each) for each in puts]

    made: list[Stored] = await write(store, work, tenant)
    return made


async def _audited(store: Store, tenant: str = "demo", **query: Any) -> list[Recorded]:
    async def work(unit: Unit) -> list[Recorded]:
        return list(await unit.audited(AuditQuery(**query)))

    found: list[Recorded] = await read(store, work, tenant)
    return found


# put, read, vread


async def test_put_makes_the_next_version(store: Store) -> None:
    first, second = await _put(store, put(body=b"1"), put(expected=1, body=b"2", patients=("p", "q")))
    assert (first.version, second.version) == (1, 2)
    assert first.key == second.key
    current = await read(store, lambda unit: unit.read("Patient", "a"))
    assert (current.version, current.body, current.updated, current.patients) == (2, b"2", 1, ("p", "q"))
    old = await read(store, lambda unit: unit.vread("Patient", "a", 1))
    assert (old.version, old.body, old.method) == (1, b"1", "PUT")
    assert await read(store, lambda unit: unit.vread("Patient", "a", 3)) is None
    assert await read(store, lambda unit: unit.read("Patient", "b")) is None
    assert await read(store, lambda unit: unit.read("Slot", "a")) is None


@pytest.mark.parametrize(("there", "expected"), [(0, 1), (1, 0), (2, 1), (1, 2)])
@pytest.mark.requirement("R-10.6")
async def test_put_compares_and_swaps(store: Store, there: int, expected: int) -> None:
    await _put(store, *(put(expected=n) for n in range(there)))
    with pytest.raises(VersionConflict) as caught:
        await _put(store, put(expected=expected))
    assert caught.value.current == there
    assert (await read(store, lambda unit: unit.history(HistoryQuery()))).total == there


async def test_a_version_conflict_may_be_caught_within_the_unit(store: Store) -> None:
    async def work(unit: Unit) -> int:
        await unit.put(put("a"))
        try:
            await unit.put(put("a"))
        except VersionConflict as error:
            return error.current
        return -1

    assert await write(store, work) == 1
    assert (await read(store, lambda unit: unit.read("Patient", "a"))).version == 1


async def test_a_deletion_is_a_version(store: Store) -> None:
    await _put(store, put(), put(expected=1, body=None, method="DELETE"), put(expected=2, body=b"again"))
    deleted = await read(store, lambda unit: unit.vread("Patient", "a", 2))
    assert deleted.is_deleted
    current = await read(store, lambda unit: unit.read("Patient", "a"))
    assert (current.version, current.body) == (3, b"again")


async def test_search_sees_what_is_there(store: Store) -> None:
    await _put(store, put("a"), put("b"), put("c", type="Slot"), put("b", 1, None))
    page = await read(store, lambda unit: unit.search(Query("Patient", total=-1)))
    assert ([stored.id for stored in page.matches], page.total, page.next) == (["a"], 1, None)


@pytest.mark.parametrize("kind", ["exception", "cancelled", "conflict"])
@pytest.mark.requirement("R-8.2", "R-10.7", "R-10.10")
async def test_a_unit_that_raises_leaves_nothing(store: Store, kind: str) -> None:
    """All or nothing: resources, history, index, kept values and audit."""
    await _put(store, put("there"))

    async def work(unit: Unit) -> None:
        await unit.put(put("a", entries={"token": [("x", "1", "")]}))
        await unit.audit(entry(1))
        await unit.keep("k", "n", b"v")
        await unit.take("k", "n")
        await unit.keep("k", "m", b"v")
        if kind == "conflict":
            await unit.put(put("there"))
        raise {"exception": ValueError, "cancelled": KeyError}[kind]("no")

    with pytest.raises((ValueError, KeyError, VersionConflict)):
        await write(store, work)

    async def look(unit: Unit) -> list[Any]:
        found = await unit.search(Query("Patient"))
        return [
            await unit.read("Patient", "a"),
            await unit.vread("Patient", "a", 1),
            [stored.id for stored in found.matches],
            (await unit.history(HistoryQuery())).total,
            await unit.kept("k"),
            list(await unit.audited(AuditQuery())),
        ]

    assert await read(store, look) == [None, None, ["there"], 1, [], []]


async def test_units_beside_one_that_raises_are_not_touched(store: Store) -> None:
    async def bad(unit: Unit) -> None:
        await unit.put(put("bad"))
        await unit.audit(entry(2))
        raise ValueError

    async def good(number: int) -> None:
        async def work(unit: Unit) -> None:
            await unit.put(put(f"good-{number}"))
            await unit.audit(entry(1))

        await write(store, work)

    done = await asyncio.gather(
        *(good(n) for n in range(20)), *(write(store, bad) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(each, ValueError) for each in done) == 10
    page = await read(store, lambda unit: unit.search(Query("Patient", count=100)))
    assert {stored.id for stored in page.matches} == {f"good-{n}" for n in range(20)}
    assert [each.recorded for each in await _audited(store)] == [1] * 20


@pytest.mark.requirement("R-10.6")
async def test_units_are_serialisable(store: Store) -> None:
    """The write-skew pair: two Units that each look at what the other writes cannot both go through."""

    async def take(id_: str) -> bool:
        async def work(unit: Unit) -> bool:
            await unit.guard("Slot/any")  # what a Unit decides on is guarded (docs/decisions/0004-guards.md)
            if (await unit.search(Query("Slot", total=-1, count=0))).total:
                return False
            await unit.put(put(id_, type="Slot"))
            return True

        result: bool = await write(store, work)
        return result

    assert sum(await asyncio.gather(*(take(str(n)) for n in range(20)))) == 1


async def test_a_read_sees_one_state(store: Store) -> None:
    """What a Unit reads does not change below it."""
    await _put(store, put("a"))

    async def look(unit: Unit) -> tuple[int, int]:
        first = (await unit.history(HistoryQuery())).total or 0
        for _ in range(200):
            await unit.read("Patient", "a")
        return first, (await unit.history(HistoryQuery())).total or 0

    async def change(n: int) -> None:
        await _put(store, put(f"x{n}"))

    looks = await asyncio.gather(*(read(store, look) for _ in range(5)), *(change(n) for n in range(20)))
    assert all(seen[0] == seen[1] for seen in looks if seen is not None)


async def test_a_quick_read_sees_what_was_acknowledged(store: Store) -> None:
    for n in range(20):
        await _put(store, put("a", n))
        seen = await store.run("demo", lambda unit: unit.read("Patient", "a"), write=False, quick=True)
        assert seen is not None
        assert seen.version == n + 1


# history


async def test_history_is_whole_and_newest_first(store: Store) -> None:
    await _put(store, put("a", updated=1), put("b", updated=2, type="Slot"), put("a", 1, updated=5),
               put("a", 2, None, updated=7, method="DELETE"))  # fmt: skip

    async def versions(**query: Any) -> list[tuple[str, int]]:
        page = await read(store, lambda unit: unit.history(HistoryQuery(**query)))
        assert page.total == len(page.matches)
        return [(stored.id, stored.version) for stored in page.matches]

    assert await versions() == [("a", 3), ("a", 2), ("b", 1), ("a", 1)]
    assert await versions(types=("Patient",)) == [("a", 3), ("a", 2), ("a", 1)]
    assert await versions(types=("Slot", "Patient")) == [("a", 3), ("a", 2), ("b", 1), ("a", 1)]
    assert await versions(types=("Patient",), id="b") == []
    assert await versions(since=5) == [("a", 3), ("a", 2)]
    assert await versions(at=(0, 2)) == [("a", 1)]
    assert await versions(at=(3, 6)) == [("a", 2), ("b", 1), ("a", 1)]
    assert await versions(at=(6, 7)) == [("a", 2), ("b", 1)]
    assert await versions(at=(8, 9)) == [("a", 3), ("b", 1)]
    counted = await read(store, lambda unit: unit.history(HistoryQuery(count=0)))
    assert (counted.total, list(counted.matches)) == (4, [])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
async def test_history_pages_without_gap_or_repeat(store: Store, count: int) -> None:
    await _put(store, *(put(f"p{n % 5}", n // 5, updated=n // 4) for n in range(30)))
    found: list[tuple[str, int]] = []
    after: Any = None
    while True:
        query = HistoryQuery(count=count, after=after)
        page = await read(store, lambda unit, query=query: unit.history(query))
        found += [(stored.id, stored.version) for stored in page.matches]
        assert page.total == 30
        after = page.next
        if after is None:
            break
    assert len(found) == len(set(found)) == 30
    whole = await read(store, lambda unit: unit.history(HistoryQuery(count=100)))
    assert found == [(stored.id, stored.version) for stored in whole.matches]


# kept values


async def test_kept_values(store: Store, clock: SteppingClock) -> None:
    async def work(unit: Unit) -> None:
        await unit.keep("k", "b", b"1")
        await unit.keep("k", "a", b"2")
        await unit.keep("k", "c", b"3", clock.now + 10)
        await unit.keep("other", "a", b"4")
        await unit.keep("k", "b", b"5")

    await write(store, work)
    assert list(await read(store, lambda unit: unit.kept("k"))) == [("a", b"2"), ("b", b"5"), ("c", b"3")]
    assert await read(store, lambda unit: unit.peek("k", "c")) == b"3"
    clock.advance(10)
    assert await read(store, lambda unit: unit.peek("k", "c")) is None
    assert await write(store, lambda unit: unit.take("k", "c")) is None
    assert list(await read(store, lambda unit: unit.kept("k"))) == [("a", b"2"), ("b", b"5")]
    assert await write(store, lambda unit: unit.take("k", "a")) == b"2"
    assert await write(store, lambda unit: unit.take("k", "a")) is None
    assert await read(store, lambda unit: unit.peek("k", "nothing")) is None
    assert await read(store, lambda unit: unit.kept("nothing")) == []


async def test_expired_values_are_removed(store: Store, clock: SteppingClock) -> None:
    """Some at a time, and no others: what strangers have kept does not stay for ever."""

    async def work(unit: Unit) -> None:
        for number in range(5):
            await unit.keep("challenge", str(number), b"1", clock.now + 10)
        await unit.keep("challenge", "later", b"2", clock.now + 11)
        await unit.keep("challenge", "renewed", b"2", clock.now + 10)
        await unit.keep("client", "kept", b"3")

    await write(store, work)
    clock.advance(9)
    assert await write(store, lambda unit: unit.forget(100)) == 0
    clock.advance(1)
    await write(store, lambda unit: unit.keep("challenge", "renewed", b"4", clock.now + 10))
    assert await write(store, lambda unit: unit.forget(2)) == 2
    assert await forgetting.forget(store, "demo", at_once=2) == 3
    assert await forgetting.forget(store, "demo") == 0
    assert list(await read(store, lambda unit: unit.kept("challenge"))) == [("later", b"2"), ("renewed", b"4")]
    assert await read(store, lambda unit: unit.peek("client", "kept")) == b"3"
    clock.advance(1)
    assert await forgetting.forget(store, "demo") == 1


async def test_expired_values_of_every_clinic_are_removed_now_and_then(store: Store, clock: SteppingClock) -> None:
    for tenant in ("demo", "other"):
        await store.run(tenant, lambda unit: unit.keep("code", "x", b"1", clock.now + 1), write=True)
    removing = asyncio.create_task(forgetting.run(store, 0.01))
    await asyncio.sleep(0.1)
    clock.advance(1)
    await asyncio.sleep(0.5)
    await tasks.end([removing])
    assert [await forgetting.forget(store, tenant) for tenant in ("demo", "other")] == [0, 0]


async def test_a_store_has_at_hand_whom_it_was_asked_for(store: Store) -> None:
    """What is done for them all opens no others: there may be thousands, each with files of its own."""
    await write(store, lambda unit: unit.keep("code", "x", b"1"))
    assert "demo" in store.at_hand()
    assert SERVER not in store.at_hand()
    if isinstance(store, SqliteStore):
        assert "other" not in store.at_hand()


async def test_a_value_is_taken_once(store: Store) -> None:
    """Single use under concurrency: authorization codes and refresh tokens rest on it."""
    await write(store, lambda unit: unit.keep("code", "x", b"1"))
    taken = await asyncio.gather(*(write(store, lambda unit: unit.take("code", "x")) for _ in range(30)))
    assert sorted(map(str, taken)) == sorted(["b'1'"] + ["None"] * 29)


# audit


async def test_audit_is_ordered_and_paged(store: Store) -> None:
    """Changes and what was only recorded come in one order, newest first or oldest first, page by page."""
    times = [5, 3, 5, 1, 5, 2, 4, 5, 5]
    for n, time in enumerate(times):
        made = entry(time, str(n).encode(), patients=("p",) if n % 2 else (), agents=(f"a{n % 3}",), entities=("e",))
        if n % 3:
            await store.record("demo", [made])
        else:
            await write(store, lambda unit, made=made: unit.audit(made))
    for ascending in (False, True):
        whole = await _audited(store, ascending=ascending)
        assert [each.recorded for each in whole] == sorted(times, reverse=not ascending)
        assert len({each.id for each in whole}) == len(times)
        for count in (1, 2, 4):
            for narrowed in ({}, {"found_by": ("entity", "e")}):
                found: list[Recorded] = []
                after = None
                while True:
                    page = await _audited(store, ascending=ascending, count=count, after=after, **narrowed)
                    if not page:
                        break
                    found += page
                    after = (page[-1].recorded, page[-1].id)
                assert found == whole
    assert [each.recorded for each in await _audited(store, since=3, before=5)] == [4, 3]
    assert {each.body for each in await _audited(store, found_by=("patient", "p"))} == {b"1", b"3", b"5", b"7"}
    assert {each.body for each in await _audited(store, found_by=("agent", "a0"))} == {b"0", b"3", b"6"}
    assert await _audited(store, found_by=("patient", "e")) == []
    for each in await _audited(store):
        assert await _audited(store, id=each.id) == [each]
    for unknown in ("", "x", "c-", "c-x", "c-999", "-1", "c--1", "c-" + "9" * 30, "zz-1", "c-1-1", "c-²"):
        assert await _audited(store, id=unknown) == []


async def test_entries_that_cannot_be_made_harm_nobody_else(store: Store) -> None:
    """What making entries raises goes to whoever records them, and nothing of theirs is there; others' are."""

    def failing() -> Iterator[AuditEntry]:
        yield entry(1)
        raise ArithmeticError

    def good(number: int) -> Iterator[AuditEntry]:
        yield entry(10 + number)
        yield entry(20 + number)

    told = await asyncio.gather(
        store.record("demo", good(1)),
        store.record("demo", failing()),
        store.record("demo", iter(())),
        store.record("demo", good(2)),
        return_exceptions=True,
    )
    assert [type(each) for each in told] == [type(None), ArithmeticError, type(None), type(None)]
    assert [each.recorded for each in await _audited(store)] == [22, 21, 12, 11]


async def test_a_reading_unit_audits_nothing(store: Store) -> None:
    with pytest.raises(Exception):  # noqa: B017 - how a store refuses is its own
        await read(store, lambda unit: unit.audit(entry(1)))
    assert await _audited(store) == []


async def test_a_chain_that_is_purged_again_goes_on_where_it_stood(store: Store) -> None:
    """The second purge finds nothing of a chain in which nothing was written since, and leaves it as it is."""
    await store.record("demo", [entry(number) for number in range(1, 4)])
    for _ in range(2):
        [before] = [head for head in await write(store, lambda unit: unit.heads()) if head.number]
        await write(store, lambda unit, chain=before.chain: unit.purge(chain, 3))
        assert await _audited(store) == []
        assert before in await write(store, lambda unit: unit.heads())
    await store.record("demo", [entry(4)])
    [after] = [head for head in await write(store, lambda unit: unit.heads()) if head.number]
    assert (after.chain, after.number) == (before.chain, 4)
    assert after.hash == link(before.hash, 4, 4, entry(4).body)


async def test_a_chain_is_read_in_parts_and_whole(store: Store) -> None:
    """After a number, or from the first that is there; what is recorded is no stray, also before it is chained."""
    await store.record("demo", [entry(number) for number in range(1, 6)])
    await write(store, lambda unit: unit.audit(entry(6)))
    assert list(await read(store, lambda unit: unit.strays(9))) == []
    chains = [head.chain for head in await write(store, lambda unit: unit.heads()) if head.number]
    await write(store, lambda unit: unit.purge(chains[-1], 2))
    for chain in chains:
        every = [each.number for each in await read(store, lambda unit, c=chain: unit.chained(c, None, 9))]
        assert every == [*range(3 if chain == chains[-1] else 1, every[-1] + 1)]
        for after in range(-1, 7):
            part = await read(store, lambda unit, c=chain, a=after: unit.chained(c, a, 2))
            assert [each.number for each in part] == [number for number in every if number > after][:2]
    assert sorted(each.recorded for each in await _audited(store)) == [3, 4, 5, 6]
    assert list(await read(store, lambda unit: unit.strays(9))) == []


# tenants


@pytest.mark.requirement("R-6.1")
async def test_tenants_are_apart(store: Store) -> None:
    await _put(store, put("a", entries={"token": [("x", "1", "")]}))
    await write(store, lambda unit: unit.keep("k", "n", b"v"))
    await store.record("demo", [entry(1)])

    async def look(unit: Unit) -> list[Any]:
        return [
            await unit.read("Patient", "a"),
            await unit.vread("Patient", "a", 1),
            (await unit.search(Query("Patient", total=-1))).total,
            (await unit.history(HistoryQuery())).total,
            await unit.peek("k", "n"),
            list(await unit.audited(AuditQuery())),
        ]

    assert await read(store, look, "other") == [None, None, 0, 0, None, []]
    await _put(store, put("a", body=b"theirs"), tenant="other")
    assert (await read(store, lambda unit: unit.read("Patient", "a"))).body == b"{}"


async def test_names_of_tenants(store: Store) -> None:
    for name in ("", "A", "a b", "a/b", "..", ".", "-a", "a-", "a" * 64, "ä", "a\0", "a\n", "%41", "con.db"):
        with pytest.raises(BadRequest):
            await store.create_tenant(name)
        if name:
            assert not await store.has(name)
            with pytest.raises(NotFound):
                await read(store, lambda unit: unit.read("Patient", "a"), name)
            with pytest.raises(NotFound):
                await store.record(name, [entry(1)])
    with pytest.raises(Conflict):
        await store.create_tenant("demo")
    await store.create_tenant("a-1")
    assert await store.tenants() == ["a-1", "demo", "other"]
    assert await store.has("a-1")


async def test_work_awaits_nothing_but_the_unit(store: Store) -> None:
    """What happens at a Unit's side may happen twice, or hold the writer: a store may refuse it, and goes on."""
    await _put(store, put("a"))
    assert (await read(store, lambda unit: unit.read("Patient", "a"))).version == 1


async def test_a_caller_who_goes_away_harms_nobody(store: Store) -> None:
    tasks = [asyncio.create_task(_put(store, put(f"p{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, list) for each in done) >= 10
    await _put(store, put("last"))
    page = await read(store, lambda unit: unit.search(Query("Patient", count=100)))
    assert {"last", *(f"p{n}" for n in range(1, 20, 2))} <= {stored.id for stored in page.matches}
