"""Open proposals that staff move, put on the waiting list or make proposals again: their end, and what was offered."""

from typing import Any

import httpx
import pytest

from fhir_server.booking import sweeper
from fhir_server.fhir import own
from tests.harness import DAY, HOUR, MINUTE, Harness, appointment, issue, to_status

pytestmark = pytest.mark.requirement("R-10.5", "R-10.7")


@pytest.fixture
async def slots(clinic: Harness) -> Harness:
    """dr-lee's slots `a` in two days, `b` in three, `soon` in two hours, `far` in five days."""
    starts = {"a": 2 * DAY, "b": 3 * DAY, "soon": 2 * HOUR, "far": 5 * DAY}
    await clinic.seed(*(clinic.slot(id_, start) for id_, start in starts.items()))
    return clinic


async def _make(harness: Harness, status: str = "proposed", caller: str = "anna", *slots: str, **more: Any) -> str:
    made = appointment("", status, "anna", *slots, **more)
    del made["id"]
    answer = await harness.create(made, caller)
    assert answer.status_code == 201, answer.text
    return f"Appointment/{answer.json()['id']}"


async def _move(harness: Harness, path: str, slot: str) -> httpx.Response:
    to = [{"op": "replace", "path": "/slot/0/reference", "value": f"Slot/{slot}"}]
    return await harness.patch(path, to, "sam")


async def _respond(harness: Harness, path: str, actor: str, status: str, **times: str) -> httpx.Response:
    answer = {"resourceType": "AppointmentResponse", "appointment": {"reference": path}, "participantStatus": status}
    return await harness.create(answer | {"actor": {"reference": actor}, **times}, actor.partition("/")[2])


async def _offer(harness: Harness, path: str, slot: str) -> None:
    there = await harness.stored(f"Slot/{slot}")
    times = {name: there[name] for name in ("start", "end")}
    offered = await _respond(harness, path, "Practitioner/dr-lee", "tentative", **times)
    assert offered.status_code == 201, offered.text


async def _sweep(harness: Harness) -> int:
    return await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))


async def _is_offered(harness: Harness, path: str) -> bool:
    return own.has_tag(await harness.stored(path), own.BOOKING, "offered")


async def _status(harness: Harness, path: str) -> str:
    return str((await harness.stored(path))["status"])


# When they end


async def test_a_proposal_that_is_moved_away_does_not_end_by_its_old_time(slots: Harness) -> None:
    path = await _make(slots, "proposed", "anna", "a")
    assert (await _move(slots, path, "far")).status_code == 200
    slots.clock.advance(2 * DAY)
    assert await _sweep(slots) == 0
    assert await _status(slots, path) == "proposed"
    slots.clock.advance(3 * DAY)
    assert await _sweep(slots) == 1
    assert await _status(slots, path) == "cancelled"


async def test_a_proposal_that_is_moved_nearer_ends_when_its_time_begins(slots: Harness) -> None:
    path = await _make(slots, "proposed", "anna", "a")
    assert (await _move(slots, path, "soon")).status_code == 200
    slots.clock.advance(2 * HOUR)
    refused = await slots.patch(path, to_status("booked"), "sam")
    assert refused.status_code == 422
    assert "expired" in issue(refused)["diagnostics"]
    assert await _sweep(slots) == 1
    assert await _status(slots, path) == "cancelled"


async def test_a_proposal_of_a_time_without_a_slot_ends_when_it_begins(slots: Harness) -> None:
    times = {"start": slots.at(DAY), "end": slots.at(DAY + HOUR)}
    path = await _make(slots, "proposed", "sam", **times)
    earlier = {"start": slots.at(HOUR), "end": slots.at(2 * HOUR)}
    operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in earlier.items()]
    assert (await slots.patch(path, operations, "sam")).status_code == 200
    slots.clock.advance(HOUR)
    assert await _sweep(slots) == 1


async def test_a_proposal_is_not_moved_to_a_time_that_has_begun(slots: Harness) -> None:
    """It would end at once."""
    path = await _make(slots, "proposed", "anna", "a")
    slots.clock.advance(2 * HOUR)
    refused = await _move(slots, path, "soon")
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.start"]
    assert (await slots.stored(path))["slot"] == [{"reference": "Slot/a"}]


async def test_who_waited_and_is_proposed_again_ends_as_a_proposal_does(slots: Harness) -> None:
    path = await _make(slots, "waitlist", "sam", "a")
    assert (await slots.patch(path, to_status("proposed"), "sam")).status_code == 200
    slots.clock.advance(2 * DAY - MINUTE)
    assert await _sweep(slots) == 0
    slots.clock.advance(MINUTE)
    assert await _sweep(slots) == 1
    assert await _status(slots, path) == "cancelled"


async def test_what_is_moved_under_review_ends_by_its_new_time_when_it_is_proposed_again(slots: Harness) -> None:
    path = await _make(slots, "proposed", "anna", "soon")
    assert (await slots.patch(path, to_status("pending"), "sam")).status_code == 200
    assert (await _move(slots, path, "far")).status_code == 200
    await _offer(slots, path, "b")
    assert (await _respond(slots, path, "Patient/anna", "declined")).status_code == 201
    slots.clock.advance(2 * HOUR)
    assert await _sweep(slots) == 0
    slots.clock.advance(5 * DAY)
    assert await _sweep(slots) == 1


@pytest.mark.parametrize("answer", ["declined", ""])
async def test_what_was_never_proposed_ends_once_its_offer_has(slots: Harness, answer: str) -> None:
    path = await _make(slots, "pending", "sam", "far")
    await _offer(slots, path, "a")
    if answer:
        assert (await _respond(slots, path, "Patient/anna", answer)).status_code == 201
    slots.clock.advance(2 * DAY)
    assert await _sweep(slots) == (0 if answer else 1)
    assert await _status(slots, path) == "proposed"
    slots.clock.advance(3 * DAY)
    assert await _sweep(slots) == 1
    assert await _status(slots, path) == "cancelled"


# What was offered


@pytest.mark.requirement("R-4.5", "R-8.2")
@pytest.mark.parametrize("slot", ["b", "far"])
async def test_an_offer_ends_when_staff_move_the_proposal(slots: Harness, slot: str) -> None:
    """Onto the offered time itself, too: then nothing is left to accept."""
    path = await _make(slots, "proposed", "anna", "a")
    await _offer(slots, path, "b")
    assert (await _move(slots, path, slot)).status_code == 200
    assert not await _is_offered(slots, path)
    assert await _status(slots, "Slot/b") == "free"
    refused = await _respond(slots, path, "Patient/anna", "accepted")
    assert refused.status_code == 422
    assert "ended" in issue(refused)["diagnostics"]
    assert (await slots.patch(path, to_status("booked"), "sam")).status_code == 200
    assert await _status(slots, f"Slot/{slot}") == "busy"


@pytest.mark.requirement("R-4.5", "R-8.2")
async def test_an_offer_ends_when_its_proposal_waits_for_a_place(slots: Harness) -> None:
    path = await _make(slots, "proposed", "anna", "a")
    await _offer(slots, path, "b")
    assert await _status(slots, "Slot/b") == "busy-tentative"
    assert (await slots.patch(path, to_status("waitlist"), "sam")).status_code == 200
    assert not await _is_offered(slots, path)
    assert await _status(slots, "Slot/b") == "free"
    assert (await _respond(slots, path, "Patient/anna", "accepted")).status_code == 422


async def test_an_offer_stands_when_something_else_is_changed(slots: Harness) -> None:
    path = await _make(slots, "proposed", "anna", "a")
    await _offer(slots, path, "b")
    comment = [{"op": "add", "path": "/comment", "value": "by the stairs"}]
    assert (await slots.patch(path, comment, "sam")).status_code == 200
    assert await _is_offered(slots, path)
    assert (await _respond(slots, path, "Patient/anna", "accepted")).status_code == 201
    assert await _status(slots, "Slot/b") == "busy"
