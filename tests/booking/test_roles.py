"""A PractitionerRole and its Practitioner are one person, and imports take their schedules' actors' time (R-10.6)."""

from typing import Any

import pytest

from fhir_server.audit.command import Command
from seed.write import Item, Writer
from tests.booking.test_find_hold_book import find, offers, ref
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

ROLE = {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "Practitioner/dr-lee"}}


@pytest.fixture
async def two(harness: Harness) -> Harness:
    """dr-lee has a schedule as a role and one as a person; their slots overlap."""
    await harness.seed(
        practitioner("dr-lee"),
        *map(patient, ("anna", "ben")),
        ROLE,
        schedule("as-role", "PractitionerRole/role"),
        schedule("as-person", "Practitioner/dr-lee"),
        harness.slot("r", 2 * DAY, schedule="as-role"),
        harness.slot("p", 2 * DAY + 15 * MINUTE, schedule="as-person"),
        harness.slot("q", 2 * DAY + HOUR, schedule="as-person"),
    )
    return harness


async def _proposed(harness: Harness, slot: str) -> str:
    made = await harness.create(proposal(slot), "anonymous")
    assert made.status_code == 201, made.text
    return f"Appointment/{made.json()['id']}"


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize(("first", "second"), [("r", "p"), ("p", "r")])
async def test_a_role_and_its_practitioner_are_one_person(two: Harness, first: str, second: str) -> None:
    one, other = await _proposed(two, first), await _proposed(two, second)
    assert "contested" in {tag["code"] for tag in (await two.stored(one))["meta"]["tag"]}
    assert (await two.patch(one, to_status("booked"))).status_code == 200
    refused = await two.patch(other, to_status("booked"))
    assert refused.status_code == 409
    assert "Practitioner/dr-lee is already booked" in issue(refused)["diagnostics"]
    free = [each["start"] for each in offers(await find(two, practitioner=ref("Practitioner/dr-lee")))]
    assert free == [two.at(2 * DAY + HOUR)]


@pytest.mark.requirement("R-10.6", "R-4.5")
async def test_the_practitioner_finds_what_is_asked_of_a_role(two: Harness) -> None:
    made = await _proposed(two, "r")
    assert ids(await two.get("Appointment?practitioner=Practitioner/dr-lee&status=proposed", "dr-lee")) == [
        made.partition("/")[2]
    ]


@pytest.mark.requirement("R-10.6")
async def test_a_role_that_takes_part_without_a_slot_is_its_practitioner(two: Harness) -> None:
    times = {"start": two.at(2 * DAY), "end": two.at(2 * DAY + 30 * MINUTE)}
    made = appointment("", "booked", "anna", **times)
    made["participant"].append({"actor": {"reference": "PractitionerRole/role"}, "status": "accepted"})
    del made["id"]
    assert (await two.create(made, "sam")).status_code == 201
    assert (await two.patch(await _proposed(two, "p"), to_status("booked"))).status_code == 409
    assert (await two.patch(await _proposed(two, "q"), to_status("booked"))).status_code == 200


@pytest.mark.requirement("R-10.6")
async def test_a_service_and_a_building_are_shared_and_a_room_is_not(harness: Harness) -> None:
    """HealthcareService and Location: of places, a room or a bed is taken by one appointment at a time."""
    room = {"resourceType": "Location", "status": "active", "physicalType": {"coding": [{"code": "ro"}]}}
    house = {"resourceType": "Location", "status": "active", "physicalType": {"coding": [{"code": "bu"}]}}
    await harness.seed(
        service("care"),
        *map(practitioner, ("dr-lee", "dr-kim")),
        room | {"id": "room"},
        house | {"id": "house"},
        schedule("a", "Practitioner/dr-lee", "HealthcareService/care", "Location/house"),
        schedule("b", "Practitioner/dr-kim", "HealthcareService/care", "Location/house"),
        schedule("c", "Location/room"),
        schedule("d", "Location/room"),
        *(harness.slot(name, 2 * DAY, schedule=name) for name in "abcd"),
    )
    found = [(await harness.patch(await _proposed(harness, name), to_status("booked"))).status_code for name in "abcd"]
    assert found == [200, 200, 200, 409]


async def import_all(harness: Harness, *resources: dict[str, Any]) -> list[str]:
    writer = Writer(
        harness.parts.store, await harness.parts.clinics.get("demo"), Command("import", "somebody", "1"), "import"
    )
    outcome = await writer.write([Item("f", str(n), resource) for n, resource in enumerate(resources)])
    return [each.reason for each in outcome.refused]


@pytest.mark.requirement("R-10.6")
async def test_imported_appointments_take_their_schedules_actors_time(two: Harness) -> None:
    """The participants stay as they came; whose time is taken is noted beside them, and only the server writes it."""
    came = appointment("old", "booked", "anna", "r", start=two.at(2 * DAY), end=two.at(2 * DAY + 30 * MINUTE))
    assert await import_all(two, came) == []
    stored = await two.stored("Appointment/old")
    assert stored["participant"] == came["participant"]
    refused = await two.patch(await _proposed(two, "p"), to_status("booked"))
    assert refused.status_code == 409
    assert "Appointment/old" in issue(refused)["diagnostics"]
    # Another import at the same time is refused too, and so is one that names the role alone.
    other = appointment("new", "booked", "ben", start=two.at(2 * DAY), end=two.at(2 * DAY + HOUR))
    other["participant"].append({"actor": {"reference": "PractitionerRole/role"}, "status": "accepted"})
    assert any("Practitioner/dr-lee is already booked" in reason for reason in await import_all(two, other))
    # A client cannot take the note away.
    await two.put({name: value for name, value in stored.items() if name != "extension"}, "sam")
    assert (await two.patch(await _proposed(two, "p"), to_status("booked"))).status_code == 409
