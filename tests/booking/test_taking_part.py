"""Whose time an appointment takes, whatever is said of who takes part, and who may say so (R-10.6)."""

from typing import Any

import httpx
import pytest

from tests.booking.test_find_hold_book import book, find, hold, offers, only_outcome, ref
from tests.booking.test_roles import import_all
from tests.harness import (
    DAY,
    MINUTE,
    Harness,
    appointment,
    issue,
    proposal,
    schedule,
    service,
    to_status,
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


# Who says that somebody takes part


async def statuses(harness: Harness, path: str) -> dict[str, str]:
    """Who takes part in an appointment, with what is said of them; patients left out."""
    parts = (await harness.stored(path))["participant"]
    return {p["actor"]["reference"]: p["status"] for p in parts if "Patient/" not in p["actor"]["reference"]}


@pytest.fixture
async def two(clinic: Harness) -> Harness:
    """dr-lee has two schedules whose slots are at one time; the one of `q` is booked by the clinic's rule."""
    await clinic.seed(
        service("quick", auto_confirm=True, risk="low"),
        schedule("quick", "Practitioner/dr-kim", "HealthcareService/quick"),
        schedule("lee-too", "Practitioner/dr-lee"),
        clinic.slot("a"),
        clinic.slot("b", schedule="lee-too"),
        clinic.slot("k", schedule="kim"),
        clinic.slot("q", schedule="quick"),
    )
    return clinic


@pytest.mark.requirement("R-10.1", "R-10.6")
@pytest.mark.parametrize("status", ["declined", "accepted", "tentative"])
@pytest.mark.parametrize("caller", ["anonymous", "website", "anna", "backend"])
async def test_nobody_from_outside_answers_for_a_provider(two: Harness, caller: str, status: str) -> None:
    """Whatever a proposal says of the schedule's practitioner, they have not answered, and their time is taken."""
    own_person = caller in ("anonymous", "website")
    made = proposal("a") if own_person else appointment("", "proposed", "anna", "a")
    made["participant"].append(part("http://fhir.test/demo/fhir/Practitioner/dr-lee", status))
    made.pop("id", None)
    answer = await two.create(made, caller)
    assert answer.status_code == 201, answer.text
    path = f"Appointment/{answer.json()['id']}"
    assert await statuses(two, path) == {"Practitioner/dr-lee": "needs-action"}
    assert (await two.patch(path, to_status("booked"), "sam")).status_code == 200
    assert await statuses(two, path) == {"Practitioner/dr-lee": "accepted"}
    assert (await booked(two, "ben", "b")).status_code == 409


@pytest.mark.requirement("R-10.2", "R-10.6")
async def test_what_the_rule_books_takes_its_practitioner_whom_an_outsider_declines(two: Harness) -> None:
    made = proposal("q")
    made["participant"].append(part("Practitioner/dr-kim", "declined"))
    assert (await two.create(made, "anonymous")).json()["status"] == "booked"
    assert (await booked(two, "ben", "k")).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_a_patient_who_proposes_takes_part(two: Harness) -> None:
    made = appointment("", "proposed", "anna", "q")
    made["participant"][0]["status"] = "declined"
    del made["id"]
    answer = await two.create(made, "anna")
    assert answer.status_code == 201, answer.text
    assert (await booked(two, "anna", "a")).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_a_schedules_actor_who_declined_is_not_booked(two: Harness) -> None:
    """By no way of writing; and dr-lee's time stays taken by what is booked."""
    refused = await booked(two, "anna", "a", parts=(part("Practitioner/dr-lee", "declined"),))
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.participant[1].status"]
    answer = await booked(two, "anna", "a")
    path = f"Appointment/{answer.json()['id']}"
    declined = [{"op": "replace", "path": "/participant/1/status", "value": "declined"}]
    refused = await two.patch(path, declined, "sam")
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.participant[1].status"]
    assert (await booked(two, "ben", "b")).status_code == 409
    # A booking that moves to somebody who declined the old time as a guest is asked about too.
    guest = answer.json() | {"participant": [*answer.json()["participant"], part("Practitioner/dr-kim", "declined")]}
    assert (await two.put(guest, "sam")).status_code == 200
    move = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/k"}]
    assert (await two.patch(path, move, "sam")).status_code == 422


@pytest.mark.requirement("R-10.6")
async def test_a_proposal_whose_practitioner_declined_is_confirmed_once_they_take_part(two: Harness) -> None:
    """Staff may note that dr-lee declined, and move the proposal; at the new time they are asked anew."""
    path = f"Appointment/{(await two.create(proposal('a'), 'anonymous')).json()['id']}"
    declined = [{"op": "replace", "path": "/participant/1/status", "value": "declined"}]
    assert (await two.patch(path, declined, "dr-lee")).status_code == 200
    assert (await two.patch(path, to_status("booked"), "sam")).status_code == 422
    move = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/b"}]
    assert (await two.patch(path, move, "sam")).status_code == 200
    assert await statuses(two, path) == {"Practitioner/dr-lee": "needs-action"}
    assert (await two.patch(path, to_status("booked"), "sam")).status_code == 200
    assert (await booked(two, "ben", "a")).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_a_guest_may_decline_and_a_provider_the_whole(two: Harness) -> None:
    """Whoever is no schedule's actor is invited: declined, their time is theirs."""
    optional = part("Practitioner/dr-kim", "declined") | {"required": "optional"}
    answer = await booked(two, "anna", "a", parts=(optional,))
    assert answer.status_code == 201, answer.text
    path = f"Appointment/{answer.json()['id']}"
    assert await statuses(two, path) == {"Practitioner/dr-kim": "declined", "Practitioner/dr-lee": "accepted"}
    assert (await booked(two, "ben", "k")).status_code == 201
    asked = await two.create(proposal("b"), "anonymous")
    path = f"Appointment/{asked.json()['id']}"
    assert (await two.patch(path, to_status("cancelled"), "dr-lee")).status_code == 200
    assert await statuses(two, path) == {"Practitioner/dr-lee": "declined"}


@pytest.mark.requirement("R-10.6")
async def test_an_import_takes_its_practitioner_who_stands_there_as_declined(two: Harness) -> None:
    """What was booked elsewhere stays as it came; the time of its schedule's actor is noted as taken all the same."""
    span = {"start": two.at(2 * DAY), "end": two.at(2 * DAY + 30 * MINUTE)}
    came = appointment("old", "booked", "anna", "a", **span)
    came["participant"].append(part("Practitioner/dr-lee", "declined"))
    assert await import_all(two, came) == []
    assert (await two.stored("Appointment/old"))["participant"] == came["participant"]
    assert (await booked(two, "ben", "b")).status_code == 409


# What is held


async def held(harness: Harness, slot: str, caller: str) -> dict[str, Any]:
    """The reference to a time that a caller holds, as `$book` takes it."""
    found = {each["slot"][0]["reference"]: each["id"] for each in offers(await find(harness)) if len(each["slot"]) == 1}
    answer = await hold(harness, found[f"Slot/{slot}"], caller)
    assert answer.status_code == 200, answer.text
    return ref(f"Appointment/{answer.json()['entry'][0]['resource']['id']}")


def of_a_held(patient: str, *parts: dict[str, Any]) -> dict[str, Any]:
    made = appointment("", "pending", patient)
    made["participant"].extend(parts)
    del made["id"]
    return {"resource": made}


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize("base", ["", "http://fhir.test/demo/fhir/"])
async def test_what_is_held_is_booked_by_the_rules_of_every_booking(two: Harness, base: str) -> None:
    """A role that comes to a held time is its practitioner, by whatever name it is called."""
    await two.seed(ROLE)
    role, time = part(f"{base}PractitionerRole/role"), await held(two, "k", "sam")
    assert (await booked(two, "ben", "a")).status_code == 201
    refused = await book(two, "sam", appointment_reference=time, appointment_resource=of_a_held("anna", role))
    assert "Practitioner/dr-lee is already booked" in only_outcome(refused)["diagnostics"]
    declined = part(f"{base}Practitioner/dr-kim", "declined")
    answer = await book(two, "sam", appointment_reference=time, appointment_resource=of_a_held("anna", declined))
    assert offers(answer)[0]["status"] == "booked"
    assert (await booked(two, "ben", "q")).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_a_held_time_that_is_over_is_not_booked(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("soon", MINUTE, 3))
    time = await held(clinic, "soon", "sam")
    clinic.clock.advance(5 * MINUTE)
    refused = await book(clinic, "sam", appointment_reference=time, appointment_resource=of_a_held("anna"))
    assert only_outcome(refused)["expression"] == ["Appointment.start"]


# Whom somebody from outside names


@pytest.mark.requirement("R-10.1", "R-10.2")
@pytest.mark.parametrize(
    "actor",
    [
        {"reference": "Practitioner/dr-lee"},
        {"reference": "http://fhir.test/demo/fhir/Practitioner/dr-lee/_history/1"},
        {"reference": "Practitioner/dr-lee", "type": "Patient"},
        {"reference": "PractitionerRole/role"},
        {"reference": "Location/room"},
        {"reference": "Device/scanner"},
        {"reference": "https://other.example/Practitioner/1"},
    ],
)
@pytest.mark.parametrize("caller", ["anonymous", "website", "anna", "backend"])
async def test_nobody_from_outside_takes_anybody_elses_time(two: Harness, caller: str, actor: dict[str, str]) -> None:
    """Whom the slot's schedule does not bring is not named, the rule that books by itself included."""
    device = {"resourceType": "Device", "id": "scanner"}
    await two.seed(ROLE, ROOM, device)
    before = await two.versions()
    made = proposal("q") if caller in ("anonymous", "website") else appointment("", "proposed", "anna", "q")
    made["participant"].append({"actor": actor, "status": "accepted"})
    made.pop("id", None)
    refused = await two.create(made, caller)
    assert refused.status_code == 422, refused.text
    assert issue(refused)["expression"] == ["Appointment.participant[1]"]
    assert await two.versions() == before
    assert (await booked(two, "ben", "a")).status_code == 201


@pytest.mark.requirement("R-10.1")
async def test_a_patient_who_books_a_held_time_takes_nobody_elses(two: Harness) -> None:
    time, lee = await held(two, "q", "anna"), part("Practitioner/dr-lee")
    refused = await book(two, "anna", appointment_reference=time, appointment_resource=of_a_held("anna", lee))
    assert "Practitioner/dr-lee" in only_outcome(refused)["diagnostics"]
    kim = part("Practitioner/dr-kim", "declined")
    answer = await book(two, "anna", appointment_reference=time, appointment_resource=of_a_held("anna", kim))
    assert offers(answer)[0]["status"] == "booked"
    assert (await booked(two, "ben", "k")).status_code == 409


@pytest.mark.requirement("R-10.1")
async def test_a_proposal_names_whom_its_slot_brings_and_staff_name_others(two: Harness) -> None:
    made = proposal("q")
    interpreter = {"type": [{"text": "interpreter"}], "actor": {"display": "an interpreter"}, "status": "needs-action"}
    made["participant"] += [part("Practitioner/dr-kim"), part("HealthcareService/quick"), interpreter]
    assert (await two.create(made, "anonymous")).status_code == 201
    made = appointment("", "proposed", "ben", "a")
    made["participant"].append(part("Practitioner/dr-kim"))
    del made["id"]
    assert (await two.create(made, "sam")).status_code == 201
