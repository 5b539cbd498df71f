"""Every prefix × written precision of numbers and quantities, every modifier × parameter type (FHIR R4 search.html).

Dates have their table in `test_dates`.
"""

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.fhir.errors import BadRequest
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import matches
from tests.search.cases import NOW
from tests.search.test_queries import PARSER, REGISTRY

EXTRACTOR = Extractor(REGISTRY, texts=True)
STORED = ("-100", "50", "95", "99.4", "99.5", "100", "100.4", "100.5", "105", "110", "150")
PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_EQUAL = {  # by the written precision: [99.5, 100.5), [99.95, 100.05), [95, 105)
    "100": {"99.5", "100", "100.4"},
    "100.0": {"100"},
    "1e2": {"95", "99.4", "99.5", "100", "100.4", "100.5"},
}
# Other prefixes compare with the number itself, whatever its precision.
_ABOVE = {"100.4", "100.5", "105", "110", "150"}
_BELOW = {"-100", "50", "95", "99.4", "99.5"}
_NEAR = {"95", "99.4", "99.5", "100", "100.4", "100.5", "105", "110"}  # a tenth either way


def expected(prefix: str, sought: str) -> set[str]:
    match prefix:
        case "ne":
            return set(STORED) - _EQUAL[sought]
        case "gt" | "sa":
            return _ABOVE
        case "lt" | "eb":
            return _BELOW
        case "ge":
            return _ABOVE | {"100"}
        case "le":
            return _BELOW | {"100"}
        case "ap":
            return _NEAR
    return _EQUAL[sought]


def _of(kind: str, value: Any) -> dict[str, Any]:
    quantity = {"value": value, "system": "http://unitsofmeasure.org", "code": "mg"}
    code = {"coding": [{"code": "c"}]}
    return {
        "number": {"resourceType": "ChargeItem", "factorOverride": value},
        "numbers": {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": value}]},
        "quantity": {"resourceType": "Observation", "valueQuantity": quantity},
        "quantities": {"resourceType": "Observation", "component": [{"code": code, "valueQuantity": quantity}]},
    }[kind]


@pytest.mark.parametrize("sought", ["100", "100.0", "1e2"])
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("kind", "param", "unit"),
    [
        ("number", "factor-override", ""),
        ("numbers", "probability", ""),
        ("quantity", "value-quantity", ""),
        ("quantity", "value-quantity", "||mg"),
        ("quantity", "value-quantity", "|http://unitsofmeasure.org|mg"),
        ("quantities", "component-value-quantity", ""),
        ("quantities", "component-value-quantity", "|http://unitsofmeasure.org|mg"),
    ],
)
def test_prefix_and_precision(kind: str, param: str, unit: str, prefix: str, sought: str) -> None:
    type_ = _of(kind, 0)["resourceType"]
    where = PARSER.parse(type_, [(param, f"{prefix}{sought}{unit}")], NOW).where
    found = {text for text in STORED if matches(where, EXTRACTOR.entries(_of(kind, Decimal(text))))}
    assert found == expected(prefix, sought)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_of_what_is_not_there_finds_nothing(prefix: str) -> None:
    for type_, param in (
        ("ChargeItem", "factor-override"),
        ("Observation", "value-quantity"),
        ("Patient", "birthdate"),
    ):
        sought = "2000" if param == "birthdate" else "100"
        where = PARSER.parse(type_, [(param, f"{prefix}{sought}")], NOW).where
        assert not matches(where, EXTRACTOR.entries({"resourceType": type_})), (type_, prefix)


CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
RESOURCES: dict[str, dict[str, Any]] = {
    "string": {"resourceType": "Patient", "id": "r", "name": [{"family": "Müller"}]},
    "token": {"resourceType": "Condition", "id": "r",
              "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "relapse", "display": "Again"}]},
              "identifier": [{"system": "urn:mrn", "value": "1",
                              "type": {"coding": [{"system": "urn:t", "code": "MR"}]}}]},
    "date": {"resourceType": "Patient", "id": "r", "birthDate": "2000-01-01"},
    "number": {"resourceType": "RiskAssessment", "id": "r", "prediction": [{"probabilityDecimal": 1}]},
    "quantity": {"resourceType": "Observation", "id": "r", "valueQuantity": {"value": 1}},
    "reference": {"resourceType": "Encounter", "id": "r",
                  "subject": {"reference": "Patient/p", "identifier": {"system": "urn:mrn", "value": "1"}}},
    "composite": {"resourceType": "Observation", "id": "r", "code": {"coding": [{"code": "c"}]},
                  "valueQuantity": {"value": 1}},
    "uri": {"resourceType": "ValueSet", "id": "r", "url": "http://example.org/a/b"},
    "special": {"resourceType": "Location", "id": "r", "position": {"latitude": 52.5, "longitude": 13.4}},
}  # fmt: skip
PARAMS = {
    "string": "family", "token": "clinical-status", "date": "birthdate", "number": "probability",
    "quantity": "value-quantity", "reference": "subject", "composite": "code-value-quantity", "uri": "url",
    "special": "near",
}  # fmt: skip
# (type, modifier) -> a value that finds, one that does not. What is not here is refused.
ALLOWED: dict[tuple[str, str], tuple[str, str]] = {
    **{(type_, "missing"): ("false", "true") for type_ in PARAMS if type_ not in ("composite", "special")},
    ("string", "exact"): ("Müller", "müller"),
    ("string", "contains"): ("ull", "x"),
    ("token", "text"): ("again", "gain"),
    ("token", "not"): ("active", "relapse"),
    ("token", "above"): (f"{CLINICAL}|relapse", f"{CLINICAL}|active"),
    ("token", "below"): (f"{CLINICAL}|active", f"{CLINICAL}|inactive"),
    ("token", "in"): ("http://hl7.org/fhir/ValueSet/condition-clinical",
                      "http://hl7.org/fhir/ValueSet/administrative-gender"),
    ("token", "not-in"): ("http://hl7.org/fhir/ValueSet/administrative-gender",
                          "http://hl7.org/fhir/ValueSet/condition-clinical"),
    ("token", "of-type"): ("urn:t|MR|1", "urn:t|MR|2"),
    ("reference", "identifier"): ("urn:mrn|1", "urn:mrn|2"),
    ("reference", "Patient"): ("p", "q"),
    ("uri", "above"): ("http://example.org/a/b/c", "http://example.org/a"),
    ("uri", "below"): ("http://example.org/a", "http://example.org/a/b/c"),
}  # fmt: skip
MODIFIERS = (
    "missing", "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier", "Patient",
    "iterate", "colour",
)  # fmt: skip


@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("type_", PARAMS)
def test_modifier_and_type(type_: str, modifier: str) -> None:
    """An inapplicable modifier is 400, and the issue names the parameter."""
    resource = RESOURCES[type_]
    param = "identifier" if modifier == "of-type" and type_ == "token" else PARAMS[type_]
    name = f"{param}:{modifier}"
    allowed = ALLOWED.get((type_, modifier))
    if allowed is None:
        with pytest.raises(BadRequest) as caught:
            PARSER.parse(resource["resourceType"], [(name, "1")], NOW)
        assert caught.value.issues[0].expression == name
        return
    entries = EXTRACTOR.entries(resource)
    found = [matches(PARSER.parse(resource["resourceType"], [(name, v)], NOW).where, entries) for v in allowed]
    assert found == [True, False]
