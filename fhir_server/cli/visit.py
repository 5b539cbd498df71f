"""The demo's steps before, at and after a visit (R-4.7 to R-4.9)."""

from fhir_server.cli.steps import Resource, Steps, told

_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_ANNA = {"reference": "Patient/anna"}


def walk(steps: Steps, appointment: str) -> None:
    """Preparation, the visit itself, and what the patient reads then. Raises StepFailed."""
    _prepare(steps, appointment)
    encounter = _visit(steps, appointment)
    _read_after(steps, encounter)


def _prepare(steps: Steps, appointment: str) -> None:
    with steps.doing("Before the visit Anna reads how to prepare, and fills in the form"):
        seen = steps.get("anna", f"Appointment/{appointment}")
        steps.tell(f"'{seen['patientInstruction']}'")
        form = steps.get("anna", seen["supportingInformation"][0]["reference"])
        items = [{"linkId": item["linkId"], "answer": [{"valueBoolean": False}]} for item in form["item"]]
        answers: Resource = {"resourceType": "QuestionnaireResponse", "questionnaire": form["url"], "subject": _ANNA}
        made = steps.post("anna", answers | {"status": "completed", "item": items})
        steps.expect(made.status_code == 201, told(made))
        read = steps.get("dr-lee", f"QuestionnaireResponse/{made.json()['id']}")
        steps.tell(f"'{form['title']}' is answered, and Dr. Lee reads it: {len(read['item'])} answers")


def _visit(steps: Steps, appointment: str) -> str:
    with steps.doing("At the visit: arrived, checked in, seen, done"):
        for status in ("arrived", "checked-in"):
            answer = steps.patch(appointment, status)
            steps.expect(answer.status_code == 200, told(answer))
        begun: Resource = {"resourceType": "Encounter", "status": "in-progress", "subject": _ANNA}
        begun |= {"class": {"system": _ACT, "code": "AMB"}}
        begun["appointment"] = [{"reference": f"Appointment/{appointment}"}]
        made = steps.post("dr-lee", begun)
        steps.expect(made.status_code == 201, told(made))
        encounter: Resource = made.json()
        here = {"subject": _ANNA, "encounter": {"reference": f"Encounter/{encounter['id']}"}}
        plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "title": "After your vaccination"}
        follow_up = {"resourceType": "ServiceRequest", "status": "active", "intent": "order",
                     "code": {"text": "Flu vaccination next year"}}  # fmt: skip
        for resource in (plan, follow_up):
            stored = steps.post("dr-lee", resource | here)
            steps.expect(stored.status_code == 201, told(stored))
        steps.expect(steps.put("dr-lee", encounter | {"status": "finished"}).status_code == 200, "it is not finished")
        done = steps.patch(appointment, "fulfilled")
        steps.expect(done.status_code == 200, told(done))
        steps.tell(f"Encounter/{encounter['id']} is finished, with a care plan and a follow-up")
    return str(encounter["id"])


def _read_after(steps: Steps, encounter: str) -> None:
    with steps.doing("Afterwards Anna reads the visit, her care plan and what is to follow"):
        visit = steps.get("anna", f"Encounter/{encounter}")
        steps.expect(visit["status"] == "finished", f"the visit is {visit['status']}")
        for type_, words in (("CarePlan", "After your vaccination"), ("ServiceRequest", "Flu vaccination next year")):
            found = steps.get("anna", f"{type_}?encounter=Encounter/{encounter}").get("entry", ())
            texts = [e["resource"].get("title") or e["resource"].get("code", {}).get("text") for e in found]
            steps.expect(texts == [words], f"{type_} shows {texts}")
        steps.tell("all of it is hers to read, and a new proposal may refer to the follow-up")
