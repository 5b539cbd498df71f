"""The table of requirements §7 over HTTP, cell by cell: what each surface may, and what it may not."""

from typing import Any

import pytest

from tests.harness import (
    DAY,
    MINUTE,
    Harness,
    appointment,
    cared_for,
    ids,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)


def observation(id_: str, patient_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient_}"}, **more}  # fmt: skip


@pytest.fixture
async def world(clinic: Harness) -> Harness:
    """Records of two patients, a proposal and a booking of anna's, configuration with private parts."""
    restricted = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    await clinic.seed(
        cared_for("anna", birthDate="1980-01-01"),
        practitioner("dr-lee") | {"telecom": [{"value": "private"}], "birthDate": "1970-01-01"},
        service("care"),
        {"resourceType": "Organization", "id": "o", "name": "Clinic"},
        {"resourceType": "Location", "id": "l", "name": "Room"},
        {"resourceType": "Questionnaire", "id": "q", "status": "active"},
        {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/anna"}},
        clinic.slot("s"),
        clinic.slot("t", 3 * DAY),
        observation("final", "anna"),
        observation("bens", "ben"),
        observation("preliminary", "anna", status="preliminary"),
        observation("restricted", "anna", meta=restricted),
        {"resourceType": "Group", "id": "g", "type": "person", "actual": True},
    )  # fmt: skip
    made: Any = appointment("", "booked", "anna", "t", start=clinic.at(3 * DAY), end=clinic.at(3 * DAY + 30 * MINUTE))
    del made["id"]
    booked = await clinic.create(made, "dr-lee")
    assert booked.status_code == 201, booked.text
    clinic.booked = f"Appointment/{booked.json()['id']}"  # type: ignore[attr-defined]
    proposed = await clinic.create(proposal("s"), "website")
    clinic.proposed = f"Appointment/{proposed.json()['id']}"  # type: ignore[attr-defined]
    return clinic


async def _statuses(world: Harness, caller: str, *paths: str) -> list[int]:
    return [(await world.get(path.format(w=world), caller)).status_code for path in paths]


@pytest.mark.requirement("R-7.1")
async def test_website_and_proposals(world: Harness) -> None:
    """Create; read those it submitted, and no more than what is in them."""
    answer = await world.get(world.proposed, "website")  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert set(answer.json()) <= {"resourceType", "id", "meta", "status", "start", "end", "slot", "serviceType"}
    others = await world.create(proposal("s"), "anonymous")
    assert (await world.get(f"Appointment/{others.json()['id']}", "website")).status_code == 404
    for operations in (to_status("booked"), to_status("pending")):
        refused = await world.patch(world.proposed, operations, "website")  # type: ignore[attr-defined]
        assert refused.status_code == 403


@pytest.mark.requirement("R-7.2", "R-7.5")
async def test_patient_portal_proposals_and_appointments(world: Harness) -> None:
    mine = {"participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}
    wanted: Any = proposal("s") | mine
    del wanted["contained"]
    made = await world.create(wanted, "anna")
    assert made.status_code == 201, made.text
    assert sorted(ids(await world.get("Appointment", "anna"))) == sorted(
        [world.booked.partition("/")[2], made.json()["id"]]  # type: ignore[attr-defined]
    )
    assert ids(await world.get("Appointment", "ben")) == []
    assert await _statuses(world, "ben", "{w.booked}", "{w.proposed}") == [404, 404]
    other = {"participant": [{"actor": {"reference": "Patient/ben"}, "status": "accepted"}]}
    assert (await world.create(wanted | other, "anna")).status_code == 403


@pytest.mark.requirement("R-7.3", "R-7.6")
async def test_provider_portal_proposals_and_appointments(world: Harness) -> None:
    for caller in ("dr-lee", "sam"):
        assert await _statuses(world, caller, "{w.booked}", "{w.proposed}", "Appointment") == [200, 200, 200]
    confirmed = await world.patch(world.proposed, to_status("booked"), "sam")  # type: ignore[attr-defined]
    assert confirmed.status_code == 200
    assert (await world.patch(world.booked, to_status("cancelled"), "dr-lee")).status_code == 200  # type: ignore[attr-defined]
    assert (await world.delete(world.booked, "dr-lee")).status_code == 403  # type: ignore[attr-defined]


@pytest.mark.requirement("R-7.4", "R-6.2")
async def test_website_sees_availability_and_never_the_appointment(world: Harness) -> None:
    for caller in ("anonymous", "website"):
        assert ids(await world.get("Slot?status=busy", caller)) == ["t"]
        assert (await world.get(world.booked, caller)).status_code in (403, 404)  # type: ignore[attr-defined]
    assert (await world.get("Appointment", "anonymous")).status_code == 403
    assert world.booked.partition("/")[2] not in (await world.get("Appointment", "website")).text  # type: ignore[attr-defined]
    for query in ("_revinclude=Appointment:slot", "_include=Slot:schedule"):
        answer = await world.get(f"Slot?{query}", "anonymous")
        assert "Appointment" not in answer.text.replace("Appointment:slot", "")
    for query in ("_has:Appointment:slot:patient=Patient/anna", "_has:Appointment:slot:status=booked"):
        assert (await world.get(f"Slot?{query}", "anonymous")).status_code == 403


@pytest.mark.requirement("R-7.7", "R-6.2")
async def test_website_sees_no_identity(world: Harness) -> None:
    for caller in ("anonymous", "website"):
        for path in ("Patient", "Patient/anna", "Patient/nobody", "Patient/anna/_history", "Patient?identifier=1",
                     "Person", "RelatedPerson"):  # fmt: skip
            assert (await world.get(path, caller)).status_code == 403, path
        assert (await world.create(patient("x"), caller)).status_code == 403
    shown = (await world.get("Practitioner/dr-lee")).json()
    assert "telecom" not in shown
    assert "birthDate" not in shown
    for query in ("telecom=private", "phone=private", "_sort=phone"):
        assert (await world.get(f"Practitioner?{query}")).status_code == 403, query


@pytest.mark.requirement("R-7.8", "R-6.2", "R-7.20")
async def test_patient_portal_identity(world: Harness) -> None:
    assert await _statuses(world, "anna", "Patient/anna", "Patient/ben", "Patient/nobody") == [200, 404, 404]
    assert ids(await world.get("Patient", "anna")) == ["anna"]
    assert ids(await world.get("Patient?name=ben", "anna")) == []
    assert (await world.put(patient("anna", active=False), "anna")).status_code == 403
    for hidden in ("ben", "nobody"):
        assert (await world.put(patient(hidden), "anna")).status_code == 404


@pytest.mark.requirement("R-7.9", "R-5.1")
async def test_provider_portal_identity(world: Harness) -> None:
    """Read, and never write: identity is not the provider's to change (R-5.1)."""
    for caller in ("dr-lee", "sam"):
        assert (await world.get("Patient/anna", caller)).status_code == 200
        assert (await world.put(patient("anna"), caller)).status_code == 403
        assert (await world.create(patient("x"), caller)).status_code == 403
        assert (await world.delete("Patient/anna", caller)).status_code == 403
        patched = await world.patch("Patient/anna", [{"op": "add", "path": "/active", "value": True}], caller)
        assert patched.status_code == 403


@pytest.mark.requirement("R-7.10")
async def test_website_and_clinical_records(world: Harness) -> None:
    for caller in ("anonymous", "website", "anna-on-website"):
        assert await _statuses(world, caller, "Observation", "Observation/final", "Encounter/e") == [403, 403, 403]
        assert (await world.create(observation("x", "anna"), caller)).status_code == 403


@pytest.mark.requirement("R-7.11", "R-7.22")
async def test_patient_portal_and_clinical_records(world: Harness) -> None:
    """Own, of named types, final, and without a restricted label."""
    assert ids(await world.get("Observation", "anna")) == ["final"]
    assert await _statuses(
        world, "anna", "Observation/final", "Observation/bens", "Observation/preliminary", "Observation/restricted",
        "Encounter/e", "Group", "AuditEvent", "Specimen",
    ) == [200, 404, 404, 404, 200, 403, 403, 403]  # fmt: skip
    assert (await world.create(observation("x", "anna"), "anna")).status_code == 403
    assert (await world.put(observation("final", "anna"), "anna")).status_code == 403
    assert (await world.delete("Observation/final", "anna")).status_code == 403


@pytest.mark.requirement("R-7.12", "R-6.4")
async def test_provider_portal_and_clinical_records(world: Harness) -> None:
    assert ids(await world.get("Observation?_sort=_id", "dr-lee")) == ["bens", "final", "preliminary", "restricted"]
    assert (await world.create(observation("x", "anna"), "dr-lee")).status_code == 201
    assert (await world.put(observation("final", "anna", status="amended"), "dr-lee")).status_code == 200
    # The front desk has nothing clinical.
    assert await _statuses(world, "sam", "Observation", "Observation/final", "Encounter/e") == [403, 403, 403]
    assert (await world.create(observation("x", "anna"), "sam")).status_code == 403


@pytest.mark.requirement("R-7.13", "R-7.14")
async def test_outsiders_and_availability(world: Harness) -> None:
    """The public part is read, by patients as by everybody; nobody outside writes it."""
    await world.put(world.slot("s", comment="dr-lee is ill"))
    for caller in ("anonymous", "website", "anna", "anna-on-website"):
        answer = await world.get("Slot/s", caller)
        assert answer.status_code == 200
        assert "comment" not in answer.json()
        assert (await world.get("Schedule", caller)).status_code == 200
        assert (await world.put(world.slot("s"), caller)).status_code == 403
        assert (await world.create(world.slot("x"), caller)).status_code == 403
        assert (await world.patch("Slot/s", to_status("busy"), caller)).status_code == 403
        assert (await world.delete("Slot/s", caller)).status_code == 403


@pytest.mark.requirement("R-7.15", "R-5.1")
async def test_provider_portal_and_availability(world: Harness) -> None:
    for n, caller in enumerate(("dr-lee", "sam")):
        assert (await world.create(world.slot("x", (5 + n) * DAY), caller)).status_code == 201
        assert (await world.put(world.slot("s", comment="x"), caller)).status_code == 200
        assert (await world.create(schedule("x", "Practitioner/dr-lee"), caller)).status_code == 201
        assert "comment" in (await world.get("Slot/s", caller)).json()


@pytest.mark.requirement("R-7.16", "R-7.17", "R-4.1")
async def test_outsiders_and_configuration(world: Harness) -> None:
    paths = ("Organization/o", "Location/l", "HealthcareService/care", "Practitioner/dr-lee")
    for caller in ("anonymous", "anna"):
        assert await _statuses(world, caller, *paths) == [200] * 4
        assert "extension" not in (await world.get("HealthcareService/care", caller)).json()
        assert (await world.put(service("care"), caller)).status_code == 403
    await world.put(service("care") | {"active": False})
    assert (await world.get("HealthcareService/care")).status_code == 404
    assert (await world.get("Questionnaire/q", "anna")).status_code == 200
    assert (await world.get("Questionnaire/q")).status_code == 403


@pytest.mark.requirement("R-7.18", "R-5.1")
async def test_provider_portal_and_configuration(world: Harness) -> None:
    """Read; only administrators write it (R-5.1)."""
    for caller in ("dr-lee", "sam"):
        assert (await world.get("HealthcareService/care", caller)).status_code == 200
        assert (await world.put(service("care", auto_confirm=True, risk="low"), caller)).status_code == 403
        assert (await world.put(practitioner("dr-lee"), caller)).status_code == 403
    assert (await world.put(service("care"), "admin")).status_code == 200


@pytest.mark.requirement("R-6.3")
async def test_scopes_narrow_what_a_role_may(world: Harness) -> None:
    """SMART scope ∩ surface policy: neither gives what the other does not."""
    reader = await world.token("dr-lee", scope="user/Slot.rs")
    assert (await world.get("Slot/s", reader)).status_code == 200
    assert (await world.put(world.slot("s"), reader)).status_code == 403
    assert (await world.get("Patient/anna", reader)).status_code == 403
    writer = await world.token("anna", scope="patient/Observation.cruds")
    assert (await world.create(observation("x", "anna"), writer)).status_code == 403
    assert (await world.get("Observation/final", writer)).status_code == 200
    narrowed = await world.token("anna", scope="patient/Slot.rs")
    assert (await world.get("Observation/final", narrowed)).status_code == 403


@pytest.mark.requirement("R-6.1")
async def test_nothing_leads_into_another_clinic(world: Harness) -> None:
    """By id, search, include, chain, `_has`, history, receipt or token."""
    await world.seed(observation("final", "anna"), tenant="other")
    for path in ("Patient/ben", "Slot/s", "Observation/bens", "Patient/ben/_history", "Patient/ben/_history/1"):
        assert (await world.get(path, "admin", tenant="other")).status_code == 404, path
    for path in ("Patient", "Slot", "Patient?_has:Observation:patient:status=final", "Observation?patient.name=ben"):
        assert ids(await world.get(path, "admin", tenant="other")) == [], path
    answer = await world.get("Observation?_include=Observation:subject", "admin", tenant="other")
    assert (ids(answer), ids(answer, "include")) == (["final"], [])
    whole = await world.get("_history?_count=100", "admin", tenant="other")
    assert len(whole.json()["entry"]) == 1
    for caller in ("admin", "dr-lee", "anna"):
        token = await world.token(caller)
        assert (await world.get("Slot", token, tenant="other")).status_code == 401
