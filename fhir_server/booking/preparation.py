"""What a patient gets to prepare for a visit: the services' intake forms and words (R-4.7).

On a HealthcareService: extensions `intake-questionnaire` (valueReference to a Questionnaire) and `preparation`
(valueString). Once an appointment is booked, it points at the forms (`supportingInformation`) and carries the words
(`patientInstruction`).
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import json, own
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]


def add(appointment: Resource, wanted: Wanted) -> None:
    """Point an appointment that is booked at the forms of its services; tell how to prepare, where nobody has."""
    there = [each.get("reference") for each in appointment.get("supportingInformation", ())]
    forms = [reference for service in wanted.services for reference in _forms(service)]
    new = [{"reference": form} for form in dict.fromkeys(forms) if form not in there]
    if new:
        appointment["supportingInformation"] = [*appointment.get("supportingInformation", ()), *new]
    texts = [text for service in wanted.services if (text := _text(service))]
    if texts and "patientInstruction" not in appointment:
        appointment["patientInstruction"] = "\n\n".join(dict.fromkeys(texts))


async def faults(repository: Repository, service: Resource) -> list[Issue]:
    """What is wrong with the forms and words of a service: a form is a published Questionnaire of this clinic."""
    issues = []
    for n, extension in enumerate(service.get("extension", ())):
        at = f"HealthcareService.extension[{n}]"
        if extension.get("url") == own.PREPARATION and "valueString" not in extension:
            issues.append(Issue("value", "How to prepare is given as valueString.", at))
        if extension.get("url") == own.INTAKE and not await _is_form(repository, extension):
            text = "An intake form is given as valueReference to a Questionnaire of this clinic that is active."
            issues.append(Issue("value", text, at))
    return issues


async def _is_form(repository: Repository, extension: Mapping[str, Any]) -> bool:
    reference = str(extension.get("valueReference", {}).get("reference", ""))
    target = local_reference(reference, repository.clinic.base_url)
    if target is None or target.type != "Questionnaire":
        return False
    stored = await repository.unit.read("Questionnaire", target.id)
    if stored is None or stored.body is None:
        return repository.is_import  # it may come later
    return bool(json.parse(stored.body).get("status") == "active")


def _forms(service: Resource) -> list[str]:
    found = [each for each in service.get("extension", ()) if each.get("url") == own.INTAKE]
    references = [str(each.get("valueReference", {}).get("reference", "")) for each in found]
    targets = [local_reference(reference) for reference in references]
    return [str(target) if target is not None else text for text, target in zip(references, targets, strict=True)]


def _text(service: Resource) -> str:
    return str((own.extension(service, own.PREPARATION) or {}).get("valueString", ""))
