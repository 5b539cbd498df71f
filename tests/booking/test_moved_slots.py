"""A slot keeps its time while somebody wants or holds it, and what is booked is at the time of its slots."""

from typing import Any

import pytest

from fhir_server.booking import sweeper
from fhir_server.fhir import json
from fhir_server.interactions.access import Access
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Unit
from tests.harness import DAY, HOUR, MINUTE, Harness, appointment, issue, proposal, to_status

pytestmark = pytest.mark.requirement("R-8.2", "R-10.6")


async def _propose(harness: Harness, slot: str = "s") -> str:
    answer = await harness.create(proposal(slot), "anonymous")
    assert answer.status_code == 201, answer.text
    return f"Appointment/{answer.json()['id']}"


def _moved(harness: Harness) -> dict[str, str]:
    return {"start": harness.at(3 * DAY), "end": harness.at(3 * DAY + 30 * MINUTE)}


async def _move_past_the_rules(harness: Harness) -> None:
    """As an older server let it be moved under an open proposal."""
    clinic = await harness.parts.clinics.get("demo")

    async def work(unit: Unit) -> None:
        stored = await unit.read("Slot", "s")
        assert stored is not None
        assert stored.body is not None
        repository = Repository(unit, clinic, Access(sweeper.AGENT))
        await repository.put(stored, json.parse(stored.body) | _moved(harness), rule="test")

    await harness.run(work, write=True)


@pytest.mark.parametrize("status", ["proposed", "pending", "waitlist"])
async def test_a_slot_that_an_open_proposal_wants_keeps_its_time(clinic: Harness, status: str) -> None:
    await clinic.seed(clinic.slot("s"))
    path = await _propose(clinic)
    if status != "proposed":
        assert (await clinic.patch(path, to_status(status), "sam")).status_code == 200
    there = await clinic.stored("Slot/s")
    for change in (_moved(clinic), {"schedule": {"reference": "Schedule/kim"}}):
        refused = await clinic.put(there | change, "dr-lee")
        assert refused.status_code == 409, refused.text
    assert await clinic.stored("Slot/s") == there
    assert (await clinic.put(there | {"comment": "by the stairs"}, "dr-lee")).status_code == 200
    # It can be closed; and moved once nobody wants it.
    assert (await clinic.patch("Slot/s", to_status("busy-unavailable"))).status_code == 200
    assert (await clinic.patch(path, to_status("cancelled"), "sam")).status_code == 200
    closed = await clinic.stored("Slot/s")
    assert (await clinic.put(closed | _moved(clinic), "dr-lee")).status_code == 200


async def test_a_slot_that_is_offered_is_closed_and_not_moved(clinic: Harness) -> None:
    """Whoever accepts a time is not booked at another."""
    await clinic.seed(clinic.slot("s", 2 * DAY), clinic.slot("other", 2 * DAY + HOUR))
    path = await _propose(clinic, "other")
    there = await clinic.stored("Slot/s")
    answer: dict[str, Any] = {"resourceType": "AppointmentResponse", "appointment": {"reference": path}}
    answer |= {"actor": {"reference": "Practitioner/dr-lee"}, "participantStatus": "tentative"}
    offered = await clinic.create(answer | {name: there[name] for name in ("start", "end")}, "dr-lee")
    assert offered.status_code == 201, offered.text
    held = await clinic.stored("Slot/s")
    closed = {"status": "busy-unavailable"}
    assert (await clinic.put(held | _moved(clinic) | closed, "dr-lee")).status_code == 409
    assert (await clinic.put(held | closed, "dr-lee")).status_code == 200


@pytest.mark.parametrize("status", ["proposed", "pending", "waitlist"])
async def test_what_is_confirmed_spans_its_slots(clinic: Harness, status: str) -> None:
    await clinic.seed(clinic.slot("s"))
    path = await _propose(clinic)
    if status != "proposed":
        assert (await clinic.patch(path, to_status(status), "sam")).status_code == 200
    await _move_past_the_rules(clinic)
    refused = await clinic.patch(path, to_status("booked"), "sam")
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.start"]
    assert (await clinic.stored("Slot/s"))["status"] == "free"
    # Staff who give it the slot's time book it.
    operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in _moved(clinic).items()]
    booked = await clinic.patch(path, [*operations, *to_status("booked")], "sam")
    assert booked.status_code == 200, booked.text
    other = appointment("", "booked", "ben", **_moved(clinic))
    del other["id"]
    other["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    assert (await clinic.create(other, "sam")).status_code == 409
