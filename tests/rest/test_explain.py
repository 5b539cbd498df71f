"""$explain over HTTP (docs/operations/explain.md)."""

import pytest

from tests.harness import Harness, issue, patient


@pytest.mark.parametrize("caller", ["admin", "root", "olga"])
async def test_a_search_is_explained(harness: Harness, caller: str) -> None:
    """Plan, route, counts, statements with their indexes; no resource, and one event."""
    await harness.seed(patient("anna"), patient("ben"))
    answer = await harness.get("Patient/$explain?family=anna&_sort=-birthdate", caller)
    assert answer.status_code == 200, answer.text
    found = {each["name"]: each for each in answer.json()["parameter"]}
    assert "family" in found["plan"]["valueString"]
    assert found["sort"]["valueString"] == "birthdate, descending"
    parts = {part["name"]: part for part in found["statement"]["part"]}
    assert parts["rows"]["valueInteger"] == 1
    assert parts["touched"]["valueInteger"] > 0
    how = " ".join(part["valueString"] for part in found["statement"]["part"] if part["name"] == "how")
    assert "INDEX" in how or "KEY" in how or "IXSCAN" in how
    assert harness.parts.server.structure.check(answer.json(), expected_type="Parameters") == []
    [event] = [each for each in await harness.events() if "$explain" in each.query]
    assert (event.subtype, event.outcome) == ("operation", "0")


@pytest.mark.parametrize("caller", ["anonymous", "website", "anna", "dr-lee", "sam", "backend"])
async def test_others_are_told_nothing(harness: Harness, caller: str) -> None:
    assert (await harness.get("Patient/$explain?family=anna", caller)).status_code == 403


async def test_what_is_not_understood_is_refused(harness: Harness) -> None:
    refused = await harness.get("Patient/$explain?colour=red", "admin")
    assert (refused.status_code, issue(refused)["expression"]) == (400, ["colour"])
