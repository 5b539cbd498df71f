"""The structural check against the official examples, with fhir.resources' R4B models as a second opinion."""

import copy
import random
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.json import parse, serialise
from profiles.definitions import Definitions, load
from profiles.structure import Structure
from tests.data.examples import examples

# Examples with a real fault against R4 4.0.1: name -> the issues that the check finds.
NO_TEXT = "The div has an element but no text and no image (txt-2)."
TARGET = "The reference points at a type that the element does not permit."
REFUSED: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "ActivityDefinition-blood-tubes-supply": (NO_TEXT, {("invariant", "ActivityDefinition.text.div")}),
    "ActivityDefinition-heart-valve-replacement": (NO_TEXT, {("invariant", "ActivityDefinition.text.div")}),
    "EventDefinition-example": (NO_TEXT, {("invariant", "EventDefinition.text.div")}),
    "Questionnaire-zika-virus-exposure-assessment": (NO_TEXT, {("invariant", "Questionnaire.text.div")}),
    "DeviceMetric-example": (TARGET, {("value", "DeviceMetric.parent.reference")}),
    "DeviceUseStatement-example": (TARGET, {("value", "DeviceUseStatement.reasonReference[0].reference")}),
    "MedicationRequest-medrx0301": (TARGET, {("value", "MedicationRequest.dispenseRequest.performer.reference")}),
    "Observation-clinical-gender": (TARGET, {("value", "Observation.performer[0].reference")}),
    "Questionnaire-qs1": (
        "32 of its items have no linkId.",
        {
            ("required", f"Questionnaire.item[0].{item}.linkId")
            for item in (
                "item[0]",
                *(f"item[{n}].item[0]" for n in (*range(1, 15), 16, 17, 19)),
                *(f"item[15].item[{n}]" for n in (0, 1)),
                *(f"item[15].item[{n}].item[0]" for n in range(2, 7)),
                "item[18].item[0]",
                *(f"item[18].item[{n}].item[0]" for n in range(1, 7)),
            )
        },
    ),
    **dict.fromkeys(
        ("ImplementationGuide-fhir", "ig-r4"),
        (
            "Without name and status, and one id in its manifest has 67 characters.",
            {
                ("required", "ImplementationGuide.name"),
                ("required", "ImplementationGuide.status"),
                ("value", "ImplementationGuide.manifest.resource[11904].reference.reference"),
            },
        ),
    ),
}

# What fhir.resources' R4B models do not check, and so passes where R4 refuses.
UNJUDGED = {NO_TEXT, TARGET}

# R4B changed these types, so its models say nothing of R4's.
CHANGED_IN_R4B = {"ActivityDefinition", "Evidence", "EvidenceVariable", "PlanDefinition"}
ABSENT_IN_R4B = {
    "EffectEvidenceSynthesis", "RiskEvidenceSynthesis", "MedicinalProduct", "MedicinalProductAuthorization",
    "MedicinalProductContraindication", "MedicinalProductIndication", "MedicinalProductIngredient",
    "MedicinalProductInteraction", "MedicinalProductManufactured", "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical", "MedicinalProductUndesirableEffect", "SubstanceNucleicAcid", "SubstancePolymer",
    "SubstanceProtein", "SubstanceReferenceInformation", "SubstanceSourceMaterial", "SubstanceSpecification",
}  # fmt: skip


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load()


@pytest.fixture(scope="module")
def structure(definitions: Definitions) -> Structure:
    return Structure(definitions)


def _is_accepted_by_r4b(type_: str, body: bytes) -> bool:
    try:
        get_fhir_model_class(type_).model_validate_json(body)
    except (ValueError, TypeError, AttributeError):  # the latter: its own checks of strings stumble over arrays
        return False
    return True


def test_there_are_747_examples() -> None:
    names = [name for name, _ in examples()]
    assert len(names) == len(set(names)) == 747


def test_examples_pass_or_have_a_known_fault(structure: Structure) -> None:
    """Every example is accepted but those whose fault is listed here."""
    refused = {}
    for name, body in examples(with_giants=False):
        if issues := structure.check(parse(body)):
            refused[name] = {(issue.code, issue.expression) for issue in issues}
    assert refused == {name: issues for name, (_, issues) in REFUSED.items()}


@pytest.mark.soak
def test_giant_examples_pass(structure: Structure) -> None:
    giants = [(name, body) for name, body in examples() if len(body) > 3_000_000]
    assert len(giants) == 8
    for name, body in giants:
        assert structure.check(parse(body)) == [], name


def test_r4b_equals_r4_but_for_known_types(definitions: Definitions) -> None:
    """The types for which the second opinion counts are those with the same elements at the top."""
    absent, changed = set(), set()
    for type_ in definitions.resource_types:
        try:
            model = get_fhir_model_class(type_)
        except ValueError:
            absent.add(type_)
            continue
        fields = {(field.alias or name).removesuffix("__ext") for name, field in model.model_fields.items()}
        theirs = {f for f in fields if not f.startswith("_")} - {"resourceType", "resource_type", "fhir_comments"}
        if theirs != {p for e in definitions.types[type_].children(type_) for p in e.properties}:
            changed.add(type_)
    assert (absent, changed) == (ABSENT_IN_R4B, CHANGED_IN_R4B)


def test_fhir_resources_agrees_on_the_examples() -> None:
    """Both accept or both refuse, but for what fhir.resources does not check."""
    disagreed = []
    for name, body in examples(with_giants=False):
        type_ = parse(body)["resourceType"]
        if type_ in CHANGED_IN_R4B | ABSENT_IN_R4B:
            continue
        reason, _ = REFUSED.get(name, ("", set()))
        expected = not reason or reason in UNJUDGED
        if _is_accepted_by_r4b(type_, body) != expected:
            disagreed.append(name)
    assert disagreed == []


# Mutations: one place of a good example is made wrong, and both must see it.


class Place(NamedTuple):
    """A property: the object that holds it, and its name."""

    owner: dict[str, Any]
    name: str


@cache
def _good_examples() -> dict[str, dict[str, Any]]:
    """Small examples that both accept, at most three of each type."""
    made: dict[str, dict[str, Any]] = {}
    count: dict[str, int] = {}
    structure = Structure(load())
    for name, body in examples(with_giants=False):
        resource = parse(body)
        type_ = resource["resourceType"]
        if len(body) > 30_000 or type_ in CHANGED_IN_R4B | ABSENT_IN_R4B or count.get(type_, 0) == 3:
            continue
        if not structure.check(resource) and _is_accepted_by_r4b(type_, body):
            count[type_] = count.get(type_, 0) + 1
            made[name] = resource
    return made


def _places(value: Any) -> Iterator[Place]:
    match value:
        case dict():
            for name, child in value.items():
                if name != "resourceType":
                    yield Place(value, name)
                yield from _places(child)
        case list():
            for child in value:
                yield from _places(child)


def _mutable(seed: int) -> tuple[dict[str, Any], Place]:
    """A copy of an example, and a place in it. Seeds rather than drawn lists: the places are many and unequal."""
    source = random.Random(seed)
    good = _good_examples()
    resource = copy.deepcopy(good[source.choice(sorted(good))])
    return resource, source.choice(list(_places(resource)))


_STRUCTURE = Structure(load())
_NAMES = ["resourceType", "id", "extension", "url", "coding", "system", "code", "reference", "contained", "div", "_id"]


def _verdicts(resource: dict[str, Any], *codes: str) -> tuple[bool, bool]:
    """Whether we refuse it (for one of the issue codes), and whether fhir.resources does."""
    ours = any(issue.code in codes for issue in _STRUCTURE.check(resource))
    return ours, not _is_accepted_by_r4b(resource["resourceType"], serialise(resource))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_a_dropped_element_is_missed_by_both_or_by_none(seed: int) -> None:
    """Only missing elements are compared: what else a drop may break (a contained target) only we check."""
    resource, place = _mutable(seed)
    del place.owner[place.name]
    ours, theirs = _verdicts(resource, "required")
    assert ours == theirs


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_an_unknown_element_is_refused_by_both(seed: int) -> None:
    resource, place = _mutable(seed)
    place.owner["unknownElement"] = "x"
    assert _verdicts(resource, "structure") == (True, True)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from(["wrap", "object", "string"]))
def test_another_json_type_is_refused_by_both(seed: int, way: str) -> None:
    """An array for an object or primitive, an object for a primitive or array, a string for an object or array."""
    resource, place = _mutable(seed)
    value = place.owner[place.name]
    if way == "wrap" or (way == "object" and isinstance(value, dict)):
        place.owner[place.name] = [value] if not isinstance(value, list) else value[0]
    elif way == "object" or not isinstance(value, dict | list):
        place.owner[place.name] = {"url": "x"}
    else:
        place.owner[place.name] = "x"
    assert _verdicts(resource, "structure") == (True, True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["#", "#a", "Patient/1", "2024"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), _JSON)
def test_no_json_makes_the_check_fail(seed: int, value: Any) -> None:
    """Whatever stands at a place, the answer is a list of issues, never an exception."""
    resource, place = _mutable(seed)
    place.owner[place.name] = value
    _STRUCTURE.check(resource)
    _STRUCTURE.check({"resourceType": resource["resourceType"], "contained": value, "text": value, "id": value})
