"""Who a proposal is for: a new person becomes a provisional Patient, a known one stays as they are (R-4.3, R-7.20)."""

import unicodedata
from typing import Any

from fhir_server.fhir import own
from fhir_server.fhir.errors import Forbidden, Unprocessable
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]

PROVISIONAL = {"system": own.IDENTITY, "code": "provisional"}
# What a person who is not verified may say of themselves.
ELEMENTS = frozenset(("resourceType", "id", "name", "telecom", "gender", "birthDate", "address", "communication"))
_RULE = "R-4.3 provisional identity"


async def admit(repository: Repository, proposal: Resource) -> None:
    """Store the contained Patient as a provisional one, in the same Unit, and point the proposal at it."""
    contained = proposal.pop("contained", [])
    if len(contained) != 1 or contained[0].get("resourceType") != "Patient":
        raise Unprocessable(
            "A proposal without a login carries the person as its one contained Patient.",
            expression="Appointment.contained",
        )
    patient = contained[0]
    participant = _participant_of(proposal, f"#{patient.get('id')}")
    _check(patient)
    agent = repository.access.agent
    submitter = {"system": own.SUBMITTER, "code": agent.client_id or "anonymous"}
    resource = {name: value for name, value in patient.items() if name != "id"}
    own.set_tags(resource, [PROVISIONAL, submitter])
    stored = await repository.put(None, resource, rule=_RULE)
    participant["actor"] = {"reference": f"Patient/{stored.id}"}
    participant["status"] = "accepted"


def require_own(repository: Repository, proposal: Resource) -> None:
    """A signed-in patient proposes for themselves: the proposal names them, and no other patient."""
    patient = repository.access.agent.patient
    own_reference = f"Patient/{patient}"
    participants = proposal.setdefault("participant", [])
    named = [p.get("actor", {}).get("reference", "") for p in participants]
    others = [n for n, text in enumerate(named) if "Patient/" in text and text != own_reference]
    if others or "contained" in proposal:
        raise Forbidden("A patient proposes appointments for themselves only.", expression="Appointment.participant")
    if own_reference not in named:
        participants.insert(0, {"actor": {"reference": own_reference}})
    for participant in participants:
        if participant.get("actor", {}).get("reference") == own_reference:
            participant["status"] = "accepted"


def _participant_of(proposal: Resource, reference: str) -> Resource:
    """The one participant who is the contained person; no other patient takes part."""
    participants = proposal.setdefault("participant", [])
    patients = [p for p in participants if names_a_patient(p)]
    if not patients:
        participants.insert(0, {"actor": {"reference": reference}, "status": "accepted"})
        return participants[0]  # type: ignore[no-any-return]
    if len(patients) > 1 or patients[0]["actor"].get("reference") != reference:
        raise Unprocessable(
            f"The one patient who takes part must be the contained one, '{reference}'.",
            expression="Appointment.participant",
        )
    return patients[0]  # type: ignore[no-any-return]


def contacts(person: Resource) -> list[str]:
    """A person's telephone numbers and e-mails, each in one spelling however it was written."""
    found = [_contact(str(telecom.get("value", ""))) for telecom in person.get("telecom", ())]
    return sorted({contact for contact in found if contact})


def _contact(text: str) -> str:
    """'' when it is neither."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if "@" in text:
        address = "".join(text.split()).removeprefix("mailto:")
        return address if address.strip("@") else ""
    # +49 (0)30 and 0049 30 are the same number.
    digits = [str(unicodedata.decimal(letter)) for letter in text.replace("(0)", "") if letter.isdecimal()]
    return "".join(digits).lstrip("0")


def names_a_patient(participant: Resource) -> bool:
    """Whether a participant is a patient, one who comes along too; a reference says more than a type."""
    actor = participant.get("actor", {})
    reference = actor.get("reference", "")
    return reference.startswith("#") or "Patient/" in reference or (not reference and actor.get("type") == "Patient")


def _check(patient: Resource) -> None:
    issues = [
        Issue(
            "business-rule", f"A person who books without a login gives no '{name}'; leave it out.", f"Patient.{name}"
        )
        for name in sorted(patient)
        if name.removeprefix("_") not in ELEMENTS
    ]
    if not patient.get("name"):
        issues.append(Issue("required", "A person who books gives a name.", "Patient.name"))
    if not contacts(patient):
        issues.append(Issue("required", "A person who books gives a telephone number or e-mail.", "Patient.telecom"))
    if issues:
        raise Unprocessable(issues=issues)
