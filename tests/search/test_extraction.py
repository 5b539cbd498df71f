"""What a resource's values become as index entries (FHIR R4 search.html#ptypes)."""

import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.search import dates, decimals
from fhir_server.search.expressions import UnsupportedExpression
from fhir_server.search.expressions import parse as parse_expression
from fhir_server.search.extract import Extractor
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import SHAPES, Entries
from profiles.definitions import SearchParameter, load
from tests.data.examples import examples

DEFINITIONS = load()
REGISTRY = Registry(DEFINITIONS)
EXTRACTOR = Extractor(REGISTRY, zone=ZoneInfo("Europe/Berlin"), base_url="https://clinic.example/fhir")


def entries(type_: str, **elements: Any) -> Entries:
    return EXTRACTOR.entries({"resourceType": type_, **elements})


def rows(found: Entries, shape: Any, param: str) -> list[tuple[Any, ...]]:
    return [row[1:] for row in found.get(shape, ()) if row[0] == param]


def test_resource_parameters_apply_to_every_type() -> None:
    found = entries(
        "Binary",
        id="b",
        meta={
            "lastUpdated": "2026-01-01T00:00:00.250Z",
            "tag": [{"system": "s", "code": "t"}],
            "profile": ["http://p|1"],
            "source": "urn:s",
        },
    )
    start = 1_767_225_600_250_000
    assert found == {
        "token": [("_id", "b", ""), ("_tag", "t", "s")],
        "date": [("_lastUpdated", start, start + 1000)],
        "uri": [("_profile", "http://p|1"), ("_profile", "http://p"), ("_source", "urn:s")],
    }


def test_a_code_carries_the_system_of_its_required_binding() -> None:
    found = entries("Slot", status="free")
    assert rows(found, "token", "status") == [("free", "http://hl7.org/fhir/slotstatus")]


def test_a_concept_is_each_of_its_codings() -> None:
    concept = {"coding": [{"system": "s", "code": "a"}, {"code": "b"}, {"system": "t"}], "text": "words"}
    found = entries("Slot", serviceType=[concept, {"text": "words"}])
    assert rows(found, "token", "service-type") == [("a", "s"), ("b", ""), ("", "t"), ("", "")]
    assert "string" not in found


def test_texts_of_codes_are_entered_when_asked_for() -> None:
    extractor = Extractor(REGISTRY, texts=True)
    concept = {"coding": [{"code": "a", "display": "Äpfel"}], "text": "Obst"}
    found = extractor.entries({"resourceType": "Slot", "serviceType": [concept]})
    assert rows(found, "string", "service-type") == [("apfel", "Äpfel"), ("obst", "Obst")]


def test_duplicates_are_left_out() -> None:
    actor = {"actor": {"reference": "Patient/1"}, "status": "accepted"}
    found = entries("Appointment", participant=[actor, actor])
    assert rows(found, "reference", "patient") == [("Patient", "1")]
    assert rows(found, "token", "part-status") == [("accepted", "http://hl7.org/fhir/participationstatus")]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Patient/1", [("Patient", "1")]),
        ("Patient/1/_history/2", [("Patient", "1")]),
        ("https://clinic.example/fhir/Patient/1", [("Patient", "1")]),
        ("https://clinic.example/fhirx/Patient/1", [("", "https://clinic.example/fhirx/Patient/1")]),
        ("https://other.example/Patient/1/_history/2", [("", "https://other.example/Patient/1")]),
        ("urn:uuid:5d0b6a3c-0000-4000-8000-000000000000", [("", "urn:uuid:5d0b6a3c-0000-4000-8000-000000000000")]),
        ("#contained", []),
    ],
)
def test_references_of_all_forms(reference: str, expected: list[tuple[str, str]]) -> None:
    found = entries("Observation", subject={"reference": reference})
    assert rows(found, "reference", "subject") == expected


@pytest.mark.parametrize(
    ("reference", "is_patient"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "https://other.example/Patient/1"}, True),
        ({"reference": "https://other.example/Group/1"}, False),
        ({"reference": "urn:uuid:1", "type": "Patient"}, True),
        ({"reference": "urn:uuid:1"}, False),
        ({"type": "Patient", "identifier": {"value": "v"}}, True),
        ({"identifier": {"value": "v"}}, False),
        ({"display": "someone"}, False),
    ],
)
def test_a_parameter_for_one_type_takes_references_to_it(reference: dict[str, Any], is_patient: bool) -> None:
    """`Observation.subject.where(resolve() is Patient)`: told from the reference itself, nothing is looked up."""
    found = entries("Observation", subject=reference)
    assert bool(rows(found, "reference", "patient") or rows(found, "token", "patient")) == is_patient


def test_names_are_their_parts_and_text() -> None:
    found = entries(
        "Patient", name=[{"text": "Dr. Ada Lang", "family": "Lang", "given": ["Ada", None], "prefix": ["Dr."]}]
    )
    assert [exact for _, exact in rows(found, "string", "name")] == ["Dr. Ada Lang", "Lang", "Ada", "Dr."]


def test_periods_may_be_open() -> None:
    lo, hi = dates.interval("2026-01-02")
    hour = 3_600_000_000
    for period, expected in (
        ({"start": "2026-01-02"}, [(lo - hour, dates.LATEST)]),
        ({"end": "2026-01-02"}, [(dates.EARLIEST, hi - hour)]),
        ({"start": "2026-01-02", "end": "2026-01-02"}, [(lo - hour, hi - hour)]),
        ({"extension": [{"url": "u"}]}, []),
    ):
        assert rows(entries("Encounter", period=period), "date", "date") == expected


def test_a_timing_is_its_outline() -> None:
    timing = {
        "event": ["2026-01-05", "2026-01-02"],
        "repeat": {"boundsPeriod": {"start": "2026-01-03", "end": "2026-01-09"}},
    }
    found = entries("Observation", effectiveTiming=timing)
    berlin = ZoneInfo("Europe/Berlin")
    assert rows(found, "date", "date") == [
        (dates.interval("2026-01-02", berlin)[0], dates.interval("2026-01-09", berlin)[1])
    ]


def test_a_date_that_is_none_has_no_entry() -> None:
    assert "date" not in entries("Patient", birthDate="2026-02-30")


def test_quantities_are_entered_for_each_way_to_name_the_unit() -> None:
    value = {"value": Decimal("5.40"), "unit": "milligram", "system": "http://unitsofmeasure.org", "code": "mg"}
    found = entries("Observation", valueQuantity=value)
    span = decimals.exact(Decimal("5.4"))
    assert rows(found, "quantity", "value-quantity") == [
        ("", *span),
        ("http://unitsofmeasure.org|=g1", *decimals.exact(Decimal("0.0054"))),
        ("|mg", *span),
        ("|milligram", *span),
    ]


def test_a_composite_of_the_whole_resource_has_no_entries_of_its_own() -> None:
    """Its components' entries tell; what stands together in a component of an Observation is filed under the code."""
    code, value = {"coding": [{"code": "c"}]}, {"value": 1}
    found = entries("Observation", code=code, valueQuantity=value)
    assert {row[0] for row in found["quantity"]} == {"value-quantity", "combo-value-quantity"}
    found = entries("Observation", component=[{"code": code, "valueQuantity": value}])
    names = {row[0] for row in found["quantity"] if "$" in row[0]}
    both = ("component-code-value-quantity", "combo-code-value-quantity")
    assert names == {f"{name}${key}" for name in both for key in ("c", "|c")}


def test_ranges_and_money_are_quantities() -> None:
    age = {"low": {"value": 10, "unit": "a"}, "high": {"value": 20, "unit": "a"}}
    found = entries("Condition", onsetRange=age)
    assert rows(found, "quantity", "onset-age")[0] == ("", decimals.key(10), decimals.exact(20)[1])
    found = entries("Invoice", totalGross={"value": 48, "currency": "EUR"})
    assert ("urn:iso:std:iso:4217|EUR", *decimals.exact(48)) in rows(found, "quantity", "totalgross")


def test_extensions_are_entered_by_their_value() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/patient-extensions-Patient-mothersMaidenName"
    found = entries("Patient", extension=[{"url": url, "valueString": "Öz"}, {"url": "urn:other", "valueString": "x"}])
    assert rows(found, "string", "mothersMaidenName") == [("oz", "Öz")]


def test_the_first_entry_of_a_bundle_is_referred_to() -> None:
    first, second = ({"resource": {"resourceType": "Composition", "id": id_}} for id_ in "ab")
    found = entries("Bundle", type="document", entry=[first, second])
    assert rows(found, "reference", "composition") == [("Composition", "a")]


def test_a_custom_parameter_is_indexed() -> None:
    custom = SearchParameter("urn:c", "comment", ("Slot",), "string", "Slot.comment")
    extractor = Extractor(Registry(DEFINITIONS, [custom]))
    found = extractor.entries({"resourceType": "Slot", "comment": "Früh"})
    assert rows(found, "string", "comment") == [("fruh", "Früh")]


def test_a_cast_takes_specialised_types() -> None:
    """An Age is a Quantity (FHIR R4 datatypes.html#Quantity); the exact type is preferred where the element has it."""
    custom = SearchParameter("urn:c", "onset", ("Condition",), "quantity", "(Condition.onset as Quantity)")
    extractor = Extractor(Registry(DEFINITIONS, [custom]))
    found = extractor.entries({"resourceType": "Condition", "onsetAge": {"value": 52}})
    assert rows(found, "quantity", "onset") == [("", *decimals.exact(52))]


def test_a_custom_parameter_does_not_replace_one_of_r4() -> None:
    custom = SearchParameter("urn:c", "status", ("Slot",), "string", "Slot.comment")
    assert Registry(DEFINITIONS, [custom]).parameters("Slot")["status"].type == "token"


@pytest.mark.parametrize(
    ("type_", "expression", "element", "expected"),
    [
        (
            "token",
            "Slot.identifier.first()",
            {"identifier": [{"system": "s", "value": "v"}, {"value": "w"}]},
            ("v", "s"),
        ),
        ("token", "Slot.serviceType.skip(0)", {"serviceType": [{"coding": [{"code": "c"}]}]}, ("c", "")),
        ("token", "Slot.comment.length() > 2", {"comment": "abc"}, ("true", "")),
        ("string", "Slot.comment.upper()", {"comment": "abc"}, ("abc", "ABC")),
        ("number", "Slot.comment.length()", {"comment": "abc"}, decimals.exact(3)),
        ("reference", "Slot.schedule.first()", {"schedule": {"reference": "Schedule/1"}}, ("Schedule", "1")),
    ],
)
def test_what_is_not_compiled_is_evaluated(type_: str, expression: str, element: Any, expected: Any) -> None:
    """The rest of FHIRPath is fhirpathpy's; the types of what it finds are told from their form."""
    custom = SearchParameter("urn:c", "custom", ("Slot",), type_, expression)
    found = Extractor(Registry(DEFINITIONS, [custom])).entries({"resourceType": "Slot", **element})
    assert rows(found, type_, "custom") == [expected]


@pytest.mark.parametrize(
    "expression", ["", "Slot.", "Slot.(a)", "Slot.a[x]", "(Slot.a", "Slot.a b", "Slot.a + 1", "'a"]
)
def test_expressions_outside_the_grammar_are_told_apart(expression: str) -> None:
    with pytest.raises(UnsupportedExpression):
        parse_expression(expression)


def test_single_valued_parameters_have_at_most_one_entry() -> None:
    """What `single` promises to stores holds over all examples: one entry of a shape, and of a unit."""
    seen = 0
    for name, body in examples(with_giants=False):
        resource = json.loads(body, parse_float=Decimal)
        if resource["resourceType"] not in DEFINITIONS.resource_types:
            continue
        parameters = REGISTRY.parameters(resource["resourceType"])
        found = EXTRACTOR.entries(resource)
        assert set(found) <= set(SHAPES)
        for shape, shaped in found.items():
            keys = [(row[0], row[1] if shape == "quantity" else "") for row in shaped]
            single = [key for key in keys if key[0] in parameters and parameters[key[0]].single]
            assert len(single) == len(set(single)), (name, shape)
            assert len(shaped) == len(set(shaped)), (name, shape)
            seen += len(single)
    assert seen > 2000


def test_known_parameters_are_single_or_not() -> None:
    assert REGISTRY.parameters("Slot")["start"].single
    assert REGISTRY.parameters("Observation")["date"].single  # a choice has one value
    assert not REGISTRY.parameters("Appointment")["patient"].single
    assert not REGISTRY.parameters("Patient")["name"].single
    assert not REGISTRY.parameters("Slot")["service-type"].single


def test_targets_are_narrowed_by_the_expression() -> None:
    assert REGISTRY.parameters("Observation")["patient"].targets == ("Patient",)


def test_unknown_types_have_no_parameters() -> None:
    with pytest.raises(KeyError):
        REGISTRY.parameters("Colour")
