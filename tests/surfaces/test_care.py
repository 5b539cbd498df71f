"""Patients under a practitioner's care: what puts them there, that nobody does so for themselves, and break-glass."""

from typing import Any

import pytest

from tests.harness import DAY, HOUR, MINUTE, Harness, appointment, cared_for, ids, issue, patient, proposal, to_status

CARE = "https://fhir-server.dev/tags/care"
BTG = {"purposeOfUse": "valueCode"}


def observation(id_: str, patient_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient_}"}, **more}  # fmt: skip


def encounter(patient_: str, practitioner: str = "dr-lee", status: str = "in-progress") -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": "e", "status": status, "class": {"code": "AMB"},
            "subject": {"reference": f"Patient/{patient_}"},
            "participant": [{"individual": {"reference": f"Practitioner/{practitioner}"}}]}  # fmt: skip


def team(patient_: str, member: str = "Practitioner/dr-lee", status: str = "active") -> dict[str, Any]:
    return {"resourceType": "CareTeam", "id": "t", "status": status, "subject": {"reference": f"Patient/{patient_}"},
            "participant": [{"member": {"reference": member}}]}  # fmt: skip


def visit(clinic: Harness, status: str, patient_: str = "cato", **more: Any) -> dict[str, Any]:
    made = appointment("a", status, patient_, start=clinic.at(2 * DAY), end=clinic.at(2 * DAY + 30 * MINUTE), **more)
    made["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    del made["id"]
    return made


@pytest.fixture
async def ward(clinic: Harness) -> Harness:
    """cato has a record and is under nobody's care."""
    await clinic.seed(patient("cato"), observation("o", "cato"), clinic.slot("s"))
    return clinic


async def sees(ward: Harness, caller: str = "dr-lee", who: str = "cato") -> bool:
    """Whether the record is open: all ways in agree."""
    o = {"cato": "o", "anna": "a"}[who]
    found = {
        (await ward.get(f"Patient/{who}", caller)).status_code == 200,
        (await ward.get(f"Observation/{o}", caller)).status_code == 200,
        (await ward.get(f"Observation/{o}/_history/1", caller)).status_code == 200,
        ids(await ward.get(f"Observation?patient={who}", caller)) == [o],
        ids(await ward.get(f"Patient?_has:Observation:patient:_id={o}&_id={who}", caller)) == [who],
        ids(await ward.get(f"Observation?patient.name={who}", caller)) == [o],
        f"Observation/{o}" in (await ward.get("_history?_count=100", caller)).text,
        (await ward.get(f"Patient/{who}/$everything", caller)).status_code == 200,
    }
    assert len(found) == 1, found
    return found.pop()


# What opens a record.


@pytest.mark.requirement("R-6.2", "R-7.9", "R-7.12")
async def test_a_patient_under_nobodys_care_is_as_if_absent(ward: Harness) -> None:
    assert not await sees(ward)
    for method, path, body in (
        ("GET", "Patient/{}", None), ("GET", "Patient/{}/_history", None), ("GET", "Patient/{}/_history/1", None),
        ("GET", "Patient/{}/$everything", None), ("POST", "Patient/{}/$verify", None),
    ):  # fmt: skip
        answers = [await ward.send(method, path.format(who), "dr-lee", json_=body) for who in ("cato", "nobody")]
        assert [answer.status_code for answer in answers] == [404, 404], path
        assert answers[0].json() == answers[1].json(), path
    for who in ("cato", "nobody"):
        assert (await ward.create(observation("x", who), "dr-lee")).status_code == 403


@pytest.mark.requirement("R-7.9", "R-7.12")
async def test_a_general_practitioner_sees_their_patients(ward: Harness) -> None:
    await ward.put(cared_for("cato", "dr-lee"))
    assert await sees(ward)
    assert not await sees(ward, "dr-kim")
    assert (await ward.create(observation("x", "cato"), "dr-lee")).status_code == 201


@pytest.mark.requirement("R-7.9", "R-7.12")
@pytest.mark.parametrize("status", ["booked", "proposed", "cancelled", "noshow"])
async def test_an_appointment_that_the_front_desk_booked_opens_a_record(ward: Harness, status: str) -> None:
    made = await ward.create(visit(ward, "booked" if status in ("cancelled", "noshow") else status), "sam")
    assert made.status_code == 201, made.text
    path = f"Appointment/{made.json()['id']}"
    if status in ("cancelled", "noshow"):
        assert await sees(ward)
        assert (await ward.patch(path, to_status(status), "sam")).status_code == 200
    assert await sees(ward) == (status == "booked")
    assert not await sees(ward, "dr-kim")


@pytest.mark.requirement("R-7.9")
async def test_a_signed_in_patients_proposal_counts_once_it_is_confirmed(ward: Harness) -> None:
    """The patient stands behind it, so the practitioner may confirm it themselves."""
    await ward.seed(patient("anna"), observation("a", "anna"))
    wanted: Any = proposal("s") | {"participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}
    del wanted["contained"]
    made = await ward.create(wanted, "anna")
    assert made.status_code == 201, made.text
    assert not await sees(ward, who="anna")
    assert (await ward.patch(f"Appointment/{made.json()['id']}", to_status("booked"), "dr-lee")).status_code == 200
    assert await sees(ward, who="anna")


@pytest.mark.requirement("R-7.9", "R-7.12")
@pytest.mark.parametrize("status", ["in-progress", "finished", "planned", "cancelled", "entered-in-error"])
async def test_an_encounter_that_somebody_else_recorded(ward: Harness, status: str) -> None:
    await ward.put(encounter("cato", status=status))
    assert await sees(ward) == (status in ("in-progress", "finished"))


@pytest.mark.requirement("R-7.9", "R-7.12")
@pytest.mark.parametrize("status", ["active", "proposed", "inactive"])
async def test_a_care_team_by_role_too(ward: Harness, status: str) -> None:
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/dr-lee"}}
    await ward.seed(role, team("cato", "PractitionerRole/r", status))
    assert await sees(ward) == (status == "active")


# What does not, a tie never counts when its beneficiary made it alone.


@pytest.mark.requirement("R-6.2", "R-7.9")
async def test_self_made_appointment_opens_no_record(ward: Harness) -> None:
    """Booked by the practitioner alone, in each way that there is, and whatever tag comes along."""
    forged = {"meta": {"tag": [{"system": CARE, "code": "dr-lee"}]}}
    made = await ward.create(visit(ward, "booked", **forged), "dr-lee")
    assert made.status_code == 201, made.text
    assert CARE not in made.text
    assert not await sees(ward)
    path = f"Appointment/{made.json()['id']}"
    added = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": forged["meta"]}]}
    await ward.send("POST", f"{path}/$meta-add", "dr-lee", json_=added)
    assert (await ward.patch(path, to_status("arrived"), "dr-lee")).status_code == 200
    assert not await sees(ward)
    # The front desk stands behind it from the moment that it does something to it.
    assert (await ward.patch(path, to_status("checked-in"), "sam")).status_code == 200
    assert await sees(ward)


@pytest.mark.requirement("R-6.2")
async def test_an_appointment_moved_to_another_patient_opens_no_record(ward: Harness) -> None:
    """anna's, which the front desk booked, with cato put in her place."""
    await ward.put(patient("anna"))
    made = (await ward.create(visit(ward, "booked", "anna"), "sam")).json()
    for participant in made["participant"]:
        if participant["actor"]["reference"] == "Patient/anna":
            participant["actor"]["reference"] = "Patient/cato"
    changed = await ward.put(made, "dr-lee")
    assert changed.status_code == 200, changed.text
    assert CARE not in changed.text
    assert not await sees(ward)


@pytest.mark.requirement("R-6.2")
async def test_self_made_encounter_and_care_team_are_refused(ward: Harness) -> None:
    for resource in (encounter("cato"), team("cato")):
        assert (await ward.create(resource, "dr-lee")).status_code == 403
        whole = {"resourceType": "Bundle", "type": "transaction", "entry": [
            {"resource": visit(ward, "booked"), "request": {"method": "POST", "url": "Appointment"}},
            {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}},
        ]}  # fmt: skip
        assert (await ward.send("POST", "", "dr-lee", json_=whole)).status_code == 403
    assert not await sees(ward)


@pytest.mark.requirement("R-6.2")
async def test_a_self_made_encounter_of_a_former_patient_keeps_nothing_open(ward: Harness) -> None:
    """Written while the patient was under care; when that ends, the practitioner's own writing does not prolong it."""
    await ward.put(cared_for("cato", "dr-lee"))
    for resource in (encounter("cato"), team("cato")):
        assert (await ward.create(resource, "dr-lee")).status_code == 201
    await ward.put(patient("cato"))
    assert not await sees(ward)


@pytest.mark.requirement("R-6.2", "R-4.3")
async def test_an_anonymous_proposal_opens_no_record(ward: Harness) -> None:
    """It cannot name a patient who is there; confirmed by its doctor, it shows the new person alone."""
    named = proposal("s") | {"participant": [{"actor": {"reference": "Patient/cato"}, "status": "accepted"}]}
    assert (await ward.create(named, "anonymous")).status_code == 422
    doctor = {"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"}
    wanted = proposal("s")
    wanted["participant"].append(doctor)
    made = await ward.create(wanted, "anonymous")
    assert made.status_code == 201, made.text
    path = f"Appointment/{made.json()['id']}"
    (person,) = [p["actor"]["reference"] for p in (await ward.stored(path))["participant"] if "Pat" in str(p)]
    assert (await ward.get(person, "dr-kim")).status_code == 200  # whoever reviews sees who proposes
    assert (await ward.patch(path, to_status("booked"), "dr-lee")).status_code == 200
    assert (await ward.get(person, "dr-lee")).status_code == 200
    assert (await ward.get(person, "dr-kim")).status_code == 404
    assert not await sees(ward)
    # Nor when the practitioner says that this person is cato.
    merge = {"resourceType": "Parameters", "parameter": [
        {"name": "source-patient", "valueReference": {"reference": person}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/cato"}}]}  # fmt: skip
    assert (await ward.send("POST", "Patient/$merge", "dr-lee", json_=merge)).status_code == 404
    assert not await sees(ward)


@pytest.mark.requirement("R-6.2")
async def test_merging_vouches_for_no_self_made_appointment(ward: Harness) -> None:
    await ward.seed(patient("cato2"))
    assert (await ward.create(visit(ward, "booked", "cato2"), "dr-lee")).status_code == 201
    merge = {"resourceType": "Parameters", "parameter": [
        {"name": "source-patient", "valueReference": {"reference": "Patient/cato2"}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/cato"}}]}  # fmt: skip
    merged = await ward.send("POST", "Patient/$merge", "sam", json_=merge)
    assert merged.status_code == 200, merged.text
    assert not await sees(ward)


@pytest.mark.requirement("R-5.1", "R-6.2")
async def test_a_practitioner_makes_nobody_their_general_patient(ward: Harness) -> None:
    for answer in (
        await ward.put(cared_for("cato", "dr-lee"), "dr-lee"),
        await ward.patch("Patient/cato", [{"op": "add", "path": "/generalPractitioner", "value": []}], "dr-lee"),
    ):
        assert answer.status_code == 403
    assert not await sees(ward)


# Break-glass


def asked(reason: str = "unconscious in the emergency room", purpose: str = "BTG") -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [
        {"name": "purposeOfUse", "valueCode": purpose}, {"name": "reason", "valueString": reason}]}  # fmt: skip


async def break_glass(ward: Harness, caller: str = "dr-lee", who: str = "cato", **given: str) -> Any:
    return await ward.send("POST", f"Patient/{who}/$break-glass", caller, json_=asked(**given))


@pytest.mark.requirement("R-6.3", "R-6.5")
async def test_breaking_the_glass_opens_one_record_to_read_for_an_hour(ward: Harness) -> None:
    answer = await break_glass(ward)
    assert answer.status_code == 201, answer.text
    assert await sees(ward)
    assert not await sees(ward, "dr-kim")
    assert (await ward.put(observation("o", "cato", status="amended"), "dr-lee")).status_code == 404
    assert (await ward.create(observation("x", "cato"), "dr-lee")).status_code == 403
    ward.clock.advance(2 * HOUR)
    assert not await sees(ward)


@pytest.mark.requirement("R-6.5", "R-10.7")
async def test_breaking_the_glass_is_flagged_and_audited_under_its_own_code(ward: Harness) -> None:
    await ward.get("Patient/anna", "dr-lee")
    flag = (await break_glass(ward)).json()
    await ward.get("Observation/o", "dr-lee")
    await ward.get("Observation?patient=cato", "dr-lee")
    assert (flag["subject"]["reference"], flag["author"]["reference"]) == ("Patient/cato", "Practitioner/dr-lee")
    assert ids(await ward.get("Flag?patient=cato", "admin")) == [flag["id"]]
    found = (await ward.get("AuditEvent?subtype=110127", "auditor")).json()["entry"]
    (event,) = [entry["resource"] for entry in found]
    assert event["outcomeDesc"] == "unconscious in the emergency room"
    assert event["type"]["code"] == "110113"
    events = await ward.events()
    purposes = {(e.subtype, e.patients): (e.purpose, e.rule) for e in events if e.user == "Practitioner/dr-lee"}
    glass = ("BTG", "R-6.3 provider breaks the glass")
    assert purposes["read", ("cato",)] == purposes["search-type", ("cato",)] == glass
    assert purposes["break-glass", ("cato",)] == glass
    assert purposes["read", ("anna",)] == ("", "R-7.9 provider reads patients under care")


@pytest.mark.requirement("R-6.3")
async def test_a_glass_is_broken_by_practitioners_with_a_reason_only(ward: Harness) -> None:
    for caller in ("anna", "sam", "backend", "website", "anonymous", "admin"):
        assert (await break_glass(ward, caller)).status_code == 403, caller
    for given in ({"reason": "  short  "}, {"purpose": "TREAT"}, {"reason": "x" * 501}):
        answer = await break_glass(ward, **given)
        assert answer.status_code == 422, given
        assert issue(answer)["expression"] == ["Parameters.parameter"]
    assert (await break_glass(ward, who="nobody")).status_code == 404
    assert not await sees(ward)


@pytest.mark.requirement("R-6.3")
async def test_a_broken_glass_is_neither_forged_nor_prolonged(ward: Harness) -> None:
    """A Flag of a practitioner's own has no tag; of the server's only the end may be written."""
    tag = {"system": "https://fhir-server.dev/tags/break-glass", "code": "dr-lee"}
    period = {"start": ward.at(0), "end": ward.at(DAY)}
    own = {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "period": period,
           "meta": {"tag": [tag]}, "subject": {"reference": "Patient/cato"}}  # fmt: skip
    assert (await ward.create(own, "dr-lee")).status_code == 403
    assert (await ward.create(own, "admin")).status_code == 201
    assert not await sees(ward)
    await ward.put(cared_for("cato", "dr-kim"))
    flag = (await break_glass(ward)).json()
    assert (await ward.put(flag | {"period": period}, "dr-kim")).status_code == 403
    assert (await ward.delete(f"Flag/{flag['id']}", "dr-kim")).status_code == 403
    assert await sees(ward)
    assert (await ward.put(flag | {"status": "inactive"}, "dr-kim")).status_code == 200
    assert not await sees(ward)
