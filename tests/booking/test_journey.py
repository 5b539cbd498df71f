"""The journey of one booking: slot search, proposal, review, confirmation, who sees what (issue 2, "The booking")."""

import pytest

from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    ids,
    issue,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

_PROPOSED = {"resourceType", "id", "meta", "status", "start", "end", "slot", "serviceType"}


async def _propose(clinic: Harness, slot: str = "s", caller: str = "anonymous") -> str:
    answer = await clinic.create(proposal(slot), caller)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _slot_status(clinic: Harness, slot: str = "s") -> str:
    return str((await clinic.stored(f"Slot/{slot}"))["status"])


@pytest.fixture
async def slot(clinic: Harness) -> Harness:
    """A clinic with a slot of dr-lee, in two days."""
    await clinic.seed(clinic.slot("s"))
    return clinic


@pytest.mark.requirement("R-4.1", "R-4.2", "R-4.3", "R-4.4", "R-4.5", "R-4.6", "R-8.1", "R-8.2", "R-8.3", "R-5.1")
async def test_the_whole_journey(slot: Harness) -> None:
    clinic = slot
    # Anybody finds a free time.
    free = await clinic.get(f"Slot?status=free&start=ge{clinic.at(0)}&_sort=start")
    assert ids(free) == ["s"]
    # And proposes; the answer says no more than id, status and times.
    answer = await clinic.create(proposal("s"), "anonymous")
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) <= _PROPOSED
    assert (made["status"], made["start"], made["end"]) == (
        "proposed",
        clinic.at(2 * DAY),
        clinic.at(2 * DAY + 30 * MINUTE),
    )
    path = f"Appointment/{made['id']}"
    assert answer.headers["location"].endswith(f"/demo/fhir/{path}/_history/1")
    # A provisional Patient stands for the new person.
    stored = await clinic.stored(path)
    patient = stored["participant"][0]["actor"]["reference"]
    person = await clinic.stored(patient)
    assert person["name"] == [{"family": "New"}]
    assert {tag["code"] for tag in person["meta"]["tag"]} == {"provisional", "anonymous"}
    assert stored["participant"][1] == {
        "actor": {"reference": "Practitioner/dr-lee"}, "required": "required", "status": "needs-action",
    }  # fmt: skip
    assert "contained" not in stored
    assert await _slot_status(clinic) == "free"
    # Staff review and confirm; slot and appointment change together.
    reviewed = await clinic.patch(path, to_status("pending"), "sam")
    assert reviewed.status_code == 200, reviewed.text
    confirmed = await clinic.patch(path, to_status("booked"), "dr-lee")
    assert confirmed.status_code == 200
    assert {p["status"] for p in confirmed.json()["participant"]} == {"accepted"}
    assert confirmed.json()["id"] == made["id"]
    assert await _slot_status(clinic) == "busy"
    assert ids(await clinic.get("Slot?status=free")) == []
    # The website builder does not see an appointment.
    assert (await clinic.get(path)).status_code == 403
    assert (await clinic.get(path, "website")).status_code in (403, 404)
    # At the visit.
    for status in ("arrived", "checked-in", "fulfilled"):
        assert (await clinic.patch(path, to_status(status), "dr-lee")).status_code == 200
    history = (await clinic.get(f"{path}/_history", "admin")).json()
    assert [entry["resource"]["status"] for entry in history["entry"]] == [
        "fulfilled", "checked-in", "arrived", "booked", "pending", "proposed",
    ]  # fmt: skip


@pytest.mark.requirement("R-4.3", "R-4.6", "R-7.2", "R-7.5", "R-8.3")
async def test_a_signed_in_patient_proposes_for_themselves(slot: Harness) -> None:
    """R-4.3: tied to the existing Patient, nobody new is made; the patient sees it, another does not."""
    wanted = proposal("s")
    del wanted["contained"]
    wanted["participant"] = []
    del wanted["participant"]
    answer = await slot.create(wanted, "anna-on-website")
    assert answer.status_code in (201, 422), answer.text
    wanted["participant"] = [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]
    answer = await slot.create(wanted, "anna-on-website")
    assert answer.status_code == 201, answer.text
    path = f"Appointment/{answer.json()['id']}"
    assert (await slot.get("Patient?_tag=provisional", "admin")).json()["total"] == 0
    assert (await slot.patch(path, to_status("booked"), "dr-lee")).status_code == 200
    assert (await slot.get(path, "anna")).json()["status"] == "booked"
    assert ids(await slot.get("Appointment?status=booked", "anna")) == [path.partition("/")[2]]
    assert (await slot.get(path, "ben")).status_code == 404
    assert ids(await slot.get("Appointment", "ben")) == []


@pytest.mark.parametrize("patient", ["Patient/ben", "http://fhir.test/demo/fhir/Patient/ben", "Patient/ben/_history/1"])
async def test_a_patient_proposes_for_nobody_else(slot: Harness, patient: str) -> None:
    wanted = proposal("s", participant=[{"actor": {"reference": patient}, "status": "accepted"}])
    del wanted["contained"]
    for caller in ("anna", "anna-on-website"):
        assert (await slot.create(wanted, caller)).status_code == 403
        assert (await slot.create(proposal("s"), caller)).status_code == 403
    assert ids(await slot.get("Appointment", "admin")) == []


_PERSON = {"resourceType": "Patient", "id": "p", "name": [{"family": "New"}], "telecom": [{"value": "1"}]}


@pytest.mark.parametrize(
    ("change", "status", "at"),
    [
        ({"status": "booked"}, 403, "Appointment.status"),
        ({"status": "pending"}, 403, "Appointment.status"),
        ({"status": "arrived"}, 422, "Appointment.status"),
        ({"slot": [{"reference": "Slot/nothing"}]}, 422, "Appointment.slot[0]"),
        ({"slot": [{"display": "the green one"}]}, 422, "Appointment.slot[0]"),
        ({"slot": [{"reference": "Schedule/lee"}]}, 422, "Appointment.slot[0].reference"),
        ({"slot": None}, 422, "Appointment.slot"),
        ({"contained": None}, 422, "Appointment.participant[0].actor.reference"),
        ({"contained": None, "participant": [{"actor": {"display": "me"}, "status": "accepted"}]}, 422,
         "Appointment.contained"),
        ({"contained": [_PERSON, _PERSON | {"id": "q"}]}, 422, "Appointment.contained"),
        ({"contained": [{"resourceType": "Practitioner", "id": "p"}]}, 422, "Appointment.contained"),
        ({"contained": [_PERSON | {"name": None}]}, 422, "Patient.name"),
        ({"contained": [_PERSON | {"telecom": None}]}, 422, "Patient.telecom"),
        ({"contained": [_PERSON | {"identifier": [{"value": "1"}]}]}, 422, "Patient.identifier"),
        ({"contained": [_PERSON | {"active": True}]}, 422, "Patient.active"),
        ({"contained": [_PERSON | {"generalPractitioner": [{"reference": "Practitioner/dr-lee"}]}]}, 422,
         "Patient.generalPractitioner"),
        ({"participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}, 422,
         "Appointment.participant"),
        ({"participant": [{"actor": {"reference": "#p"}, "status": "accepted"},
                          {"actor": {"type": "Patient", "display": "x"}, "status": "accepted"}]}, 422,
         "Appointment.participant"),
        ({"start": "2030-01-01T10:00:00Z", "end": "2030-01-01T10:30:00Z"}, 422, "Appointment.start"),
        ({"patientInstruction": "be rich"}, 422, "Appointment.patientInstruction"),
        ({"priority": 1}, 422, "Appointment.priority"),
        ({"extension": [{"url": "urn:x", "valueString": "y"}]}, 422, "Appointment.extension"),
        ({"supportingInformation": [{"reference": "Patient/anna"}]}, 422, "Appointment.supportingInformation"),
        ({"serviceType": [{"coding": [{"system": "urn:s", "code": "other"}]}]}, 422, "Appointment.serviceType"),
    ],
)  # fmt: skip
@pytest.mark.requirement("R-7.19", "R-8.1", "R-10.10")
async def test_a_proposal_that_is_none_is_refused(
    clinic: Harness, change: dict[str, object], status: int, at: str
) -> None:
    """R-7.19: proposals only; R-8.1: an error and nothing stored."""
    await clinic.seed(clinic.slot("s", serviceType=[{"coding": [{"system": "urn:s", "code": "care"}]}]))
    before = await clinic.versions()
    wanted = {name: value for name, value in (proposal("s") | change).items() if value is not None}
    for person in wanted.get("contained", ()):
        for name in [name for name, value in person.items() if value is None]:
            person = {key: value for key, value in person.items() if key != name}
            wanted["contained"] = [person]
    for caller in ("anonymous", "website"):
        answer = await clinic.create(wanted, caller)
        assert answer.status_code == status, answer.text
        assert issue(answer)["expression"] == [at]
    assert await clinic.versions() == before


@pytest.mark.parametrize("status", ["busy", "busy-unavailable", "busy-tentative", "entered-in-error"])
async def test_a_slot_that_is_not_free_is_not_proposed(clinic: Harness, status: str) -> None:
    await clinic.seed(clinic.slot("s", status=status))
    answer = await clinic.create(proposal("s"), "anonymous")
    assert answer.status_code == 409
    assert issue(answer)["expression"] == ["Appointment.slot[0]"]


@pytest.mark.parametrize(
    ("start", "status"),
    [(2 * HOUR, 201), (2 * HOUR - MINUTE, 422), (-HOUR, 422), (30 * DAY, 201), (30 * DAY + MINUTE, 422)],
)
async def test_neither_too_soon_nor_too_far(harness: Harness, start: int, status: int) -> None:
    await harness.seed(
        service("care", minimum_notice_minutes=120, furthest_advance_days=30),
        schedule("lee", "HealthcareService/care"),
        harness.slot("s", start),
    )
    assert (await harness.create(proposal("s"), "anonymous")).status_code == status


@pytest.mark.requirement("R-10.5", "R-10.6")
async def test_second_confirmation_is_a_conflict_that_is_told_and_not_resolved(slot: Harness) -> None:
    first, second = await _propose(slot), await _propose(slot)
    assert (await slot.patch(f"Appointment/{first}", to_status("booked"))).status_code == 200
    answer = await slot.patch(f"Appointment/{second}", to_status("booked"), "dr-kim")
    assert answer.status_code == 409
    assert f"Appointment/{first}" in issue(answer)["diagnostics"]
    assert issue(answer)["expression"] == ["Appointment.slot[0]"]
    assert (await slot.stored(f"Appointment/{second}"))["status"] == "proposed"
    assert (await slot.stored(f"Appointment/{second}"))["meta"]["versionId"] == "1"


async def test_put_and_patch_confirm_alike(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("1"), clinic.slot("2", 3 * DAY))
    by_patch, by_put = await _propose(clinic, "1"), await _propose(clinic, "2")
    await clinic.patch(f"Appointment/{by_patch}", to_status("booked"))
    resource = await clinic.stored(f"Appointment/{by_put}")
    assert (await clinic.put(resource | {"status": "booked"}, "dr-lee")).status_code == 200
    one, two = await clinic.stored(f"Appointment/{by_patch}"), await clinic.stored(f"Appointment/{by_put}")
    for name in ("id", "meta", "start", "end", "slot", "extension"):
        del one[name], two[name]
    del one["participant"][0]["actor"], two["participant"][0]["actor"]
    assert one == two
    assert (await _slot_status(clinic, "1"), await _slot_status(clinic, "2")) == ("busy", "busy")


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize("base", ["", "http://fhir.test/demo/fhir/"])
async def test_references_in_every_form_are_taken_alike(clinic: Harness, base: str) -> None:
    """An absolute URL of this server is the same slot and the same person."""
    await clinic.seed(clinic.slot("s"), clinic.slot("t", 2 * DAY + 10 * MINUTE, schedule="kim"))
    booked = appointment("a", "booked", "anna", start=clinic.at(2 * DAY), end=clinic.at(2 * DAY + 30 * MINUTE))
    booked["slot"] = [{"reference": f"{base}Slot/s"}]
    booked["participant"] = [
        {"actor": {"reference": f"{base}Practitioner/dr-lee"}, "status": "accepted"},
        {"actor": {"reference": f"{base}Patient/anna"}, "status": "accepted"},
    ]
    del booked["id"]
    assert (await clinic.create(booked, "dr-lee")).status_code == 201
    assert await _slot_status(clinic, "s") == "busy"
    assert (await clinic.create(booked, "dr-lee")).status_code == 409
    other = appointment("", "booked", "ben", start=clinic.at(2 * DAY), end=clinic.at(2 * DAY + HOUR))
    del other["id"]
    other["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    refused = await clinic.create(other, "dr-kim")
    assert refused.status_code == 409
    assert "Practitioner/dr-lee is already booked" in issue(refused)["diagnostics"]
    twice = appointment("", "booked", "anna", "t")
    del twice["id"]
    assert (await clinic.create(twice, "dr-kim")).status_code == 409


# Double booking


def _confirmed(clinic: Harness, patient: str, slot: str, **more: object) -> dict[str, object]:
    made = appointment("", "booked", patient, slot, **more)
    del made["id"]
    return made


@pytest.mark.requirement("R-10.6")
async def test_one_practitioner_on_two_schedules(clinic: Harness) -> None:
    """Slots of two schedules of one practitioner that overlap cannot both be booked; those that touch can."""
    await clinic.seed(
        schedule("lee-too", "Practitioner/dr-lee"),
        clinic.slot("a", 2 * DAY),
        clinic.slot("b", 2 * DAY + 15 * MINUTE, schedule="lee-too"),
        clinic.slot("c", 2 * DAY + 30 * MINUTE, schedule="lee-too"),
    )
    first, second, third = await _propose(clinic, "a"), await _propose(clinic, "b"), await _propose(clinic, "c")
    assert (await clinic.patch(f"Appointment/{first}", to_status("booked"))).status_code == 200
    answer = await clinic.patch(f"Appointment/{second}", to_status("booked"))
    assert answer.status_code == 409
    assert "Practitioner/dr-lee" in issue(answer)["diagnostics"]
    assert await _slot_status(clinic, "b") == "free"
    assert (await clinic.patch(f"Appointment/{third}", to_status("booked"))).status_code == 200


@pytest.mark.requirement("R-10.6")
async def test_the_actors_of_a_schedule_are_taken_with_its_slots(clinic: Harness) -> None:
    """Staff may leave the practitioner out of the participants; the practitioner's time is taken all the same."""
    await clinic.seed(
        schedule("lee-too", "Practitioner/dr-lee"),
        clinic.slot("a"),
        clinic.slot("b", 2 * DAY + 15 * MINUTE, schedule="lee-too"),
    )
    times = {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + 30 * MINUTE)}
    later = {"start": clinic.at(2 * DAY + 15 * MINUTE), "end": clinic.at(2 * DAY + 45 * MINUTE)}
    first = await clinic.create(_confirmed(clinic, "anna", "a", **times), "sam")
    assert first.status_code == 201
    assert "Practitioner/dr-lee" in first.text
    assert (await clinic.create(_confirmed(clinic, "ben", "b", **later), "sam")).status_code == 409
    without = first.json() | {"participant": first.json()["participant"][:1]}
    assert "Practitioner/dr-lee" in (await clinic.put(without, "sam")).text


@pytest.mark.requirement("R-10.6")
async def test_a_patient_is_not_in_two_places(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("a"), clinic.slot("b", 2 * DAY + 15 * MINUTE, schedule="kim"))
    times = {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + 30 * MINUTE)}
    later = {"start": clinic.at(2 * DAY + 15 * MINUTE), "end": clinic.at(2 * DAY + 45 * MINUTE)}
    assert (await clinic.create(_confirmed(clinic, "anna", "a", **times), "dr-lee")).status_code == 201
    answer = await clinic.create(_confirmed(clinic, "anna", "b", **later), "dr-kim")
    assert answer.status_code == 409
    assert "Patient/anna" in issue(answer)["diagnostics"]
    assert (await clinic.create(_confirmed(clinic, "ben", "b", **later), "dr-kim")).status_code == 201


@pytest.mark.requirement("R-10.6")
async def test_capacity_of_three(harness: Harness) -> None:
    """A slot is busy when it is full, and free again when one gives up; a patient is in it once."""
    await harness.seed(
        practitioner("dr-lee"),
        service("group", capacity=3),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/group"),
        harness.slot("s"),
    )
    proposals = [await _propose(harness) for _ in range(4)]
    for n, id_ in enumerate(proposals[:3]):
        assert await _slot_status(harness) == "free"
        answer = await harness.patch(f"Appointment/{id_}", to_status("booked"))
        assert answer.status_code == 200, (n, answer.text)
    assert await _slot_status(harness) == "busy"
    refused = await harness.patch(f"Appointment/{proposals[3]}", to_status("booked"))
    assert refused.status_code == 409
    assert "3 of 3" in issue(refused)["diagnostics"]
    assert (await harness.patch(f"Appointment/{proposals[0]}", to_status("cancelled"))).status_code == 200
    assert await _slot_status(harness) == "free"
    again = (await harness.stored(f"Appointment/{proposals[1]}"))["participant"][0]["actor"]["reference"]
    twice = _confirmed(
        harness, again.partition("/")[2], "s", start=harness.at(2 * DAY), end=harness.at(2 * DAY + 30 * MINUTE)
    )
    assert (await harness.create(twice, "dr-lee")).status_code == 409
    assert (await harness.patch(f"Appointment/{proposals[3]}", to_status("booked"))).status_code == 200


async def test_changing_the_slot_of_a_booking_moves_what_it_takes(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("a"), clinic.slot("b", 3 * DAY))
    id_ = await _propose(clinic, "a")
    await clinic.patch(f"Appointment/{id_}", to_status("booked"))
    move = [
        {"op": "replace", "path": "/slot/0/reference", "value": "Slot/b"},
        {"op": "replace", "path": "/start", "value": clinic.at(3 * DAY)},
        {"op": "replace", "path": "/end", "value": clinic.at(3 * DAY + 30 * MINUTE)},
    ]
    assert (await clinic.patch(f"Appointment/{id_}", move)).status_code == 200
    assert (await _slot_status(clinic, "a"), await _slot_status(clinic, "b")) == ("free", "busy")


@pytest.mark.parametrize("status", ["cancelled", "noshow", "entered-in-error"])
async def test_a_booking_that_ends_gives_its_slot_back(slot: Harness, status: str) -> None:
    id_ = await _propose(slot)
    await slot.patch(f"Appointment/{id_}", to_status("booked"))
    assert await _slot_status(slot) == "busy"
    assert (await slot.patch(f"Appointment/{id_}", to_status(status))).status_code == 200
    assert await _slot_status(slot) == "free"


async def test_booked_and_open_appointments_are_not_deleted(slot: Harness) -> None:
    id_ = await _propose(slot)
    assert (await slot.delete(f"Appointment/{id_}")).status_code == 409
    await slot.patch(f"Appointment/{id_}", to_status("booked"))
    assert (await slot.delete(f"Appointment/{id_}")).status_code == 409
    await slot.patch(f"Appointment/{id_}", to_status("cancelled"))
    assert (await slot.delete(f"Appointment/{id_}")).status_code == 204


async def test_a_slot_that_is_wanted_is_not_changed_by_hand(slot: Harness) -> None:
    """A slot agrees with the appointments that take it."""
    id_ = await _propose(slot)
    assert (await slot.delete("Slot/s", "dr-lee")).status_code == 409
    await slot.patch(f"Appointment/{id_}", to_status("booked"))
    for change in (
        to_status("free"),
        [{"op": "replace", "path": "/start", "value": slot.at(DAY)}],
        [{"op": "replace", "path": "/schedule/reference", "value": "Schedule/kim"}],
    ):
        assert (await slot.patch("Slot/s", change)).status_code == 409
    assert (await slot.delete("Slot/s", "dr-lee")).status_code == 409
    comment = [{"op": "add", "path": "/comment", "value": "bring a friend"}]
    assert (await slot.patch("Slot/s", comment)).status_code == 200
    assert await _slot_status(slot) == "busy"


async def test_a_slot_ends_after_it_starts(clinic: Harness) -> None:
    wrong = clinic.slot("s") | {"end": clinic.at(0)}
    assert (await clinic.put(wrong)).status_code == 422


# Auto-confirmation


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ({"auto_confirm": True, "risk": "low"}, "booked"),
        ({"auto_confirm": True}, "proposed"),
        ({"auto_confirm": True, "risk": "high"}, "proposed"),
        ({"risk": "low"}, "proposed"),
        ({"auto_confirm": True, "risk": "low", "clinical_review": True}, "proposed"),
        ({"auto_confirm": False, "risk": "low"}, "proposed"),
    ],
)
@pytest.mark.parametrize("caller", ["anonymous", "website"])
@pytest.mark.requirement("R-4.4", "R-10.2", "R-4.2")
async def test_auto_confirmation_only_where_allowed_and_low_risk(
    harness: Harness, caller: str, rules: dict[str, object], status: str
) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )
    answer = await harness.create(proposal("s"), caller)
    assert answer.status_code == 201
    made = answer.json()
    assert made["status"] == status, "the answer carries the status"
    assert made["start"] == harness.at(2 * DAY)
    assert "participant" not in made
    assert await _slot_status(harness) == ("busy" if status == "booked" else "free")
    changes = [event for event in await harness.events() if event.entity.startswith("Appointment/")]
    assert [event.rule.startswith("R-10.2") for event in changes] == ([False, True] if status == "booked" else [False])
    if status == "booked":
        assert "HealthcareService/care/_history/1" in changes[1].rule


@pytest.mark.requirement("R-10.2", "R-10.5")
async def test_auto_confirmation_leaves_a_conflict_to_people(harness: Harness) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", auto_confirm=True, risk="low"),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("lee-too", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("a"),
        harness.slot("b", 2 * DAY + 15 * MINUTE, schedule="lee-too"),
    )
    assert (await harness.create(proposal("a"), "anonymous")).json()["status"] == "booked"
    answer = await harness.create(proposal("b"), "anonymous")
    assert (answer.status_code, answer.json()["status"]) == (201, "proposed")
    assert await _slot_status(harness, "b") == "free"


# Cancellation by the patient


async def _booked(harness: Harness, start: int, **rules: object) -> str:
    await harness.seed(
        practitioner("dr-lee"),
        {"resourceType": "Patient", "id": "anna"},
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s", start),
    )
    booked = _confirmed(harness, "anna", "s", start=harness.at(start), end=harness.at(start + 30 * MINUTE))
    answer = await harness.create(booked, "dr-lee")
    assert answer.status_code == 201, answer.text
    return f"Appointment/{answer.json()['id']}"


@pytest.mark.parametrize(
    ("hours", "start", "status"),
    [(24, 24 * HOUR, 200), (24, 24 * HOUR - MINUTE, 422), (0, MINUTE, 200), (48, 47 * HOUR, 422), (0, -MINUTE, 422)],
)
@pytest.mark.requirement("R-10.4")
async def test_a_patient_cancels_inside_the_window(harness: Harness, hours: int, start: int, status: int) -> None:
    path = await _booked(harness, start, cancellation_window_hours=hours)
    operations = [*to_status("cancelled"), {"op": "add", "path": "/cancelationReason", "value": {"text": "ill"}}]
    answer = await harness.patch(path, operations, "anna")
    assert answer.status_code == status, answer.text
    assert (await harness.stored(path))["status"] == ("cancelled" if status == 200 else "booked")
    assert await _slot_status(harness) == ("free" if status == 200 else "busy")


@pytest.mark.requirement("R-7.20", "R-10.3", "R-10.4")
async def test_a_patient_changes_nothing_else(harness: Harness) -> None:
    path = await _booked(harness, 10 * DAY)
    for operations in (
        [{"op": "add", "path": "/comment", "value": "x"}],
        [{"op": "replace", "path": "/start", "value": harness.at(DAY)}],
        [*to_status("cancelled"), {"op": "remove", "path": "/slot"}],
        [*to_status("cancelled"), {"op": "add", "path": "/comment", "value": "x"}],
        to_status("arrived"),
        to_status("fulfilled"),
        to_status("noshow"),
        to_status("entered-in-error"),
    ):
        answer = await harness.patch(path, operations, "anna")
        assert answer.status_code == 403, (operations, answer.text)
    assert (await harness.stored(path))["meta"]["versionId"] == "1"
    assert (await harness.patch(path, to_status("cancelled"), "ben")).status_code == 404


@pytest.mark.parametrize(("withdrawal", "status"), [(False, 403), (True, 200)])
@pytest.mark.requirement("R-10.4")
async def test_withdrawal_where_the_clinic_allows_it(harness: Harness, withdrawal: bool, status: int) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", withdrawal=withdrawal),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )
    answer = await harness.create(proposal("s"), "anonymous")
    receipt, path = answer.headers["proposal-receipt"], f"Appointment/{answer.json()['id']}"
    for operations in (
        [{"op": "test", "path": "/participant/0/status", "value": "accepted"}],
        [{"op": "copy", "from": "/participant", "path": "/status"}],
        [{"op": "replace", "path": "/start", "value": harness.at(DAY)}],
        to_status("booked"),
    ):
        assert (await harness.patch(path, operations, receipt)).status_code == 403
    assert (await harness.patch(path, to_status("cancelled"), receipt)).status_code == status
    assert (await harness.patch(path, to_status("cancelled"), "anonymous")).status_code == 403
    assert (await harness.stored(path))["status"] == ("cancelled" if withdrawal else "proposed")
