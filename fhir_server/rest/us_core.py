"""What the CapabilityStatement says of US Core 6.1.0; tests/spec/test_us_core.py proves each line of it.

Source: http://hl7.org/fhir/us/core/STU6.1/CapabilityStatement-us-core-server.html.
"""

from typing import Any

SERVER = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server|6.1.0"
_PROFILE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-{}|6.1.0"
_COMBINATION = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-search-parameter-combination"

# Type with a profile -> the search parameters that are asked for together.
COMBINATIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "Patient": (
        ("birthdate", "name"),
        ("gender", "name"),
        ("birthdate", "family"),
        ("family", "gender"),
        ("death-date", "family"),
    ),
    "Practitioner": (),
    "PractitionerRole": (),
    "Organization": (),
    "Location": (),
    "RelatedPerson": (("patient", "name"),),
    "Provenance": (),
}


def claims(type_: str) -> dict[str, Any]:
    """The members of `rest.resource` that tell of a type's profile."""
    if type_ not in COMBINATIONS:
        return {}
    made: dict[str, Any] = {"supportedProfile": [_PROFILE.format(type_.lower())]}
    if COMBINATIONS[type_]:
        made["extension"] = [_combination(codes) for codes in COMBINATIONS[type_]]
    return made


def _combination(codes: tuple[str, str]) -> dict[str, Any]:
    return {"url": _COMBINATION, "extension": [{"url": "required", "valueString": code} for code in codes]}
