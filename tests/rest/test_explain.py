"""$explain over HTTP (docs/operations/explain.md)."""

import pytest

from fhir_server.store.mongo import grouped, route
from fhir_server.store.mongo import search as mongo_search
from fhir_server.store.sqlite import estimate, several
from fhir_server.store.sqlite import search as sqlite_search
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


@pytest.mark.parametrize(
    "query",
    [
        "_sort=family,-birthdate",
        "_sort=-birthdate,family,_id",
        "_sort=gender,birthdate",
        "active=true&_sort=-family,birthdate",
        "_sort=_lastUpdated,family",
    ],
)
async def test_a_sort_by_several_keys_walks_an_index(
    harness: Harness, store_kind: str, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Where no condition leads to few: along the first key's index, with nothing gathered to be ordered whole."""
    many = 200
    for owner in (estimate, route, sqlite_search, mongo_search):
        monkeypatch.setattr(owner, "BROAD", 100)
    for owner in (several, grouped):
        monkeypatch.setattr(owner, "MOST", 64)
    for steps in (estimate, route):
        monkeypatch.setattr(steps, "STEPS", (10, 100))
    entries = [
        {"request": {"method": "PUT", "url": f"Patient/p{n}"},
         "resource": patient(f"p{n}", active=True, gender=("male", "female")[n % 2], birthDate=f"19{10 + n % 80}-01-01")
         | {"name": [{"family": f"F{n % 50:02}"}]}}
        for n in range(many)
    ]  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert (await harness.send("POST", "", "admin", json_=bundle)).status_code == 200
    answer = await harness.get(f"Patient/$explain?{query}&_count=5&_total=none", "admin")
    found = answer.json()["parameter"]
    statements = [each["part"] for each in found if each["name"] == "statement"]
    for statement in statements:
        how = " ".join(part["valueString"] for part in statement if part["name"] == "how")
        rows = next(part["valueInteger"] for part in statement if part["name"] == "rows")
        assert rows < many, how
        assert "INDEX" in how or "KEY" in how or "IXSCAN" in how
        assert "SORT" not in how.split()
        assert "ORDER BY" not in how
    if store_kind == "sqlite":
        assert next(each["valueString"] for each in found if each["name"] == "way") == "group walk"
    pages, next_ = [], f"Patient?{query}&_count=7"
    while next_:
        page = (await harness.get(next_, "admin")).json()
        pages += [entry["resource"]["id"] for entry in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        next_ = links.get("next", "").partition("/fhir/")[2]
    assert sorted(pages) == sorted(f"p{n}" for n in range(many))
