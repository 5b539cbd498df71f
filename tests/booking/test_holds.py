"""Holds: a proposal keeps its slot for a while, where the clinic's rule says so (booking/holds.py)."""

import pytest

from fhir_server.booking import sweeper
from tests.harness import DAY, HOUR, MINUTE, Harness, issue, practitioner, proposal, schedule, service, to_status

pytestmark = pytest.mark.requirement("R-8.2")


async def _clinic(harness: Harness, **rules: object) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", **{"hold_minutes": 15, **rules}),
        schedule("held", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("1", 2 * DAY, schedule="held"),
        harness.slot("2", 2 * DAY + HOUR, schedule="held"),
    )


async def _status(harness: Harness, slot: str) -> str:
    return str((await harness.stored(f"Slot/{slot}"))["status"])


async def _propose(harness: Harness, slot: str = "1") -> str:
    answer = await harness.create(proposal(slot), "anonymous")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _end_holds(harness: Harness) -> int:
    return await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))


async def test_proposal_holds_its_slot_from_others(harness: Harness) -> None:
    await _clinic(harness)
    await _propose(harness)
    assert await _status(harness, "1") == "busy-tentative"
    refused = await harness.create(proposal("1"), "anonymous")
    assert refused.status_code == 409
    assert issue(refused)["expression"] == ["Appointment.slot[0]"]


async def test_held_proposal_is_confirmed_and_the_hold_is_over(harness: Harness) -> None:
    await _clinic(harness)
    id_ = await _propose(harness)
    answer = await harness.patch(f"Appointment/{id_}", to_status("booked"))
    assert answer.status_code == 200, answer.text
    assert await _status(harness, "1") == "busy"
    harness.clock.advance(HOUR)
    assert await _end_holds(harness) == 0
    assert await _status(harness, "1") == "busy"


async def test_declined_proposal_gives_its_slot_back(harness: Harness) -> None:
    await _clinic(harness)
    id_ = await _propose(harness)
    declined = [*to_status("cancelled"), {"op": "add", "path": "/cancelationReason", "value": {"text": "closed"}}]
    assert (await harness.patch(f"Appointment/{id_}", declined)).status_code == 200
    assert await _status(harness, "1") == "free"


async def test_hold_keeps_everybody_else_out(harness: Harness) -> None:
    """A proposal from before the hold cannot be confirmed while another holds the slot; afterwards it can."""
    await _clinic(harness, hold_minutes=0)
    earlier = await _propose(harness)
    await harness.seed(service("care", hold_minutes=15))
    await _propose(harness)
    assert (await harness.patch(f"Appointment/{earlier}", to_status("booked"))).status_code == 409
    harness.clock.advance(16 * MINUTE)
    assert (await harness.patch(f"Appointment/{earlier}", to_status("booked"))).status_code == 200


async def test_hold_that_has_ended_stands_in_nobodys_way(harness: Harness) -> None:
    await _clinic(harness)
    await _propose(harness)
    harness.clock.advance(15 * MINUTE)
    assert (await harness.create(proposal("1"), "anonymous")).status_code == 201
    assert await _status(harness, "1") == "busy-tentative"


async def test_sweeper_frees_slots_whose_holds_have_ended_and_says_so(harness: Harness) -> None:
    await _clinic(harness)
    await _propose(harness, "1")
    harness.clock.advance(10 * MINUTE)
    await _propose(harness, "2")
    harness.clock.advance(5 * MINUTE)
    assert await _end_holds(harness) == 1
    assert [await _status(harness, slot) for slot in ("1", "2")] == ["free", "busy-tentative"]
    assert await _end_holds(harness) == 0
    last = [event for event in await harness.events() if event.client == "server"]
    assert [(event.action, event.entity, event.before, event.rule) for event in last] == [
        ("U", "Slot/1/_history/3", 2, "R-8.2 hold ended")
    ]


async def test_slot_marked_tentative_by_staff_is_nobodys_hold(harness: Harness) -> None:
    await _clinic(harness)
    await harness.seed(harness.slot("3", 3 * DAY, schedule="held", status="busy-tentative"))
    assert (await harness.create(proposal("3"), "anonymous")).status_code == 409
    assert await _end_holds(harness) == 0
    assert await _status(harness, "3") == "busy-tentative"


async def test_slots_for_several_are_not_held(harness: Harness) -> None:
    await _clinic(harness, capacity=3)
    await _propose(harness)
    assert await _status(harness, "1") == "free"


@pytest.mark.requirement("R-10.6")
async def test_time_that_staff_closed_after_a_proposal_cannot_be_booked(clinic: Harness) -> None:
    """Availability is validated again at the instant of confirmation."""
    await clinic.seed(clinic.slot("1"))
    answer = await clinic.create(proposal("1"), "anonymous")
    await clinic.seed(clinic.slot("1", status="busy"))
    refused = await clinic.patch(f"Appointment/{answer.json()['id']}", to_status("booked"))
    assert refused.status_code == 409
    assert issue(refused)["expression"] == ["Appointment.slot[0]"]


@pytest.mark.requirement("R-10.3")
async def test_booked_appointment_keeps_its_busy_slot_when_it_is_edited(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("1"))
    id_ = (await clinic.create(proposal("1"), "anonymous")).json()["id"]
    assert (await clinic.patch(f"Appointment/{id_}", to_status("booked"))).status_code == 200
    comment = [{"op": "add", "path": "/comment", "value": "brings a friend"}]
    assert (await clinic.patch(f"Appointment/{id_}", comment)).status_code == 200
    assert (await clinic.stored("Slot/1"))["status"] == "busy"
