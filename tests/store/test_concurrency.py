"""Units that decide on what they read, at once, through two clients of one store, as two processes would."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fhir_server.app import make_app, make_parts
from fhir_server.fhir.clock import Ids
from fhir_server.fhir.errors import Conflict
from fhir_server.search.plan import Query, Test, Token
from fhir_server.settings import Settings
from fhir_server.store.protocol import AuditEntry, AuditQuery, HistoryQuery, Put, Store, Unit, VersionConflict
from tests.harness import DAY, MINUTE, ORIGIN, Harness, SteppingClock, appointment, open_store, to_status

Pair = tuple[Store, Store]


def put(id_: str, expected: int = 0, code: str = "a", type_: str = "Slot") -> Put:
    return Put(type_, id_, expected, 1 + expected, b"{}", {"token": [("code", code, "")]}, "PUT")


@pytest.fixture
async def pair(store_kind: str, tmp_path: Path, clock: SteppingClock) -> AsyncIterator[Pair]:
    """Two stores over the same data, each with its own ids."""
    first, second = (open_store(store_kind, tmp_path, clock, Ids(clock)) for _ in range(2))
    await first.create_tenant("demo")
    yield first, second
    await first.close()
    await second.close()


async def test_a_decision_on_a_search_is_made_once(pair: Pair) -> None:
    """Each of twenty adds one only if there is none; they guard the same name, so one adds (write skew)."""

    names = itertools.count()

    async def work(unit: Unit) -> bool:
        await unit.guard("Slot/the-decision")
        page = await unit.search(Query("Slot", Test("code", "token", Token("a", None))))
        if page.matches:
            return False
        await unit.put(put(f"s{next(names)}"))
        return True

    won = await asyncio.gather(*(pair[n % 2].run("demo", work, write=True) for n in range(20)))
    assert won.count(True) == 1


async def test_a_version_is_replaced_once(pair: Pair) -> None:
    async def first(unit: Unit) -> None:
        await unit.put(put("s"))

    async def replace(unit: Unit) -> bool:
        try:
            await unit.put(put("s", 1))
        except VersionConflict:
            return False
        return True

    await pair[0].run("demo", first, write=True)
    won = await asyncio.gather(*(pair[n % 2].run("demo", replace, write=True) for n in range(10)))
    assert won.count(True) == 1

    async def count(unit: Unit) -> int | None:
        return (await unit.history(HistoryQuery(count=0))).total

    assert await pair[1].run("demo", count, write=False) == 2


async def test_a_kept_value_is_taken_once(pair: Pair) -> None:
    async def keep(unit: Unit) -> None:
        await unit.keep("code", "x", b"1")

    async def take(unit: Unit) -> bytes | None:
        return await unit.take("code", "x")

    await pair[0].run("demo", keep, write=True)
    taken = await asyncio.gather(*(pair[n % 2].run("demo", take, write=True) for n in range(20)))
    assert [value for value in taken if value is not None] == [b"1"]


async def test_a_name_is_kept_first_once(pair: Pair) -> None:
    """Who keeps a name only when it is free, as a client assertion's `jti` is, finds it free once (RFC 7523 §3)."""

    async def use(unit: Unit) -> bool:
        if await unit.peek("jti", "x") is not None:
            return False
        await unit.keep("jti", "x", b"1")
        return True

    used = await asyncio.gather(*(pair[n % 2].run("demo", use, write=True) for n in range(20)))
    assert used.count(True) == 1


async def test_a_unit_that_raises_leaves_nothing(pair: Pair) -> None:
    async def work(unit: Unit) -> None:
        await unit.guard("Slot/s")
        await unit.put(put("s"))
        await unit.keep("kind", "name", b"1")
        await unit.audit(AuditEntry(1, b"{}"))
        raise Conflict("no")

    with pytest.raises(Conflict):
        await pair[0].run("demo", work, write=True)

    async def look(unit: Unit) -> list[object]:
        history = await unit.history(HistoryQuery())
        audited = await unit.audited(AuditQuery())
        return [await unit.read("Slot", "s"), await unit.peek("kind", "name"), *history.matches, *audited]

    assert await pair[1].run("demo", look, write=False) == [None, None]


async def test_a_unit_sees_what_it_wrote(pair: Pair) -> None:
    async def work(unit: Unit) -> None:
        await unit.put(put("s"))
        await unit.put(put("s", 1, "b"))
        assert (await unit.vread("Slot", "s", 1)) is not None
        page = await unit.search(Query("Slot", Test("code", "token", Token("b", None))))
        assert [stored.version for stored in page.matches] == [2]
        assert [stored.version for stored in (await unit.history(HistoryQuery())).matches] == [2, 1]
        await unit.audit(AuditEntry(5, b"{}", (("agent", "me"),)))
        assert len(await unit.audited(AuditQuery(found_by=("agent", "me")))) == 1

    await pair[0].run("demo", work, write=True)


async def test_reading_sees_one_moment(pair: Pair) -> None:
    """What others write while a Unit reads is not there for it."""
    from fhir_server.store.mongo.store import MongoStore

    if not isinstance(pair[0], MongoStore):
        return  # on the embedded store nothing can come between the reads of one piece of work

    async def write(unit: Unit) -> None:
        await unit.put(put("later"))

    async def work(unit: Unit) -> tuple[object, object]:
        before = await unit.read("Slot", "later")
        await pair[1].run("demo", write, write=True)
        return before, await unit.read("Slot", "later")

    assert await pair[0].run("demo", work, write=False) == (None, None)


async def test_two_slots_of_one_practitioner_at_once_are_not_both_booked(clinic: Harness, tmp_path: Path) -> None:
    """The write-skew pair: two Slots on two Schedules of one practitioner, confirmed at once by two servers."""
    await clinic.seed(
        {"resourceType": "Schedule", "id": "lee-2", "active": True, "actor": [{"reference": "Practitioner/dr-lee"}]},
        clinic.slot("one"),
        clinic.slot("two", schedule="lee-2"),
    )
    times = {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + 30 * MINUTE)}
    for id_, patient, slot in (("a", "anna", "one"), ("b", "ben", "two")):
        people = [
            {"actor": {"reference": who}, "status": "accepted"} for who in (f"Patient/{patient}", "Practitioner/dr-lee")
        ]
        pending = appointment(id_, "pending", patient, slot, participant=people, **times)
        assert (await clinic.put(pending, "dr-lee")).status_code == 201
    async with other_server(clinic, tmp_path) as other:
        token = await clinic.token("dr-lee")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json-patch+json"}
        answers = await asyncio.gather(
            *(
                http.patch(f"/demo/fhir/Appointment/{id_}", json=to_status("booked"), headers=headers)
                for http, id_ in ((clinic.http, "a"), (other, "b"))
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409], [answer.text for answer in answers]
    slots = [(await clinic.stored(f"Slot/{id_}"))["status"] for id_ in ("one", "two")]
    assert sorted(slots) == ["busy", "free"]


async def test_one_slot_is_booked_once_by_two_servers(clinic: Harness, tmp_path: Path) -> None:
    """Twenty proposals for one Slot, all confirmed at the same moment: one wins, nineteen get 409 (R-10.6)."""
    await clinic.seed(clinic.slot("one"))
    times = {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + 30 * MINUTE)}
    for n in range(20):
        assert (await clinic.put(appointment(f"a{n}", "pending", "anna", "one", **times), "dr-lee")).status_code == 201
    async with other_server(clinic, tmp_path) as other:
        token = await clinic.token("dr-lee")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json-patch+json"}
        answers = await asyncio.gather(
            *(
                (clinic.http, other)[n % 2].patch(
                    f"/demo/fhir/Appointment/a{n}", json=to_status("booked"), headers=headers
                )
                for n in range(20)
            )
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(409)) == (1, 19)
    assert (await clinic.stored("Slot/one"))["status"] == "busy"
    events = [event for event in await clinic.events() if event.subtype == "patch" and "Appointment" in event.entity]
    assert sorted(event.outcome for event in events) == ["0", *["4"] * 19]


def other_server(clinic: Harness, folder: Path) -> httpx.AsyncClient:
    """A second server over the same data."""
    kind = "mongo" if type(clinic.parts.store).__name__ == "MongoStore" else "sqlite"
    ids = Ids(clinic.clock)
    store = open_store(kind, folder, clinic.clock, ids)
    settings = Settings(data=folder, origin=ORIGIN)
    app = make_app(make_parts(settings, store=store, clock=clinic.clock, ids=ids))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN)
