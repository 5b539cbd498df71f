"""Elements that a grant hides cannot be found out: not by search, sort, chain, `_has`, text, history or patch tests."""

from typing import Any
from urllib.parse import quote

import pytest

from profiles.definitions import load
from smart_auth.surfaces.types import PUBLIC
from tests.harness import DAY, MINUTE, Harness, appointment, ids, issue, patient, practitioner

REGISTRY_TYPES = tuple(sorted(PUBLIC))
SECRET = "hidden-value"
ADDRESS = [{"system": "phone", "value": SECRET}]


@pytest.fixture
async def world(clinic: Harness) -> Harness:
    """dr-lee with a private telephone, birth date and gender, a slot with a comment, and a shared appointment."""
    await clinic.seed(
        practitioner("dr-lee") | {"telecom": ADDRESS, "birthDate": "1970-01-01", "gender": "female",
                                  "identifier": [{"system": "urn:tax", "value": SECRET}],
                                  "address": [{"city": SECRET}]},
        practitioner("dr-kim"),
        {"resourceType": "PractitionerRole", "id": "r", "active": True,
         "practitioner": {"reference": "Practitioner/dr-lee"}, "telecom": ADDRESS},
        clinic.slot("s", comment=SECRET),
        patient("anna"),
        patient("ben", name=[{"family": SECRET}]),
    )  # fmt: skip
    shared = appointment("g", "booked", "anna", start=clinic.at(DAY), end=clinic.at(DAY + 30 * MINUTE))
    shared["participant"].append({"actor": {"reference": "Patient/ben", "display": SECRET}, "status": "tentative"})
    made = await clinic.create(shared, "sam")
    assert made.status_code == 201, made.text
    clinic.shared = f"Appointment/{made.json()['id']}"  # type: ignore[attr-defined]
    return clinic


PROBES = (
    f"Practitioner?telecom={SECRET}", "Practitioner?telecom:missing=true", "Practitioner?phone=1",
    "Practitioner?email=a", "Practitioner?gender=female", "Practitioner?gender:not=male",
    f"Practitioner?identifier={SECRET}", f"Practitioner?address={SECRET}", "Practitioner?address-city=x",
    "Practitioner?_sort=gender", "Practitioner?_sort=-address-city", "Practitioner?_sort=telecom",
    f"Practitioner?_content={SECRET}", f"Practitioner?_text={SECRET}",
    f"Practitioner?_has:PractitionerRole:practitioner:telecom={SECRET}",
    f"PractitionerRole?practitioner.telecom={SECRET}", "PractitionerRole?practitioner:Practitioner.gender=female",
    f"PractitionerRole?telecom={SECRET}", f"Schedule?actor:Practitioner.identifier={SECRET}",
    f"Slot?schedule.actor:Practitioner.telecom={SECRET}", f"Slot?_content={SECRET}",
    "Practitioner?_lastUpdated=gt2000&gender=female", "Practitioner?_filter=gender%20eq%20female",
    f"Practitioner?telecom={SECRET}&_contained=true", f"Practitioner?telecom={SECRET}&_contained=both",
)  # fmt: skip


@pytest.mark.requirement("R-7.13", "R-7.16", "R-6.2")
@pytest.mark.parametrize("caller", ["anonymous", "website", "anna", "anna-on-website"])
@pytest.mark.parametrize("path", PROBES)
async def test_no_search_looks_at_what_is_hidden(world: Harness, caller: str, path: str) -> None:
    """Refused, alike whether the value is the hidden one or another."""
    answers = [await world.get(each, caller) for each in (path, path.replace(SECRET, "other"))]
    for answer in answers:
        assert answer.status_code in (400, 403), path
        assert issue(answer)
    assert answers[0].status_code == answers[1].status_code


@pytest.mark.requirement("R-7.13", "R-7.16")
@pytest.mark.parametrize("type_", REGISTRY_TYPES)
async def test_every_parameter_of_a_public_type_looks_at_public_elements_or_is_refused(
    world: Harness, type_: str
) -> None:
    """Generated: each parameter against the element list, by the expressions of R4 themselves."""
    registry, definitions = world.parts.server.registry, load()
    checked = 0
    for code, parameter in registry.parameters(type_).items():
        if not parameter.is_searchable or parameter.type in ("composite", "special"):
            continue
        roots = {str(path.steps[0]) for path in parameter.paths if path.steps}
        known = {element.name for element in definitions.types[type_].children(type_)}
        is_public = bool(roots) and all(
            root in PUBLIC[type_] or root in ("id", "meta") or root not in known for root in roots
        )
        value = {"date": "2026", "number": "1", "quantity": "1", "reference": "Patient/1"}.get(parameter.type, "x")
        answers = [await world.get(f"{type_}?{code}={value}"), await world.get(f"{type_}?_sort={code}")]
        if not is_public:
            assert [each.status_code for each in answers] == [403, 403], (type_, code, roots)
            checked += 1
    assert checked or type_ in ("Slot", "Schedule", "Organization", "Location", "HealthcareService")


@pytest.mark.requirement("R-7.13", "R-7.16")
@pytest.mark.parametrize("caller", ["anonymous", "anna"])
async def test_no_answer_shows_what_is_hidden(world: Harness, caller: str) -> None:
    for path in (
        "Practitioner", "Practitioner/dr-lee", "Practitioner/dr-lee/_history", "Practitioner/dr-lee/_history/1",
        "Practitioner?_elements=telecom,gender", "Practitioner?_summary=true", "Practitioner?_summary=data",
        "Practitioner/_history", "PractitionerRole?_include=PractitionerRole:practitioner",
        "Practitioner?_revinclude=PractitionerRole:practitioner", "Slot/s", "Slot?_elements=comment", "Slot/_history",
        "Schedule?_include=Schedule:actor", "Slot?_include=Slot:schedule&_include:iterate=Schedule:actor",
        "Practitioner/dr-lee/$meta",
    ):  # fmt: skip
        answer = await world.get(path, caller)
        assert answer.status_code == 200, (path, answer.text)
        for text in (SECRET, "1970-01-01", '"gender"', "comment"):
            assert text not in answer.text.partition('"entry"')[2] or path.endswith("comment"), (path, text)
        assert SECRET not in answer.text, path


# patient-controlled fields.

CONTACTS = (
    ("telecom", [{"system": "phone", "value": "1"}]), ("address", [{"city": "Bonn"}]),
    ("communication", [{"language": {"coding": [{"code": "de"}]}, "preferred": True}]),
    ("contact", [{"name": {"family": "Mum"}, "telecom": [{"value": "2"}]}]),
)  # fmt: skip


@pytest.mark.requirement("R-7.20", "R-5.1")
@pytest.mark.parametrize(("element", "value"), CONTACTS)
async def test_a_patient_changes_own_contact_details(world: Harness, element: str, value: Any) -> None:
    answer = await world.patch("Patient/anna", [{"op": "add", "path": f"/{element}", "value": value}], "anna")
    assert answer.status_code == 200, answer.text
    assert (await world.stored("Patient/anna"))[element] == value
    merge = {"Content-Type": "application/merge-patch+json"}
    again = await world.send("PATCH", "Patient/anna", "anna", json_={element: None}, headers=merge)
    assert again.status_code == 200, again.text
    assert element not in await world.stored("Patient/anna")
    for who in ("ben", "nobody"):
        other = await world.patch(f"Patient/{who}", [{"op": "add", "path": f"/{element}", "value": value}], "anna")
        assert other.status_code == 404


@pytest.mark.requirement("R-7.20", "R-5.1")
@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "path": "/birthDate", "value": "1980-01-01"}],
        [{"op": "replace", "path": "/name/0/family", "value": "Other"}],
        [{"op": "add", "path": "/generalPractitioner", "value": [{"reference": "Practitioner/dr-lee"}]}],
        [{"op": "add", "path": "/identifier", "value": [{"value": "1"}]}],
        [{"op": "add", "path": "/link", "value": []}],
        [{"op": "add", "path": "/meta/tag", "value": [{"code": "x"}]}],
        [{"op": "replace", "path": "/meta/security", "value": []}],
        [{"op": "add", "path": "/managingOrganization", "value": {"reference": "Organization/o"}}],
        [{"op": "move", "from": "/name", "path": "/contact/0/name"}],
        [{"op": "copy", "from": "/name/0", "path": "/contact/0/name"}],
        [{"op": "test", "path": "/name/0/family", "value": "Anna"}],
        [{"op": "replace", "path": "", "value": {}}],
        [{"op": "add", "path": "/telecom", "value": [{"value": "1"}]}, {"op": "remove", "path": "/name"}],
    ],
)
async def test_a_patient_changes_nothing_else_of_their_identity(world: Harness, operations: Any) -> None:
    before = await world.stored("Patient/anna")
    answer = await world.patch("Patient/anna", operations, "anna")
    assert answer.status_code == 403, answer.text
    assert await world.stored("Patient/anna") == before


@pytest.mark.requirement("R-7.20")
async def test_a_patient_puts_no_whole_identity(world: Harness) -> None:
    whole = await world.stored("Patient/anna")
    assert (await world.put(whole | {"telecom": []}, "anna")).status_code in (403, 422)
    assert (await world.put(whole, "anna")).status_code == 403
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": "Patient.name"}]}]}  # fmt: skip
    headers = {"Content-Type": "application/fhir+json"}
    answer = await world.send("PATCH", "Patient/anna", "anna", json_=parameters, headers=headers)
    assert answer.status_code == 403
    meta = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
    assert (await world.send("POST", "Patient/anna/$meta-add", "anna", json_=meta)).status_code == 403


# other patients in a shared Appointment.


@pytest.mark.requirement("R-7.22")
async def test_other_patients_in_a_shared_appointment_are_left_out(world: Harness) -> None:
    shared = world.shared  # type: ignore[attr-defined]
    for path in (shared, f"{shared}/_history", f"{shared}/_history/1", "Appointment",
                 "Appointment?_elements=participant",
                 "Appointment?_include=Appointment:patient", "Appointment?_include=Appointment:actor",
                 "Patient/anna/Appointment", "Patient/anna/$everything", "Appointment?patient=Patient/anna",
                 "Patient?_revinclude=Appointment:patient", "Appointment/_history", "_history"):  # fmt: skip
        answer = await world.get(path, "anna")
        assert answer.status_code == 200, (path, answer.text)
        assert "Patient/anna" in answer.text, path
        assert SECRET not in answer.text, path
        assert "Patient/ben" not in answer.text, path
        assert "tentative" not in answer.text, path
    assert "Patient/ben" in (await world.get(shared, "sam")).text


HIDDEN = {"resourceType": "Patient", "id": "p2", "name": [{"family": SECRET}]}
OTHERS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "local": ({"reference": "Patient/ben", "display": SECRET}, []),
    "version": ({"reference": "Patient/ben/_history/1", "display": SECRET}, []),
    "contained": ({"reference": "#p2"}, [HIDDEN]),
    "logical": ({"identifier": {"system": "urn:mrn", "value": SECRET}}, []),
    "in words": ({"display": SECRET}, []),
    "elsewhere": ({"reference": f"https://other.example/fhir/Patient/{SECRET}"}, []),
    "typed": ({"reference": f"https://other.example/{SECRET}", "type": "Patient"}, []),
    "untold": ({"reference": f"https://other.example/{SECRET}"}, []),
    "relative": ({"reference": "https://other.example/fhir/RelatedPerson/9", "display": SECRET}, []),
}  # fmt: skip
STAFF = {"reference": "Practitioner/dr-lee", "display": "Dr. Lee"}
ROOM = {"reference": "https://other.example/fhir/Location/room-1"}
NARRATIVE = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{SECRET}</div>'}


@pytest.mark.requirement("R-7.22")
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize(
    ("caller", "status"),
    [("anna", "booked"), ("anna", "proposed"), ("anna-on-website", "proposed"), ("anna-on-website", "pending")],
)
async def test_other_patients_are_left_out_however_they_are_named(
    world: Harness, kind: str, caller: str, status: str
) -> None:
    """Whoever cannot be told to be no patient counts as one."""
    other, inner = OTHERS[kind]
    shared = appointment("", status, "anna", start=world.at(DAY * 3), end=world.at(DAY * 3 + 30 * MINUTE))
    del shared["id"]
    shared["participant"] += [{"actor": actor, "status": "tentative"} for actor in (other, STAFF, ROOM)]
    shared |= {"text": NARRATIVE} | ({"contained": inner} if inner else {})
    made = await world.create(shared, "sam")
    assert made.status_code == 201, made.text
    path = f"Appointment/{made.json()['id']}"
    for each in (path, f"{path}/_history", f"{path}/_history/1", f"Appointment?_id={made.json()['id']}"):
        answer = await world.get(each, caller)
        assert answer.status_code == 200, (each, answer.text)
        assert SECRET not in answer.text, each
        assert "Patient/ben" not in answer.text, each
    seen = (await world.get(path, caller)).json()["participant"]
    assert [each["actor"]["reference"] for each in seen] == ["Patient/anna", STAFF["reference"], ROOM["reference"]]
    reference = other.get("reference", f"https://other.example/fhir/Patient/{SECRET}")
    found = await world.get(f"Appointment?actor={quote(reference)}", caller)
    assert found.status_code == 400 or ids(found) == []


@pytest.mark.requirement("R-7.22")
@pytest.mark.parametrize("kind", OTHERS)
async def test_other_patients_of_a_message_are_left_out(world: Harness, kind: str) -> None:
    """A Communication is shown to each of its recipients, and of each to nobody else."""
    other, inner = OTHERS[kind]
    mine = {"reference": "Patient/anna"}
    message = {"resourceType": "Communication", "status": "completed", "sender": STAFF, "recipient": [other, mine],
               "subject": other, "about": [other, ROOM], "text": NARRATIVE,
               "payload": [{"contentString": "The clinic is closed."}]}  # fmt: skip
    made = await world.create(message | ({"contained": inner} if inner else {}), "admin")
    assert made.status_code == 201, made.text
    path = f"Communication/{made.json()['id']}"
    for each in (path, f"{path}/_history/1", "Communication", "Patient/anna/$everything",
                 "Communication?recipient=Patient/anna", "Communication?sender=Practitioner/dr-lee"):  # fmt: skip
        answer = await world.get(each, "anna")
        assert answer.status_code == 200, (each, answer.text)
        assert SECRET not in answer.text, each
        assert "Patient/ben" not in answer.text, each
        assert "The clinic is closed." in answer.text, each
    seen = (await world.get(path, "anna")).json()
    assert (seen["sender"], seen["recipient"], seen["about"]) == (STAFF, [mine], [ROOM])
    for name in ("recipient", "subject", "patient", "sender"):
        reference = other.get("reference", "Patient/ben")
        found = await world.get(f"Communication?{name}={quote(reference)}", "anna")
        assert found.status_code in (400, 403) or ids(found) == [], name


@pytest.mark.requirement("R-7.22")
@pytest.mark.parametrize(
    "query",
    ["recipient=ben", "recipient:identifier=x", "recipient:missing=false", "subject:missing=true", "_sort=recipient",
     "recipient:Patient.name=hidden-value", "_sort=subject", "_text=hidden-value", "recipient=RelatedPerson/anna"],
)  # fmt: skip
async def test_other_patients_of_a_message_are_not_found(world: Harness, query: str) -> None:
    both = [{"reference": f"Patient/{who}", "display": SECRET} for who in ("ben", "anna")]
    message = {"resourceType": "Communication", "status": "completed", "subject": both[0], "recipient": both}
    assert (await world.create(message, "admin")).status_code == 201
    answer = await world.get(f"Communication?{query}", "anna")
    assert answer.status_code in (400, 403) or ids(answer) == [], answer.text


@pytest.mark.requirement("R-7.22")
async def test_a_message_that_is_shared_with_nobody_is_shown_whole(world: Harness) -> None:
    mine = {"reference": "Patient/anna"}
    message = {"resourceType": "Communication", "status": "completed", "sender": STAFF, "recipient": [mine],
               "subject": mine, "text": NARRATIVE}  # fmt: skip
    made = (await world.create(message, "admin")).json()
    assert (await world.get(f"Communication/{made['id']}", "anna")).json() == made


@pytest.mark.requirement("R-7.22")
async def test_a_clinic_s_own_parameter_finds_no_other_patient(world: Harness) -> None:
    own = {"resourceType": "SearchParameter", "status": "active", "code": "who", "name": "Who", "description": "who",
           "url": "http://clinic.example/SearchParameter/who", "base": ["Appointment"], "type": "reference",
           "expression": "Appointment.participant.actor", "target": ["Patient"]}  # fmt: skip
    assert (await world.create(own, "admin")).status_code == 201
    assert (await world.get("Appointment?who=Patient/ben", "sam")).status_code == 200
    for query in ("who=Patient/ben", "who=Patient/anna", "_sort=who"):
        assert (await world.get(f"Appointment?{query}", "anna")).status_code == 403, query


@pytest.mark.requirement("R-7.22")
@pytest.mark.parametrize(
    "query",
    ["patient=Patient/ben", "patient=ben", "actor=Patient/ben", "actor=ben", "patient.name=hidden-value",
     "patient:Patient._id=ben", "actor:Patient.name=hidden-value", "part-status=tentative", "_content=hidden-value",
     "_text=hidden-value", "patient:identifier=x", "_sort=patient", "_sort=-actor",
     "_has:AppointmentResponse:appointment:patient=ben"],
)  # fmt: skip
async def test_other_patients_of_a_shared_appointment_are_not_found(world: Harness, query: str) -> None:
    answer = await world.get(f"Appointment?{query}", "anna")
    assert answer.status_code in (400, 403) or ids(answer) == [], answer.text
    reached = await world.get("Patient?_has:Appointment:patient:patient=Patient/ben", "anna")
    assert reached.status_code == 403 or ids(reached) == []


@pytest.mark.requirement("R-7.22")
async def test_a_shared_appointment_is_tested_by_patch_in_no_hidden_part(world: Harness) -> None:
    test = [{"op": "test", "path": "/participant/1/actor/reference", "value": "Patient/ben"}, *_CANCEL]
    assert (await world.patch(world.shared, test, "anna")).status_code == 403  # type: ignore[attr-defined]
    answer = await world.patch(world.shared, _CANCEL, "anna")  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    assert "Patient/ben" in str(await world.stored(world.shared))  # type: ignore[attr-defined]


_CANCEL = [{"op": "replace", "path": "/status", "value": "cancelled"}]
