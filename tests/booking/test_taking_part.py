"""Whose time an appointment takes, whatever is said of who takes part, and who may say so (R-10.6)."""

from typing import Any

import httpx
import pytest

from tests.harness import (
    DAY,
    MINUTE,
    Harness,
    appointment,
    issue,
    schedule,
    service,
)

ROLE = {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "Practitioner/dr-lee"}}
ROOM = {"resourceType": "Location", "id": "room", "physicalType": {"coding": [{"code": "ro"}]}}


def part(reference: str, status: str = "accepted") -> dict[str, Any]:
    return {"actor": {"reference": reference}, "status": status}


async def booked(harness: Harness, patient: str, *slots: str, parts: tuple[dict[str, Any], ...] = ()) -> httpx.Response:
    """What the front desk books."""
    made = appointment("", "booked", patient, *slots)
    made["participant"].extend(parts)
    del made["id"]
    return await harness.create(made, "sam")


# A slot that several share


@pytest.fixture
async def group(clinic: Harness) -> Harness:
    """dr-kim's group takes three; dr-lee has two schedules, as a person and as a role, and so has the room."""
    at_once, after = 2 * DAY, 2 * DAY + 30 * MINUTE
    await clinic.seed(
        ROLE,
        ROOM,
        service("group", capacity=3),
        schedule("g", "http://fhir.test/demo/fhir/Practitioner/dr-kim", "HealthcareService/group"),
        schedule("lee-too", "PractitionerRole/role"),
        schedule("room", "Location/room"),
        schedule("room-too", "Location/room"),
        clinic.slot("g1", at_once, schedule="g"),
        clinic.slot("l1", at_once),
        clinic.slot("l2", at_once, schedule="lee-too"),
        clinic.slot("r1", at_once, schedule="room"),
        clinic.slot("r2", at_once, schedule="room-too"),
        clinic.slot("g2", after, schedule="g"),
        clinic.slot("k2", after, schedule="kim"),
    )
    return clinic


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize(
    ("first", "second", "who"),
    [
        (("g1", "l1"), ("g1", "l2"), "Practitioner/dr-lee"),
        (("g1", "l2"), ("g1", "l1"), "Practitioner/dr-lee"),
        (("g1", "r1"), ("g1", "r2"), "Location/room"),
        (("g1", "g2"), ("g1", "k2"), "Practitioner/dr-kim"),
        (("g1", "k2"), ("g1", "g2"), "Practitioner/dr-kim"),
    ],
)
async def test_who_shares_a_slot_shares_only_whom_it_brings(
    group: Harness, first: tuple[str, ...], second: tuple[str, ...], who: str
) -> None:
    """Two who share dr-kim's group are not with dr-lee, or in a room, at once; nor with dr-kim after it."""
    assert (await booked(group, "anna", *first)).status_code == 201
    refused = await booked(group, "ben", *second)
    assert refused.status_code == 409
    assert f"{who} is already booked" in issue(refused)["diagnostics"]


@pytest.mark.requirement("R-10.6")
async def test_a_third_person_beside_a_shared_slot_is_not_shared(group: Harness) -> None:
    assert (await booked(group, "anna", "g1", parts=(part("Practitioner/dr-lee"),))).status_code == 201
    refused = await booked(group, "ben", "g1", parts=(part("Practitioner/dr-lee"),))
    assert refused.status_code == 409
    assert "Practitioner/dr-lee is already booked" in issue(refused)["diagnostics"]


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("g1",), ("g1",)),
        (("g1", "g2"), ("g1", "g2")),
        (("g1", "l1"), ("g1",)),
        (("g1",), ("g1", "l2")),
        (("g1", "k2"), ("g1",)),
        (("g1",), ("g1", "k2")),
    ],
)
async def test_a_group_is_still_shared(group: Harness, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Whoever is in a group with others may have the time beside it and after it for themselves."""
    assert (await booked(group, "anna", *first)).status_code == 201
    assert (await booked(group, "ben", *second)).status_code == 201


@pytest.mark.requirement("R-10.5")
async def test_proposals_that_share_a_group_and_want_one_provider_beside_it_are_contested(group: Harness) -> None:
    paths = []
    for who, slot in (("anna", "l1"), ("ben", "l2")):
        made = appointment("", "proposed", who, "g1", slot)
        del made["id"]
        answer = await group.create(made, "sam")
        assert answer.status_code == 201, answer.text
        paths.append(f"Appointment/{answer.json()['id']}")
    for path in paths:
        assert "contested" in {tag["code"] for tag in (await group.stored(path))["meta"]["tag"]}
