"""How alike two people are: what `Patient/$match` scores, and why (FHIR R4 patient-operation-match.html).

Deterministic: an identifier of the same system and value is the same person. Scored: each thing that agrees adds its
weight, each that contradicts takes it away; the reasons are told.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fhir_server.search.text import fold

Resource = dict[str, Any]
Grade = Literal["certain", "probable", "possible", "certainly-not"]

# (what, weight when it agrees, weight when both say it and differ)
_WEIGHTS = (
    ("family", 0.25, 0.25),
    ("given", 0.15, 0.10),
    ("birthDate", 0.35, 0.45),
    ("gender", 0.05, 0.15),
    ("telecom", 0.20, 0.00),
    ("postalCode", 0.10, 0.05),
)
_PROBABLE, _POSSIBLE = 0.75, 0.50


@dataclass(frozen=True, slots=True)
class Score:
    """From 0 to 1, its grade, and the reasons in words."""

    value: float
    grade: Grade
    reasons: tuple[str, ...]


def score(sought: Resource, patient: Resource) -> Score:
    """How alike they are."""
    shared = _identifiers(sought) & _identifiers(patient)
    if shared:
        return Score(1.0, "certain", ("the same identifier",))
    value, reasons = 0.0, []
    for what, agrees, differs in _WEIGHTS:
        one, other = _values(sought, what), _values(patient, what)
        if not one or not other:
            continue
        if one & other:
            value += agrees
            reasons.append(f"the same {what}")
        else:
            value -= differs
            reasons.append(f"another {what}")
    value = round(min(max(value, 0.0), 0.99), 2)
    grade: Grade = "probable" if value >= _PROBABLE else "possible" if value >= _POSSIBLE else "certainly-not"
    return Score(value, grade, tuple(reasons))


def _identifiers(patient: Resource) -> set[tuple[str, str]]:
    return {(i["system"], i["value"]) for i in patient.get("identifier", ()) if "system" in i and "value" in i}


def _values(patient: Resource, what: str) -> set[str]:
    match what:
        case "family":
            found: Iterable[str] = (name.get("family", "") for name in patient.get("name", ()))
        case "given":
            found = (given for name in patient.get("name", ()) for given in name.get("given", ())[:1])
        case "telecom":
            found = (_telecom(str(each.get("value", ""))) for each in patient.get("telecom", ()))
        case "postalCode":
            found = (address.get("postalCode", "") for address in patient.get("address", ()))
        case _:
            found = (str(patient.get(what, "")),)
    return {fold(text) for text in found if text}


def _telecom(text: str) -> str:
    if "@" in text:
        return text
    digits = "".join(letter for letter in text if letter.isdigit())
    return digits[-8:]  # with and without the prefixes of country and area
