"""What a service is for: the reasons for which `$find` offers its times (docs/operations/find-hold-book.md).

Extensions `service-reason` (valueCodeableConcept) on a HealthcareService; one that has none is for any reason.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir import own
from fhir_server.fhir.outcome import Issue


def of_service(service: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The codes (system, code) of the reasons that a service names."""
    named = [each for each in service.get("extension", ()) if each.get("url") == own.REASON]
    codings = [coding for each in named for coding in each.get("valueCodeableConcept", {}).get("coding", ())]
    return {(coding.get("system", ""), coding.get("code", "")) for coding in codings}


def faults(service: Mapping[str, Any]) -> list[Issue]:
    """What is wrong with the reasons on a service: each has a code with its system."""
    return [
        Issue(
            "value",
            "A reason is given as valueCodeableConcept, with a coding that has system and code.",
            f"HealthcareService.extension[{n}]",
        )
        for n, each in enumerate(service.get("extension", ()))
        if each.get("url") == own.REASON
        and not any(
            "system" in coding and "code" in coding for coding in each.get("valueCodeableConcept", {}).get("coding", ())
        )
    ]
