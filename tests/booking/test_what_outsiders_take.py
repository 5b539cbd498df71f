"""What a proposal from outside may take: slots that belong together, on days that are not full, of what is offered."""

from typing import Any

import pytest

from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    issue,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
)


async def prepare(harness: Harness, **rules: Any) -> None:
    room = {"resourceType": "Location", "id": "room", "status": "active", "physicalType": {"coding": [{"code": "ro"}]}}
    await harness.seed(
        practitioner("dr-lee"),
        patient("anna"),
        patient("ben"),
        room,
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("room", "Location/room", "HealthcareService/care"),
        *(harness.slot(str(n), 2 * DAY + n * 30 * MINUTE) for n in range(6)),
        *(harness.slot(f"r{n}", 2 * DAY + n * 30 * MINUTE, schedule="room") for n in range(2)),
        harness.slot("tomorrow", 3 * DAY),
        harness.slot("later", 3 * DAY + HOUR),
    )


@pytest.mark.requirement("R-10.2")
@pytest.mark.parametrize("slots", [("0", "2"), ("0", "tomorrow"), ("0", "1", "2", "3", "4")])
async def test_outsider_does_not_take_slots_apart_or_more_than_are_offered_together(
    harness: Harness, slots: tuple[str, ...]
) -> None:
    await prepare(harness, auto_confirm=True, risk="low")
    own_proposal = {"resourceType": "Appointment", "status": "proposed", "slot": proposal(*slots)["slot"]}
    of_anna = {"participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}
    sent = (("anonymous", proposal(*slots)), ("website", proposal(*slots)), ("anna", own_proposal | of_anna))
    for caller, made in (*sent, ("backend", own_proposal | of_anna)):
        refused = await harness.create(made, caller)
        assert refused.status_code == 422, (caller, refused.text)
        assert issue(refused)["expression"] == ["Appointment.slot"], caller
    staff = appointment("x", "booked", "anna", *slots)
    del staff["id"]
    assert (await harness.create(staff, "sam")).status_code == 201


@pytest.mark.parametrize("slots", [("0", "1", "2", "3"), ("1", "0"), ("0", "r0"), ("0", "r0", "1", "r1")])
async def test_outsider_takes_slots_that_follow_each_other_or_are_of_one_time(
    harness: Harness, slots: tuple[str, ...]
) -> None:
    await prepare(harness, auto_confirm=True, risk="low")
    made = await harness.create(proposal(*slots), "anonymous")
    assert made.status_code == 201, made.text
    assert (await harness.stored(f"Appointment/{made.json()['id']}"))["status"] == "booked"


@pytest.mark.parametrize("caller", ["anonymous", "sam"])
async def test_limit_of_a_day_counts_on_each_day_that_is_taken(harness: Harness, caller: str) -> None:
    """The last day of several is as full as the first, for who comes, and by who is there."""
    await prepare(harness, daily_limit=1)
    late = 2 * DAY + 14 * HOUR  # 23:00 on the clinic's calendar; tests begin at 9:00
    await harness.seed(
        harness.slot("evening", late, minutes=60),
        harness.slot("morning", late + HOUR, minutes=60),
        harness.slot("noon", late + 12 * HOUR),
    )

    async def take(*slots: str) -> int:
        staff = appointment("x", "booked", "anna", *slots)
        del staff["id"]
        made = await harness.create(proposal(*slots) if caller == "anonymous" else staff, caller)
        return made.status_code

    first = appointment("x", "booked", "ben", "noon")
    del first["id"]
    stored = await harness.create(first, "sam")
    assert await take("morning") == 409
    assert await take("evening", "morning") == 409
    cancelled = stored.json() | {"status": "cancelled", "cancelationReason": {"text": "ill"}}
    assert (await harness.put(cancelled, "sam")).status_code == 200
    both = appointment("x", "booked", "ben", "evening", "morning")
    del both["id"]
    assert (await harness.create(both, "sam")).status_code == 201
    assert await take("noon") == 409
    assert await take("0") == 409


@pytest.mark.requirement("R-10.2")
@pytest.mark.parametrize("closed", ["Schedule/lee", "HealthcareService/care"])
async def test_outsider_takes_nothing_of_an_inactive_schedule_or_service(harness: Harness, closed: str) -> None:
    await prepare(harness, auto_confirm=True, risk="low")
    offer = await _offer(harness)
    assert offer
    await harness.seed(await harness.stored(closed) | {"active": False})
    refused = await harness.create(proposal("0"), "anonymous")
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.slot[0]"]
    held = {"name": "appointment-reference", "valueReference": {"reference": f"Appointment/{offer}"}}
    answer = await harness.send(
        "POST", "Appointment/$hold", "anna", json_={"resourceType": "Parameters", "parameter": [held]}
    )
    assert answer.json()["total"] == 0, answer.text
    assert not await _offer(harness)
    staff = appointment("x", "booked", "anna", "0")
    del staff["id"]
    assert (await harness.create(staff, "sam")).status_code == 201


async def test_schedule_is_offered_for_the_services_that_are_left(harness: Harness) -> None:
    await prepare(harness)
    await harness.seed(
        service("old") | {"active": False},
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care", "HealthcareService/old"),
    )
    assert await _offer(harness)
    assert (await harness.create(proposal("0"), "anonymous")).status_code == 201


async def _offer(harness: Harness) -> str:
    """The id of the first time of dr-lee that is offered; '' when none is."""
    window = [{"name": "start", "valueDateTime": harness.at(0)}, {"name": "end", "valueDateTime": harness.at(9 * DAY)}]
    lee = {"name": "practitioner", "valueReference": {"reference": "Practitioner/dr-lee"}}
    body = {"resourceType": "Parameters", "parameter": [*window, lee]}
    answer = await harness.send("POST", "Appointment/$find", json_=body)
    assert answer.status_code == 200, answer.text
    return next((str(entry["resource"]["id"]) for entry in answer.json().get("entry", ())), "")
