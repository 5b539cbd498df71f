"""Appointment/$book: book, change or cancel (IHE Scheduling ITI-117).

It gives `booked` only to who may confirm, or by the clinic's own rule. Anyone else's request becomes a proposal, and an
informational OperationOutcome says so (R-10.1; docs/decisions).
"""

from typing import Any

from fhir_server.booking import hold_and_book
from fhir_server.booking.candidates import PREFIX, look_up_candidate
from fhir_server.booking.operations import parameters, result
from fhir_server.booking.states import PATIENTS
from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, NotFound
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.idempotency import once
from fhir_server.interactions.if_match import check_if_match
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

KNOWN = {
    "appointment-reference": ("valueReference", 1),
    "appointment-resource": ("resource", 1),
    "patient-resource": ("resource", None),
    "comment": ("valueString", 1),
}


async def handle(call: Call, repository: Repository) -> Answer:
    """A Bundle with the one Appointment as it is now, and an OperationOutcome where it is only proposed."""
    found = parameters.read(call, KNOWN)
    given: Resource = dict(found["appointment-resource"][0]) if found["appointment-resource"] else {}
    if given and given.get("resourceType") != "Appointment":
        raise BadRequest("'appointment-resource' is an Appointment.", expression="Parameters.parameter")
    if found["comment"]:
        given["comment"] = found["comment"][0]
    stored = await once(call, repository, "Appointment/$book", lambda: _book(call, repository, found, given))
    return result.of_one(call, repository, stored, _informed(stored))


async def _book(call: Call, repository: Repository, found: dict[str, list[Any]], given: Resource) -> Stored:
    match given.get("status"):
        case "booked" if given.get("id"):
            return await _modify(call, repository, found, given)
        case "cancelled" if given.get("id"):
            return await _cancel(call, repository, given)
        case None | "pending" | "proposed":
            return await _new(call, repository, found, given)
        case _:
            raise BadRequest(
                "'appointment-resource' is pending (book anew), or booked or cancelled with the id of an appointment.",
                expression="Parameters.parameter",
            )


async def _new(call: Call, repository: Repository, found: dict[str, list[Any]], given: Resource) -> Stored:
    given = {name: value for name, value in given.items() if name not in ("id", "meta", "status", "resourceType")}
    id_ = _referred(call, found, given)
    _add_people(repository, given, found["patient-resource"])
    if id_ and not id_.startswith(PREFIX):
        held = await hold_and_book.held(repository, id_)
        if held is None:
            raise NotFound("This appointment is neither offered nor held for this caller; search again.")
        return await hold_and_book.book_held(repository, held, given)
    if id_:
        given = await _at_offer(repository, id_, given)
    elif not given:
        raise BadRequest("Give an appointment-reference or an appointment-resource.", code="required")
    status = "booked" if hold_and_book.is_decider(repository) else "proposed"
    return await repository.create({"resourceType": "Appointment", "status": status, **given})


async def _at_offer(repository: Repository, id_: str, given: Resource) -> Resource:
    """What is given, at the time of an offer of `$find`. Raises NotFound."""
    wanted = await look_up_candidate(repository, id_)
    if wanted is None:
        raise NotFound("This time is not available any more; search again.")
    start = min(wanted.slots, key=lambda slot: slot.start).resource["start"]
    end = max(wanted.slots, key=lambda slot: slot.end).resource["end"]
    slots = [{"reference": f"Slot/{slot.stored.id}"} for slot in wanted.slots]
    asked = given.get("requestedPeriod") or [{"start": start, "end": end}]
    return given | {"slot": slots, "start": start, "end": end, "requestedPeriod": asked}


def _referred(call: Call, found: dict[str, list[Any]], given: Resource) -> str:
    """The id of the offered or held appointment; '' when there is none."""
    if found["appointment-reference"]:
        reference = found["appointment-reference"][0]
        return parameters.target(call, reference, "Appointment", "appointment-reference").id
    resource = found["appointment-resource"][0] if found["appointment-resource"] else {}
    return str(resource.get("id", "")) if not given.get("slot") or resource.get("status") == "pending" else ""


def _add_people(repository: Repository, given: Resource, people: list[Resource]) -> None:
    """Patients who are known take part by reference; one who is new stands in the proposal (R-4.3)."""
    for person in people:
        if person.get("resourceType") != "Patient":
            raise BadRequest("'patient-resource' is a Patient.", expression="Parameters.parameter")
        if hold_and_book.is_decider(repository):
            if not person.get("id"):
                raise BadRequest("Staff book for a Patient of the clinic: give its id.", expression="Patient.id")
            reference = f"Patient/{person['id']}"
        elif repository.access.agent.role in PATIENTS:
            reference = f"Patient/{repository.access.agent.patient}"
        else:
            given["contained"] = [*given.get("contained", ()), {**person, "id": "patient"}]
            reference = "#patient"
        there = [p.get("actor", {}).get("reference") for p in given.get("participant", ())]
        if reference not in there:
            new = {"actor": {"reference": reference}, "status": "accepted"}
            given["participant"] = [*given.get("participant", ()), new]


async def _modify(call: Call, repository: Repository, found: dict[str, list[Any]], given: Resource) -> Stored:
    """A new version, at the time of an offer where one is named; its old time kept when the new one cannot be had."""
    if found["appointment-reference"]:
        reference = found["appointment-reference"][0]
        id_ = parameters.target(call, reference, "Appointment", "appointment-reference").id
        given = await _at_offer(repository, id_, given) if id_.startswith(PREFIX) else given
    current = await repository.read("Appointment", given["id"], letter="u")
    check_if_match(call.headers, current)
    assert current.body is not None
    return await repository.update(current, json.parse(current.body) | given)


async def _cancel(call: Call, repository: Repository, given: Resource) -> Stored:
    current = await repository.read("Appointment", given["id"], letter="u")
    check_if_match(call.headers, current)
    assert current.body is not None
    after = json.parse(current.body) | {"status": "cancelled"}
    if given.get("cancelationReason"):
        after["cancelationReason"] = given["cancelationReason"]
    return await repository.update(current, after)


def _informed(stored: Stored) -> list[Issue]:
    assert stored.body is not None
    if json.parse(stored.body)["status"] != "proposed":
        return []
    text = "The time is asked for and not booked yet: a person at the clinic decides on it."
    return [Issue("informational", text, "Appointment.status", severity="information")]
