"""The tables of `cases` over HTTP on every store, and what a search's answer carries (FHIR R4 search.html)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from fhir_server.clinics import ClinicSettings, keep_settings
from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import pairs
from tests.harness import FORM, ORIGIN, Harness, ids, issue, link, make_harness
from tests.search.cases import CASES, ORDERED, REFUSED, RESOURCES, ZONE, Case

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


@pytest.fixture
async def world(store_kind: str, tmp_path: Path) -> AsyncIterator[Harness]:
    """A clinic with the resources of `cases`, its base URL in place of theirs."""
    made = await make_harness(store_kind, tmp_path)

    async def zone(unit: Any) -> None:
        await keep_settings(unit, ClinicSettings(ZONE))

    await made.run(zone, write=True)

    async def fill(unit: Any) -> None:
        """Straight into the store: an appointment that is booked comes by no interaction of one caller."""
        repository = Repository(unit, clinic, Access(ANONYMOUS), is_import=True)
        for resource in RESOURCES:
            changed = _at_home(resource)
            await repository._store(None, changed, changed["id"], "PUT")

    clinic = await made.parts.clinics.get("demo")
    await made.run(fill, write=True)
    yield made
    await made.parts.store.close()


def _at_home(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _at_home(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_at_home(held) for held in value]
    return value.replace("https://clinic.example/fhir", f"{ORIGIN}/demo/fhir") if isinstance(value, str) else value


async def test_every_case_finds_what_it_should(world: Harness) -> None:
    """GET and POST _search find the same, whatever route the store takes."""
    wrong = []
    for case in CASES:
        query = _at_home(case.query)
        got = await world.get(f"{case.type}?{query}&_count=1000", "admin")
        form = urlencode(pairs(f"{query}&_count=1000"))
        posted = await world.send("POST", f"{case.type}/_search", "admin", content=form, headers={"Content-Type": FORM})
        if not (sorted(ids(got)) == sorted(case.expected) == sorted(ids(posted))):
            wrong.append((case, got.text, posted.text))
        assert got.json()["total"] == len(case.expected)
    assert not wrong


async def test_every_case_is_found_in_order(world: Harness) -> None:
    wrong = []
    for case in ORDERED:
        found = ids(await world.get(f"{case.type}?{case.query}", "admin"))
        paged = await _page_by_page(world, f"{case.type}?{case.query}&_count=1")
        if not (found == case.expected == paged):
            wrong.append((case, found, paged))
    assert not wrong


async def _page_by_page(world: Harness, path: str) -> list[str]:
    found: list[str] = []
    answer = await world.get(path, "admin")
    while True:
        found += ids(answer)
        following = link(answer, "next")
        if following is None:
            return found
        assert len(found) < 1_000
        answer = await world.get(following.removeprefix("/demo/fhir/"), "admin")


async def test_every_refusal_is_400_and_names_the_parameter(world: Harness) -> None:
    wrong = []
    for type_, query in REFUSED:
        answer = await world.get(f"{type_}?{query}", "admin")
        first = issue(answer)
        if answer.status_code != 400 or first["expression"] != [query.partition("=")[0]]:
            wrong.append((type_, query, answer.status_code, first))
    assert not wrong


async def test_lenient_handling_says_what_was_dropped(world: Harness) -> None:
    """search.html#lenient: an outcome entry, and a self link without the dropped parameter."""
    headers = {"Prefer": "handling=lenient"}
    answer = await world.get("Slot?colour=red&status=busy", "admin", headers=headers)
    assert ids(answer) == ["slot-2"]
    outcome = next(entry for entry in answer.json()["entry"] if entry["search"]["mode"] == "outcome")
    assert outcome["resource"]["issue"][0]["severity"] == "warning"
    assert link(answer, "self") == "/demo/fhir/Slot?status=busy"


@pytest.mark.parametrize(
    "query",
    [
        "Slot?colour=red&_count=1",
        "Slot?_sort=colour&_count=1",
        "?_type=Slot&colour=red&_count=1",
        "?_type=Slot,Patient&colour=red&_count=1",
        "Patient?colour=red&_contained=both&_count=1",
    ],
)
async def test_the_pages_of_a_lenient_search_need_no_lenience(world: Harness, query: str) -> None:
    """The link repeats what was obeyed alone."""
    answer = await world.get(query, "admin", headers={"Prefer": "handling=lenient"})
    found = list(ids(answer))
    while (following := link(answer, "next")) is not None:
        answer = await world.get(following.removeprefix("/demo/fhir/").removeprefix("/demo/fhir"), "admin")
        assert answer.status_code == 200, answer.text
        found += ids(answer)
    strict = query.replace("colour=red&", "").replace("_sort=colour&", "").replace("_count=1", "_count=100")
    whole = await world.get(strict, "admin")
    assert found == ids(whole)
    assert len(found) > 1


async def test_a_form_says_how_its_answer_is_written(world: Harness) -> None:
    """http.html#mime-type: `_format` is a parameter of a search like any other."""
    headers = {"Content-Type": FORM}
    answer = await world.send("POST", "Slot/_search", "admin", content="_format=xml&_pretty=true", headers=headers)
    assert answer.headers["content-type"].startswith("application/fhir+xml")
    assert answer.content.count(b"\n") > 3
    for more in ({}, {"Accept": "text/html"}):
        answer = await world.send("POST", "Slot/_search", "admin", content="_format=json", headers={**headers, **more})
        assert (answer.status_code, answer.json()["resourceType"]) == (200, "Bundle")
    for content, accept, status in (
        ("_format=csv", "*/*", 406),
        ("_count=1", "text/html", 406),
        ("status=%FF", "*/*", 400),
    ):
        answer = await world.send(
            "POST", "Slot/_search", "admin", content=content, headers={**headers, "Accept": accept}
        )
        assert answer.status_code == status, content


INCLUDES = (
    Case("Appointment", "_id=app-1&_include=Appointment:patient", "pat-1"),
    Case("Appointment", "_id=app-1&_include=Appointment:actor", "pat-1 dr-1"),
    Case("Appointment", "_id=app-1&_include=Appointment:actor:Practitioner", "dr-1"),
    Case("Appointment", "_id=app-1&_include=Appointment:*", "pat-1 dr-1 slot-1"),
    Case("Appointment", "_id=app-1&_include=*", "pat-1 dr-1 slot-1"),
    Case("Appointment", "_id=app-1,app-2&_include=Appointment:patient", "pat-1 pat-2"),
    Case("Appointment", "_id=app-1&_include=Appointment:patient&_include:iterate=Patient:general-practitioner",
         "pat-1 dr-1"),
    Case("Appointment", "_id=app-2&_include=Appointment:patient&_include:iterate=Patient:general-practitioner",
         "pat-2 dr-2"),
    Case("Patient", "_id=pat-1&_revinclude=Appointment:patient", "app-1"),
    Case("Patient", "_id=pat-1,pat-2&_revinclude=Appointment:patient", "app-1 app-2"),
    Case("Patient", "_id=pat-1&_revinclude=Observation:subject&_revinclude=Appointment:patient",
         "obs-7 obs-9 app-1"),
    Case("Practitioner", "_id=dr-1&_revinclude=Schedule:actor&_revinclude:iterate=Slot:schedule",
         "sch-1 slot-1 slot-2 slot-3 slot-4"),
    Case("Practitioner", "_id=dr-1&_revinclude=Schedule:actor", "sch-1"),
    Case("Patient", "_id=pat-3&_include=Patient:general-practitioner", ""),
    Case("Patient", "_id=pat-4&_include=*&_revinclude=Appointment:patient", ""),
)  # fmt: skip


@pytest.mark.parametrize("case", INCLUDES, ids=lambda case: f"{case.type}?{case.query}")
async def test_includes(world: Harness, case: Case) -> None:
    """search.html#include, #revinclude: each once, with the mode `include`, beside the page's matches."""
    answer = await world.get(f"{case.type}?{case.query}", "admin")
    assert sorted(ids(answer, "include")) == sorted(case.expected)
    assert answer.json().get("total") == len(ids(answer))


async def test_includes_of_a_page_belong_to_the_page(world: Harness) -> None:
    first = await world.get("Appointment?_sort=_id&_count=1&_include=Appointment:patient", "admin")
    assert (ids(first), ids(first, "include")) == (["app-1"], ["pat-1"])
    second = await world.get((link(first, "next") or "").removeprefix("/demo/fhir/"), "admin")
    assert (ids(second), ids(second, "include")) == (["app-2"], ["pat-2"])


@pytest.mark.requirement("R-6.1", "R-6.3")
async def test_includes_never_show_what_the_caller_may_not_see(world: Harness) -> None:
    """R-6.3: an include hop is bound like a search; nothing tells that something was left out."""
    answer = await world.get("Schedule?_include=Schedule:actor&_revinclude=Slot:schedule")
    assert sorted(ids(answer, "include")) == ["dr-1", "slot-1", "slot-2", "slot-3", "slot-4"]
    practitioner = next(e["resource"] for e in answer.json()["entry"] if e["resource"]["id"] == "dr-1")
    assert "identifier" not in practitioner
    hidden = await world.get("Slot?_revinclude=Appointment:slot")
    assert hidden.status_code == 200
    assert ids(hidden, "include") == []


@pytest.mark.parametrize(
    ("summary", "there", "absent"),
    [
        ("true", {"name", "active", "gender"}, {"text"}),
        ("text", {"text"}, {"name", "active"}),
        ("data", {"name", "active", "address"}, {"text"}),
        ("false", {"name", "text"}, set()),
    ],
)
async def test_summary(world: Harness, summary: str, there: set[str], absent: set[str]) -> None:
    """search.html#summary; what is cut is tagged SUBSETTED."""
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    await world.put(await world.stored("Patient/pat-1") | {"text": text})
    answer = await world.get(f"Patient?_id=pat-1&_summary={summary}", "admin")
    [entry] = answer.json()["entry"]
    resource = entry["resource"]
    assert there <= set(resource)
    assert not absent & set(resource)
    assert (SUBSETTED in resource["meta"]["tag"]) == (summary != "false")


async def test_summary_count_has_a_total_and_no_entries(world: Harness) -> None:
    answer = (await world.get("Patient?_summary=count", "admin")).json()
    assert (answer["total"], "entry" in answer) == (4, False)
    assert (await world.get("Patient?_count=0", "admin")).json()["total"] == 4


async def test_elements(world: Harness) -> None:
    """search.html#elements: the named ones and the mandatory, on matches only."""
    answer = await world.get("Appointment?_id=app-1&_elements=start&_include=Appointment:patient", "admin")
    by_id = {entry["resource"]["id"]: entry["resource"] for entry in answer.json()["entry"]}
    assert set(by_id["app-1"]) == {"resourceType", "id", "meta", "start", "status", "participant"}
    assert SUBSETTED in by_id["app-1"]["meta"]["tag"]
    assert "birthDate" in by_id["pat-1"]


@pytest.mark.parametrize(("total", "told"), [("none", None), ("estimate", 12), ("accurate", 12), ("", 12)])
async def test_total(world: Harness, total: str, told: int | None) -> None:
    """search.html#total."""
    answer = await world.get(f"Observation?_count=2&_total={total}", "admin")
    assert answer.json().get("total") == told
    assert len(ids(answer)) == 2


@pytest.mark.parametrize(("total", "told"), [("none", None), ("estimate", 5), ("accurate", 12), ("", None)])
async def test_a_total_is_counted_to_a_bound(
    world: Harness, monkeypatch: pytest.MonkeyPatch, total: str, told: int | None
) -> None:
    """Beyond it there is none unless it is asked for; of Appointments there always is one."""
    monkeypatch.setattr("fhir_server.interactions.search_type.COUNTED", 5)
    query = f"_total={total}" if total else ""
    answer = await world.get(f"Observation?_count=2&{query}", "admin")
    assert answer.json().get("total") == told
    following = await world.http.get(str(link(answer, "next")), headers=await _bearer(world))
    assert following.json().get("total") == told
    for path in ("Slot?_count=2", "?_type=Slot,Schedule&_count=2"):
        assert (await world.get(f"{path}&{query}", "admin")).json().get("total") == (
            None if total == "none" else 4 if path.startswith("Slot") else 5
        )
    monkeypatch.setattr("fhir_server.interactions.search_type.COUNTED", 1)
    always = await world.get(f"Appointment?_count=1&{query}", "admin")
    assert always.json().get("total") == {"none": None, "estimate": 1}.get(total, 2)


async def _bearer(world: Harness) -> dict[str, str]:
    return {"Authorization": f"Bearer {await world.token('admin')}"}


async def test_self_link_says_what_was_applied(world: Harness) -> None:
    answer = await world.get("Patient?family=m%C3%BCller&gender=&_count=5000&_format=json", "admin")
    assert link(answer, "self") == "/demo/fhir/Patient?family=m%C3%BCller&_count=1000"


async def test_what_is_deleted_is_not_found_by_what_points_at_it(world: Harness) -> None:
    assert (await world.delete("Patient/pat-1")).status_code == 204
    for type_, query in (
        ("Patient", "_has:Appointment:patient:status=booked"),
        ("Appointment", "patient.name=jose"),
        ("Appointment", "patient._has:Observation:patient:status=final&_id=app-1"),
        ("Patient", "_id=pat-1"),
        ("Observation", "patient:Patient._has:Appointment:patient:status=booked"),
    ):
        assert ids(await world.get(f"{type_}?{query}", "admin")) == []
    answer = await world.get("Appointment?_id=app-1&_include=Appointment:patient", "admin")
    assert (ids(answer), ids(answer, "include")) == (["app-1"], [])


@pytest.mark.parametrize("query", ["_elements=deceased", "_summary=true", "_elements=deceased,name"])
async def test_a_choice_is_named_without_its_type(world: Harness, query: str) -> None:
    """search.html#elements: `deceased` is deceasedBoolean or deceasedDateTime."""
    found = (await world.get(f"Patient?{query}&_sort=_id", "admin")).json()["entry"]
    assert found[1]["resource"]["deceasedBoolean"] is False
    assert found[2]["resource"]["deceasedDateTime"] == "2020-01-01"


async def test_a_mandatory_choice_is_always_there(world: Harness) -> None:
    request = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "x"},
        "subject": {"reference": "Patient/pat-1"},
    }
    await world.seed(request)
    [entry] = (await world.get("MedicationRequest?_elements=note", "admin")).json()["entry"]
    assert set(entry["resource"]) == {*request, "meta"}


async def test_a_named_query_is_refused_by_name_on_every_way_of_searching(world: Harness) -> None:
    """R4 search.html#query: there is none here, and without it the search would be another (decision 0043)."""
    for path in ("Patient?_query=high-risk", "Patient?_query=high-risk&name=x", "?_type=Patient&_query=high-risk",
                 "Patient/p1/Observation?_query=high-risk", "Slot?_query=free&status=free"):  # fmt: skip
        for headers in ({}, {"Prefer": "handling=lenient"}, {"Prefer": "handling=strict"}):
            answer = await world.get(path, "dr-lee", headers=headers)
            assert (answer.status_code, issue(answer)["expression"]) == (400, ["_query"]), path
            assert "named queries" in issue(answer)["diagnostics"]
    form = {"Content-Type": FORM, "Prefer": "handling=lenient"}
    answer = await world.send("POST", "Patient/_search", "dr-lee", content="_query=high-risk", headers=form)
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["_query"])
    assert "_query" not in (await world.get("metadata")).text
