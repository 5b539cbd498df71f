"""Before, at and after the visit: preparation and forms, the provider's day, what the patient reads then (IS-01 §4)."""

from typing import Any

import pytest

from fhir_server.fhir import own
from tests.harness import (
    DAY,
    Harness,
    appointment,
    cared_for,
    ids,
    issue,
    practitioner,
    schedule,
    service,
    to_status,
)

FORM: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "id": "intake",
    "url": "https://clinic.example/forms/intake",
    "version": "2",
    "status": "active",
    "item": [
        {"linkId": "allergies", "text": "Any allergies?", "type": "string", "required": True},
        {"linkId": "more", "text": "More", "type": "group", "item": [{"linkId": "pets", "type": "string"}]},
    ],
}
ALLERGIES = {"linkId": "allergies", "answer": [{"valueString": "none"}]}


@pytest.fixture
async def care(harness: Harness) -> Harness:
    """A clinic whose service asks for a form and says how to prepare."""
    care = service("care", cancellation_window_hours=24)
    care["telecom"] = [{"system": "email", "value": "x@y.z"}, {"system": "phone", "value": "+49 30 1234"}]
    care.setdefault("extension", []).extend(
        [
            {"url": own.INTAKE, "valueReference": {"reference": "Questionnaire/intake"}},
            {"url": own.PREPARATION, "valueString": "Come with an empty stomach."},
        ]
    )
    await harness.seed(
        *map(practitioner, ("dr-lee", "sam")),
        *(cared_for(each, "dr-lee") for each in ("anna", "ben")),
        FORM,
        care,
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
        harness.slot("later", 30 * DAY),
    )
    return harness


async def booked(care: Harness, slot: str = "s") -> str:
    """Anna proposes, and Dr. Lee confirms."""
    wanted = appointment("", "proposed", "anna", slot)
    del wanted["id"]
    made = await care.create(wanted, "anna")
    assert made.status_code == 201, made.text
    path = f"Appointment/{made.json()['id']}"
    assert (await care.patch(path, to_status("booked"))).status_code == 200
    return path


def answers(status: str = "completed", **more: Any) -> dict[str, Any]:
    made = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{FORM['url']}|2",
        "status": status,
        "subject": {"reference": "Patient/anna"},
        "item": [ALLERGIES],
    }
    return made | more


@pytest.mark.requirement("R-4.7")
async def test_patient_sees_details_forms_and_preparation_and_answers(care: Harness) -> None:
    path = await booked(care)
    seen = (await care.get(path, "anna")).json()
    assert seen["patientInstruction"] == "Come with an empty stomach."
    assert seen["supportingInformation"] == [{"reference": "Questionnaire/intake"}]
    form = await care.get(seen["supportingInformation"][0]["reference"], "anna")
    assert form.json()["item"][0]["linkId"] == "allergies"
    assert ids(await care.get(f"Questionnaire?url={FORM['url']}", "anna")) == ["intake"]
    begun = await care.create(answers("in-progress"), "anna")
    assert begun.status_code == 201, begun.text
    whole = begun.json() | {"status": "completed", "item": [ALLERGIES]}
    assert (await care.put(whole, "anna")).status_code == 200
    assert (await care.put(whole | {"status": "amended"}, "anna")).status_code == 200
    # Her doctor reads them before the visit; nobody else's patient does.
    found = f"QuestionnaireResponse?subject=Patient/anna&questionnaire={FORM['url']}"
    assert ids(await care.get(found, "dr-lee")) == [whole["id"]]
    assert (await care.get(f"QuestionnaireResponse/{whole['id']}", "ben")).status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "at"),
    [
        ({"questionnaire": "https://clinic.example/forms/other"}, 422, "QuestionnaireResponse.questionnaire"),
        ({"questionnaire": f"{FORM['url']}|1"}, 422, "QuestionnaireResponse.questionnaire"),
        ({"questionnaire": "Questionnaire/nothing"}, 422, "QuestionnaireResponse.questionnaire"),
        ({"questionnaire": None}, 422, "QuestionnaireResponse.questionnaire"),
        ({"item": None}, 422, "QuestionnaireResponse.item"),
        ({"item": [{"linkId": "allergies"}]}, 422, "QuestionnaireResponse.item"),
        ({"item": [ALLERGIES, {"linkId": "wage"}]}, 422, "QuestionnaireResponse.item[1].linkId"),
        ({"item": [ALLERGIES, {"linkId": "more", "item": [{"linkId": "x"}]}]}, 422,
         "QuestionnaireResponse.item[1].item[0].linkId"),
        ({"status": "amended"}, 422, "QuestionnaireResponse.status"),
        ({"status": "entered-in-error"}, 422, "QuestionnaireResponse.status"),
        ({"author": {"reference": "Practitioner/dr-lee"}}, 403, "QuestionnaireResponse.author"),
        ({"source": {"reference": "Patient/ben"}}, 403, "QuestionnaireResponse.source"),
    ],
)  # fmt: skip
@pytest.mark.requirement("R-4.7", "R-7.20")
async def test_answers_that_are_none_are_refused(care: Harness, change: dict[str, Any], status: int, at: str) -> None:
    before = await care.versions()
    wanted = {name: value for name, value in (answers() | change).items() if value is not None}
    answer = await care.create(wanted, "anna")
    assert answer.status_code == status, answer.text
    assert issue(answer)["expression"] == [at]
    assert await care.versions() == before
    assert (await care.create(answers(), "anna")).status_code == 201


@pytest.mark.requirement("R-4.7", "R-7.20")
async def test_answers_for_another_patient_are_refused(care: Harness) -> None:
    assert (await care.create(answers(), "ben")).status_code == 403


@pytest.mark.requirement("R-4.7")
async def test_answers_that_stand_are_amended_only(care: Harness) -> None:
    made = (await care.create(answers(questionnaire="Questionnaire/intake"), "anna")).json()
    refused = await care.put(made | {"status": "in-progress"}, "anna")
    assert refused.status_code == 422
    assert "amended" in issue(refused)["diagnostics"]
    refused = await care.put(made | {"status": "amended", "item": [{"linkId": "more"}]}, "anna")
    assert issue(refused)["expression"] == ["QuestionnaireResponse.item"]


LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
BY_LEE = {"reference": "Practitioner/dr-lee"}


@pytest.mark.requirement("R-7.20", "R-7.22")
async def test_a_restricted_assessment_is_not_there_for_its_patient(care: Harness) -> None:
    made = (await care.create(answers(meta={"security": [LABEL]}, author=BY_LEE, source=BY_LEE), "dr-lee")).json()
    path = f"QuestionnaireResponse/{made['id']}"
    for each in (path, f"{path}/_history", f"{path}/_history/1", f"{path}/$meta"):
        assert (await care.get(each, "anna")).status_code == 404, each
    assert ids(await care.get("QuestionnaireResponse", "anna")) == []
    assert (await care.put(answers("amended", id=made["id"]), "anna")).status_code == 404
    removal = [{"op": "remove", "path": "/meta/security"}]
    assert (await care.patch(path, removal, "anna")).status_code == 404
    assert (await care.stored(path))["meta"]["versionId"] == "1"


@pytest.mark.parametrize(
    "by",
    [{"author": BY_LEE, "source": BY_LEE}, {"author": BY_LEE}, {"source": BY_LEE},
     {"author": {"identifier": {"value": "1"}, "display": "Dr. Lee"}}, {"source": {"reference": "#lee"}, "contained": [
         {"resourceType": "Practitioner", "id": "lee", "name": [{"family": "Lee"}]}]},
     {"author": {"reference": "Patient/ben"}}],
)  # fmt: skip
@pytest.mark.requirement("R-7.20")
async def test_a_patient_changes_no_answers_of_others(care: Harness, by: dict[str, Any]) -> None:
    """They are read, and stay as they were, whatever the new version says of who gave them."""
    made = (await care.create(answers(**by), "dr-lee")).json()
    path = f"QuestionnaireResponse/{made['id']}"
    assert (await care.get(path, "anna")).status_code == 200
    mine = {"reference": "Patient/anna"}
    for whole in (answers("amended"), answers("amended", author=mine, source=mine)):
        assert (await care.put(whole | {"id": made["id"]}, "anna")).status_code in (403, 404)
    change = [{"op": "replace", "path": "/status", "value": "amended"}]
    taken = [{"op": "remove", "path": f"/{name}"} for name in by if name != "contained"]
    assert (await care.patch(path, [*taken, *change], "anna")).status_code in (403, 404)
    assert await care.stored(path) == made


@pytest.mark.requirement("R-7.20", "R-7.22")
async def test_amended_answers_keep_whose_they_are_and_their_labels(care: Harness) -> None:
    mine, label = {"reference": "Patient/anna"}, LABEL | {"code": "M"}
    made = (await care.create(answers(author=mine, source=mine, meta={"security": [label]}), "anna")).json()
    amended = await care.put(answers("amended", id=made["id"]), "anna")
    assert amended.status_code == 200, amended.text
    stored = await care.stored(f"QuestionnaireResponse/{made['id']}")
    assert (stored.get("author"), stored.get("source")) == (mine, mine)
    assert stored["meta"].get("security") == [label]
    again = await care.put(answers("amended", id=made["id"], meta={"security": [label]}), "anna")
    assert again.json()["meta"]["security"] == [label]


@pytest.mark.parametrize(
    "extension",
    [
        {"url": own.INTAKE, "valueReference": {"reference": "Questionnaire/nothing"}},
        {"url": own.INTAKE, "valueReference": {"reference": "Patient/anna"}},
        {"url": own.INTAKE, "valueString": "Questionnaire/intake"},
        {"url": own.PREPARATION, "valueBoolean": True},
    ],
)
async def test_forms_of_a_service_are_forms_of_the_clinic(care: Harness, extension: dict[str, Any]) -> None:
    answer = await care.put(service("care") | {"extension": [extension]})
    assert answer.status_code == 422, answer.text
    assert issue(answer)["expression"] == ["HealthcareService.extension[0]"]


@pytest.mark.requirement("R-4.7", "R-10.2")
async def test_what_the_rule_confirms_is_prepared_too(care: Harness) -> None:
    quick = (await care.stored("HealthcareService/care"))["extension"]
    rules = {
        "url": own.BOOKING_RULES,
        "extension": service("x", auto_confirm=True, risk="low")["extension"][0]["extension"],
    }
    await care.seed(service("care") | {"extension": [*[e for e in quick if e["url"] != own.BOOKING_RULES], rules]})
    wanted = appointment("", "proposed", "anna", "s")
    del wanted["id"]
    made = await care.create(wanted, "anna")
    assert made.json()["status"] == "booked"
    assert made.json()["supportingInformation"] == [{"reference": "Questionnaire/intake"}]


def encounter(path: str, status: str = "in-progress", who: str = "anna") -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{who}"},
        "appointment": [{"reference": path}],
    }


@pytest.mark.requirement("R-4.8", "R-4.9", "R-7.11", "R-7.12")
async def test_the_day_of_the_provider_and_what_the_patient_reads_after(care: Harness) -> None:
    """Arrive, check in, Encounter, fulfil; then the summary, the care plan and the follow-up, and a new proposal."""
    path = await booked(care)
    day = f"Appointment?practitioner=Practitioner/dr-lee&date={care.at(2 * DAY)[:10]}&status=booked&_sort=date"
    assert ids(await care.get(day, "dr-lee")) == [path.partition("/")[2]]
    for status, who in (("arrived", "sam"), ("checked-in", "sam")):
        assert (await care.patch(path, to_status(status), who)).status_code == 200
    visit = (await care.create(encounter(path), "dr-lee")).json()
    here = {"subject": {"reference": "Patient/anna"}}
    assert (await care.get(f"Encounter/{visit['id']}", "anna")).status_code == 404, "not before it is finished"
    summary = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "title": "Visit summary"}}],
        "context": {"encounter": [{"reference": f"Encounter/{visit['id']}"}]},
    } | here
    plan = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "description": "Rest, and drink a lot.",
        "encounter": {"reference": f"Encounter/{visit['id']}"},
    } | here
    follow_up = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": {"text": "Look again in a month"},
        "encounter": {"reference": f"Encounter/{visit['id']}"},
    } | here
    made = {}
    for resource in (summary, plan, follow_up):
        answer = await care.create(resource, "dr-lee")
        assert answer.status_code == 201, answer.text
        made[resource["resourceType"]] = answer.json()["id"]
    draft = await care.create(plan | {"status": "draft"}, "dr-lee")
    assert (await care.put(visit | {"status": "finished"}, "dr-lee")).status_code == 200
    assert (await care.patch(path, to_status("fulfilled"))).status_code == 200
    # Afterwards she reads all of it, as her care team left it; nobody else does.
    made["Encounter"] = visit["id"]
    for type_, id_ in made.items():
        assert ids(await care.get(f"{type_}?patient=Patient/anna", "anna")) == [id_]
        assert ids(await care.get(f"{type_}", "ben")) == []
        assert (await care.get(f"{type_}/{id_}", "sam")).status_code == 403, "the front desk sees nothing clinical"
    assert (await care.get(f"CarePlan/{draft.json()['id']}", "anna")).status_code == 404
    assert (await care.get(path, "anna")).json()["status"] == "fulfilled"
    # And the cycle repeats.
    again = appointment("", "proposed", "anna", "later")
    again["basedOn"] = [{"reference": f"ServiceRequest/{made['ServiceRequest']}"}]
    del again["id"]
    assert (await care.create(again, "anna")).status_code == 201


@pytest.mark.requirement("R-4.9", "R-7.10")
async def test_a_follow_up_of_somebody_else_is_not_there(care: Harness) -> None:
    request = {"resourceType": "ServiceRequest", "id": "ben-s", "status": "active", "intent": "order"}
    await care.seed(request | {"subject": {"reference": "Patient/ben"}})
    wanted = appointment("", "proposed", "anna", "s")
    del wanted["id"]
    for reference in ("ServiceRequest/ben-s", "ServiceRequest/nothing", "CarePlan/x"):
        answer = await care.create(wanted | {"basedOn": [{"reference": reference}]}, "anna")
        assert answer.status_code == 422
        assert issue(answer)["expression"][0].startswith("Appointment.basedOn[0]")


@pytest.mark.requirement("R-4.8")
async def test_an_encounter_belongs_to_its_appointment(care: Harness) -> None:
    path = await booked(care)
    refused = await care.create(encounter(path, who="ben"), "dr-lee")
    assert (refused.status_code, issue(refused)["expression"]) == (422, ["Encounter.appointment[0]"])
    assert (await care.create(encounter("Appointment/nothing"), "dr-lee")).status_code == 422
    planned = await care.create(encounter(path, "planned"), "dr-lee")
    assert planned.status_code == 201
    await care.patch(path, to_status("cancelled"))
    begun = await care.put(planned.json() | {"status": "in-progress"}, "dr-lee")
    assert (begun.status_code, "cancelled" in issue(begun)["diagnostics"]) == (422, True)


@pytest.mark.requirement("R-4.8", "R-10.3")
async def test_no_show_gives_the_time_back_and_is_told(care: Harness) -> None:
    path = await booked(care)
    assert (await care.patch(path, to_status("noshow"), "sam")).status_code == 200
    assert (await care.stored("Slot/s"))["status"] == "free"
    assert (await care.get(path, "anna")).json()["status"] == "noshow"
    refused = await care.patch(path, to_status("booked"))
    assert refused.status_code == 422
    assert "entered-in-error" in issue(refused)["diagnostics"]


@pytest.mark.requirement("R-10.4")
async def test_too_late_to_cancel_says_whom_to_call(care: Harness) -> None:
    path = await booked(care)
    care.clock.advance(int(1.5 * DAY))
    refused = await care.patch(path, to_status("cancelled"), "anna")
    assert refused.status_code == 422
    assert "+49 30 1234" in issue(refused)["diagnostics"]
    assert "x@y.z" not in issue(refused)["diagnostics"]
