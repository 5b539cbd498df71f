"""`:missing` is about the value in the resource, on every store and in the interpreter (FHIR R4 search.html)."""

from typing import Any

import pytest

from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.repository import Repository
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import matches
from fhir_server.search.parameters import Registry
from fhir_server.search.parse import Parser, pairs
from profiles.definitions import load
from tests.harness import NOW, Harness, ids

REGISTRY = Registry(load())


def _observation(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}, **more}


RESOURCES: tuple[dict[str, Any], ...] = (
    _observation("none"),
    _observation("contained", contained=[{"resourceType": "Patient", "id": "c"}], subject={"reference": "#c"}),
    _observation("group", contained=[{"resourceType": "Group", "id": "c", "type": "person", "actual": True}],
                 subject={"reference": "#c"}),
    _observation("display", subject={"display": "somebody"}),
    _observation("identifier", subject={"identifier": {"value": "1"}}),
    _observation("literal", subject={"reference": "Patient/anna"}),
    _observation("timing", effectiveTiming={"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}),
    _observation("period", effectivePeriod={"id": "a"}),
    _observation("date", effectiveDateTime="2026-01-01"),
    _observation("unit", valueQuantity={"unit": "mg"}),
    _observation("value", valueQuantity={"value": 1, "unit": "mg"}),
    _observation("concept", valueCodeableConcept={"coding": [{"code": "a"}]}),
    {"resourceType": "Patient", "id": "nameless"},
    {"resourceType": "Patient", "id": "use", "name": [{"use": "usual"}], "address": [{"use": "home"}]},
    {"resourceType": "Patient", "id": "family", "name": [{"family": "F"}], "address": [{"city": "C"}]},
    {"resourceType": "QuestionnaireResponse", "id": "own", "status": "completed", "questionnaire": "#q",
     "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active"}]},
    {"resourceType": "QuestionnaireResponse", "id": "without", "status": "completed"},
    {"resourceType": "QuestionnaireResponse", "id": "url", "status": "completed", "questionnaire": "http://q"},
)  # fmt: skip

# (type, parameter, the ids of those that have a value)
PRESENT = (
    ("Observation", "subject", "contained group display identifier literal"),
    ("Observation", "patient", "contained literal"),
    ("Observation", "date", "timing period date"),
    ("Observation", "value-quantity", "unit value"),
    ("Observation", "value-concept", "concept"),
    ("Observation", "value-string", ""),
    ("Observation", "status", " ".join(r["id"] for r in RESOURCES if r["resourceType"] == "Observation")),
    ("Observation", "performer", ""),
    ("Patient", "name", "use family"),
    ("Patient", "family", "family"),
    ("Patient", "address", "use family"),
    ("QuestionnaireResponse", "questionnaire", "own url"),
)


def _there(type_: str, found: str, *, missing: bool) -> list[str]:
    every = [each["id"] for each in RESOURCES if each["resourceType"] == type_]
    return sorted(id_ for id_ in every if (id_ in found.split()) != missing)


@pytest.mark.parametrize(("type_", "code", "found"), PRESENT)
def test_the_interpreter_knows_what_is_there(type_: str, code: str, found: str) -> None:
    parser, extractor = Parser(REGISTRY), Extractor(REGISTRY)
    for value in ("true", "false"):
        request = parser.parse(type_, pairs(f"{code}:missing={value}"), NOW)
        got = [
            each["id"] for each in RESOURCES
            if each["resourceType"] == type_ and matches(request.where, extractor.entries(each))
        ]  # fmt: skip
        assert sorted(got) == _there(type_, found, missing=value == "true")


async def _fill(harness: Harness) -> None:
    clinic = await harness.parts.clinics.get("demo")

    async def store(unit: Any) -> None:
        for each in RESOURCES:
            await Repository(unit, clinic, Access(ANONYMOUS), is_import=True)._store(
                None, dict(each), each["id"], "PUT"
            )

    await harness.run(store, write=True)


async def test_every_store_knows_what_is_there(harness: Harness) -> None:
    """As a search, as a filter, and through a chain."""
    await _fill(harness)
    for type_, code, found in PRESENT:
        for missing in (True, False):
            wanted = _there(type_, found, missing=missing)
            answer = await harness.get(f"{type_}?{code}:missing={str(missing).lower()}", "admin")
            assert (sorted(ids(answer)), answer.json()["total"]) == (wanted, len(wanted)), (code, missing)
            filtered = await harness.get(f"{type_}?_filter={code}%20pr%20{str(not missing).lower()}", "admin")
            assert sorted(ids(filtered)) == wanted, (code, missing)


async def test_what_is_there_without_an_entry_is_found_by_nothing_else(harness: Harness) -> None:
    await _fill(harness)
    for query in ("subject=c", "subject=somebody", "date=ge1900", "value-quantity=0", "subject:Patient._id=c"):
        assert not {"contained", "display", "timing", "unit"} & set(
            ids(await harness.get(f"Observation?{query}", "admin"))
        )
