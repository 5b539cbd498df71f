"""A slot's status is in line with the appointments that take it, and what a provider closed stays closed (R-8.2)."""

from typing import Any

import httpx
import pytest

from fhir_server.booking import sweeper
from tests.harness import (
    DAY,
    HOUR,
    Harness,
    appointment,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

pytestmark = pytest.mark.requirement("R-8.2")


async def prepare(harness: Harness, **rules: Any) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        practitioner("dr-kim"),
        patient("anna"),
        patient("ben"),
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("a"),
        harness.slot("b", 3 * DAY),
    )


async def book(harness: Harness, who: str = "anna", slot: str = "a") -> httpx.Response:
    made = appointment("x", "booked", who, slot)
    del made["id"]
    return await harness.create(made, "sam")


async def mark(harness: Harness, status: str, slot: str = "a") -> httpx.Response:
    return await harness.patch(f"Slot/{slot}", to_status(status), "dr-lee")


async def status(harness: Harness, slot: str = "a") -> str:
    return str((await harness.stored(f"Slot/{slot}"))["status"])


async def of_range(harness: Harness, name: str) -> int:
    given = [
        {"name": "schedule", "valueReference": {"reference": "Schedule/lee"}},
        {"name": "start", "valueDateTime": harness.at(0)},
        {"name": "end", "valueDateTime": harness.at(9 * DAY)},
    ]
    body = {"resourceType": "Parameters", "parameter": given}
    answer = await harness.send("POST", f"Schedule/${name}", "dr-lee", json_=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["parameter"][0]["valueInteger"])


@pytest.mark.requirement("R-7.15", "R-10.6")
async def test_reopening_frees_nothing_that_was_booked_since(harness: Harness) -> None:
    await prepare(harness)
    assert await of_range(harness, "close") == 2
    assert (await mark(harness, "free")).status_code == 200
    assert (await book(harness)).status_code == 201
    assert await of_range(harness, "reopen") == 1
    assert (await status(harness), await status(harness, "b")) == ("busy", "free")


@pytest.mark.requirement("R-7.15")
async def test_reopening_leaves_what_was_marked_by_hand_since(harness: Harness) -> None:
    await prepare(harness)
    await of_range(harness, "close")
    for by_hand in ("free", "busy-unavailable"):
        assert (await mark(harness, by_hand)).status_code == 200
    assert await of_range(harness, "reopen") == 1
    assert await status(harness) == "busy-unavailable"


@pytest.mark.requirement("R-7.15")
async def test_reopened_slot_that_an_override_has_taken_is_busy(harness: Harness) -> None:
    await prepare(harness, override=True)
    await of_range(harness, "close")
    reason = [{"url": "https://fhir-server.dev/StructureDefinition/conflict-override", "valueString": "an emergency"}]
    made = appointment("x", "booked", "anna", "a", extension=reason)
    del made["id"]
    answer = await harness.create(made, "dr-lee")
    assert answer.status_code == 201, answer.text
    assert await of_range(harness, "reopen") == 2
    assert await status(harness) == "busy"


@pytest.mark.requirement("R-10.5")
async def test_slot_that_was_marked_busy_by_hand_stays_so_when_a_proposal_ends(harness: Harness) -> None:
    await prepare(harness, proposal_expiry_hours=1)
    first, second = [(await harness.create(proposal("a"), "anonymous")).json()["id"] for _ in range(2)]
    assert (await mark(harness, "busy")).status_code == 200
    assert (await harness.patch(f"Appointment/{first}", to_status("cancelled"))).status_code == 200
    assert await status(harness) == "busy"
    harness.clock.advance(HOUR)
    await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))
    assert (await harness.stored(f"Appointment/{second}"))["status"] == "cancelled"
    assert await status(harness) == "busy"


async def test_slot_that_was_taken_is_free_when_its_appointment_ends_or_moves(harness: Harness) -> None:
    await prepare(harness)
    booked = (await book(harness)).json()["id"]
    to_b = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/b"}]
    assert (await harness.patch(f"Appointment/{booked}", to_b)).status_code == 200
    assert (await status(harness), await status(harness, "b")) == ("free", "busy")
    assert (await harness.patch(f"Appointment/{booked}", to_status("cancelled"))).status_code == 200
    assert await status(harness, "b") == "free"


@pytest.mark.requirement("R-5.1")
async def test_slots_follow_the_capacity_of_their_service(harness: Harness) -> None:
    await prepare(harness)
    assert (await book(harness)).status_code == 201
    assert (await mark(harness, "busy", "b")).status_code == 200
    await harness.seed(service("care", capacity=2))
    assert (await status(harness), await status(harness, "b")) == ("free", "busy")
    second = await book(harness, "ben")
    assert second.status_code == 201, second.text
    assert await status(harness) == "busy"
    await harness.seed(service("care", capacity=3))
    assert await status(harness) == "free"
    await harness.seed(service("care"))
    assert await status(harness) == "busy"
    assert (await harness.patch(f"Appointment/{second.json()['id']}", to_status("cancelled"))).status_code == 200
    assert await status(harness) == "busy"


async def test_slot_with_a_place_left_is_set_free_by_hand(harness: Harness) -> None:
    """A schedule that comes to another service does not change its slots; whoever owns them can."""
    await prepare(harness)
    assert (await book(harness)).status_code == 201
    assert (await mark(harness, "free")).status_code == 409
    await harness.seed(service("group", capacity=2), schedule("lee", "Practitioner/dr-lee", "HealthcareService/group"))
    assert await status(harness) == "busy"
    moved = await harness.stored("Slot/a") | {"status": "free", "end": harness.at(2 * DAY + HOUR)}
    assert (await harness.put(moved, "dr-lee")).status_code == 409
    assert (await mark(harness, "free")).status_code == 200
    assert (await book(harness, "ben")).status_code == 201
    assert await status(harness) == "busy"
