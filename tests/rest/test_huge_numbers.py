"""Numbers of any size, in a query or a body, are answered at once (FHIR R4 search.html#number, datatypes.html)."""

from decimal import Decimal
from time import thread_time
from typing import Any

import pytest

from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.repository import Repository
from fhir_server.search import spans
from fhir_server.search.collected import Collected
from tests.harness import FHIR_JSON, Harness, ids, issue

UCUM = "http://unitsofmeasure.org"
NUMBERS = ("1e300000", "1e-300000", "9e999999", "1e-999999", "-1e1001", "1e1001", "ap1e999999", "gt1e-999999")
QUERIES = (
    *(f"Observation?value-quantity={number}|{UCUM}|{unit}" for number in NUMBERS for unit in ("kg", "Cel", "/min")),
    *(f"Observation?value-quantity={number}" for number in NUMBERS),
    *(f"RiskAssessment?probability={number}" for number in NUMBERS),
    f"Observation?_filter=value-quantity gt 1e999999|{UCUM}|Cel",
    f"Observation?code-value-quantity=a$1e999999|{UCUM}|Cel",
    f"Observation?subject:Patient._has:Observation:subject:value-quantity=1e999999|{UCUM}|Cel",
    "Location?near=1|1|1e999999",
)
LONGEST_IN_SECONDS = 1.0


def _observation(id_: str, value: str) -> str:
    return (
        f'{{"resourceType":"Observation","id":"{id_}","status":"final","code":{{"text":"x"}},'
        f'"subject":{{"reference":"Patient/anna"}},{value}}}'
    )


def _values(number: str) -> tuple[str, ...]:
    quantity = f'{{"value":{number},"system":"{UCUM}","code":"Cel"}}'
    return (
        f'"valueQuantity":{quantity}',
        f'"valueRange":{{"low":{quantity}}}',
        f'"valueSampledData":{{"origin":{quantity},"period":1,"dimensions":1}}',
        f'"component":[{{"code":{{"text":"y"}},"valueQuantity":{quantity}}}]',
    )


@pytest.mark.parametrize("query", QUERIES)
async def test_a_huge_number_in_a_query_is_400_at_once(harness: Harness, query: str) -> None:
    began = thread_time()
    answer = await harness.get(query.replace(" ", "%20"), "dr-lee")
    assert thread_time() - began < LONGEST_IN_SECONDS
    assert answer.status_code == 400, answer.text
    assert issue(answer)["expression"] == [query.partition("?")[2].partition("=")[0]]


@pytest.mark.parametrize("number", ["1e-999999", "9e999999", "1e1001", "9" * 1_001, "1." + "0" * 1_001])
async def test_a_huge_number_in_a_resource_is_422_at_once(harness: Harness, number: str) -> None:
    """In JSON and XML alike, and it names the element."""
    for value in _values(number):
        began = thread_time()
        answer = await harness.send(
            "PUT", "Observation/o", "admin", content=_observation("o", value), headers={"Content-Type": FHIR_JSON}
        )
        assert thread_time() - began < LONGEST_IN_SECONDS
        assert answer.status_code == 422, answer.text
        assert issue(answer)["expression"][0].startswith("Observation.")
    document = (
        '<Observation xmlns="http://hl7.org/fhir"><id value="o"/><status value="final"/><code><text value="x"/></code>'
        f'<valueQuantity><value value="{number}"/></valueQuantity></Observation>'
    )
    headers = {"Content-Type": "application/fhir+xml"}
    answer = await harness.send("PUT", "Observation/o", "admin", content=document, headers=headers)
    assert answer.status_code == 422, answer.text


async def test_the_largest_number_that_is_taken_is_found_in_each_of_its_units(harness: Harness) -> None:
    for id_, number in (("large", "1e1000"), ("small", "1e-1000")):
        body = _observation(id_, f'"valueQuantity":{{"value":{number},"system":"{UCUM}","code":"kg"}}')
        await harness.send("PUT", f"Observation/{id_}", "admin", content=body, headers={"Content-Type": FHIR_JSON})
    for sought in (f"|{UCUM}|kg", "||kg", ""):
        found = await harness.get(f"Observation?value-quantity=1e1000{sought}", "admin")
        assert ids(found) == ["large"], sought
        found = await harness.get(f"Observation?value-quantity=lt1e-999{sought}", "admin")
        assert ids(found) == ["small"], sought


@pytest.mark.parametrize("number", ["1e-999999", "9e999999", "9" * 2_000])
async def test_a_huge_number_that_is_stored_already_is_under_its_own_unit_alone(harness: Harness, number: str) -> None:
    """What a version without the limit has stored can be indexed anew, read and found."""
    began = thread_time()
    out = Collected()
    quantity = {"value": Decimal(number), "system": UCUM, "code": "Cel", "unit": "degrees"}
    spans.quantity(quantity, "value-quantity", None, out)
    assert [unit for _, unit, _, _ in out.quantity] == ["", "|Cel", "|degrees"]
    spans.quantity_range({"low": {"value": 1, "system": UCUM, "code": "Cel"}, "high": quantity}, "range", None, out)
    assert [unit for param, unit, _, _ in out.quantity if param == "range"] == ["", "|Cel", "|degrees"]
    clinic = await harness.parts.clinics.get("demo")

    async def store(unit: Any) -> None:
        resource = {"resourceType": "Observation", "id": "o", "status": "final", "valueQuantity": quantity}
        await Repository(unit, clinic, Access(ANONYMOUS), is_import=True)._store(None, resource, "o", "PUT")

    await harness.run(store, write=True)
    assert ids(await harness.get("Observation?value-quantity:missing=false&_sort=value-quantity", "admin")) == ["o"]
    assert thread_time() - began < LONGEST_IN_SECONDS
