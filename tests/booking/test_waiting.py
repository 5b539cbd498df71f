"""Waiting lists and the deadline of the review (R-4.5, R-10.5)."""

import pytest

from fhir_server.booking import sweeper
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    ids,
    issue,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

_TAG = "https://fhir-server.dev/tags/booking|"


async def _prepare(harness: Harness, **rules: int) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        *map(patient, ("anna", "ben")),
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )


async def _sweep(harness: Harness) -> int:
    return await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))


async def _make(harness: Harness, status: str, who: str = "anna", caller: str = "sam") -> str:
    made = appointment("", status, who, "s")
    del made["id"]
    answer = await harness.create(made, caller)
    assert answer.status_code == 201, answer.text
    return f"Appointment/{answer.json()['id']}"


async def _found(harness: Harness, query: str) -> list[str]:
    return [f"Appointment/{id_}" for id_ in ids(await harness.get(f"Appointment?{query}", "sam"))]


@pytest.mark.requirement("R-10.5", "R-10.1", "R-4.5")
async def test_who_waits_is_told_of_a_place_and_promoted_by_people(harness: Harness) -> None:
    await _prepare(harness)
    booked = await _make(harness, "booked")
    waiting = await _make(harness, "waitlist", "ben")
    free = f"status=waitlist&_tag={_TAG}place-free"
    assert await _found(harness, free) == []
    refused = await harness.patch(waiting, to_status("booked"))
    assert refused.status_code == 409
    assert (await harness.stored("Slot/s"))["status"] == "busy", "waiting takes nothing"
    await harness.patch(booked, to_status("cancelled"))
    assert await _found(harness, free) == [waiting]
    assert (await harness.stored(waiting))["status"] == "waitlist", "nobody is promoted by a machine"
    # A place that is taken by somebody else is none any more.
    other = await _make(harness, "booked")
    assert await _found(harness, free) == []
    await harness.patch(other, to_status("cancelled"))
    assert (await harness.patch(waiting, to_status("booked"))).status_code == 200
    assert "place-free" not in str((await harness.stored(waiting))["meta"].get("tag"))
    assert (await harness.get(waiting, "ben")).json()["status"] == "booked"


async def test_who_waits_for_a_free_place_is_marked_at_once_and_by_hand_too(harness: Harness) -> None:
    await _prepare(harness)
    waiting = await _make(harness, "waitlist")
    free = f"status=waitlist&_tag={_TAG}place-free"
    assert await _found(harness, free) == [waiting]
    await harness.patch("Slot/s", to_status("busy-unavailable"))
    assert await _found(harness, free) == []
    await harness.patch("Slot/s", to_status("free"))
    assert await _found(harness, free) == [waiting]


@pytest.mark.requirement("R-8.2")
async def test_who_waits_holds_nothing_and_ends_when_the_time_begins(harness: Harness) -> None:
    await _prepare(harness, hold_minutes=30)
    path = f"Appointment/{(await harness.create(proposal('s'), 'anonymous')).json()['id']}"
    assert (await harness.stored("Slot/s"))["status"] == "busy-tentative"
    assert (await harness.patch(path, to_status("waitlist"), "sam")).status_code == 200
    assert (await harness.stored("Slot/s"))["status"] == "free"
    harness.clock.advance(2 * DAY - MINUTE)
    assert await _sweep(harness) == 0
    harness.clock.advance(MINUTE)
    assert await _sweep(harness) == 1
    assert (await harness.stored(path))["status"] == "cancelled"


@pytest.mark.requirement("R-4.5", "R-10.5")
async def test_overdue_proposals_are_found_by_staff_and_stay(harness: Harness) -> None:
    await _prepare(harness, review_hours=4)
    path = f"Appointment/{(await harness.create(proposal('s'), 'anonymous')).json()['id']}"
    other = f"Appointment/{(await harness.create(proposal('s'), 'anonymous')).json()['id']}"
    overdue = f"status=proposed,pending&_tag={_TAG}overdue"
    harness.clock.advance(4 * HOUR - MINUTE)
    assert await _sweep(harness) == 0
    await harness.patch(other, to_status("pending"), "sam")
    harness.clock.advance(MINUTE)
    assert await _sweep(harness) == 2
    assert await _sweep(harness) == 0, "marked once"
    assert await _found(harness, overdue) == [path, other]
    events = [event.rule for event in await harness.events() if "overdue" in event.rule]
    assert len(events) == 2
    assert (await harness.stored(path))["status"] == "proposed"
    await harness.patch(path, to_status("booked"))
    await harness.patch(other, to_status("waitlist"))
    assert await _found(harness, overdue) == []
    for each in (path, other):
        assert "overdue" not in str((await harness.stored(each))["meta"].get("tag"))


async def test_a_client_cannot_move_its_deadline(harness: Harness) -> None:
    await _prepare(harness, review_hours=4)
    path = await _make(harness, "proposed")
    stored = await harness.stored(path)
    mine = stored | {"extension": [], "comment": "x"}
    del mine["extension"]
    assert (await harness.put(mine, "sam")).status_code == 200
    assert (await harness.stored(path))["extension"] == stored["extension"]


@pytest.mark.requirement("R-10.4", "R-10.5")
async def test_a_patient_withdraws_and_the_place_is_free_for_who_waits(harness: Harness) -> None:
    await _prepare(harness, withdrawal=True, hold_minutes=60)
    wanted = appointment("", "proposed", "anna", "s")
    del wanted["id"]
    path = f"Appointment/{(await harness.create(wanted, 'anna')).json()['id']}"
    waiting = await _make(harness, "waitlist", "ben")
    assert await _found(harness, f"_tag={_TAG}place-free") == []
    assert (await harness.patch(path, to_status("cancelled"), "anna")).status_code == 200
    assert await _found(harness, f"_tag={_TAG}place-free") == [waiting]


async def test_a_refused_step_says_which_are_allowed(harness: Harness) -> None:
    await _prepare(harness)
    path = await _make(harness, "booked")
    refused = await harness.patch(path, to_status("proposed"), "sam")
    assert refused.status_code == 422
    for status in ("arrived", "checked-in", "fulfilled", "noshow", "cancelled", "entered-in-error"):
        assert status in issue(refused)["diagnostics"]
