"""Search of the system and of compartments (FHIR R4 http.html#search, #vsearch, compartmentdefinition.html)."""

from typing import Any

import pytest

from tests.harness import Harness


def observation(id_: str, patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


@pytest.fixture
async def filled(harness: Harness) -> Harness:
    for id_, active in (("p1", True), ("p2", False)):
        await harness.put({"resourceType": "Patient", "id": id_, "active": active})
    for number in range(3):
        await harness.put(observation(f"o{number}", "p1" if number < 2 else "p2"))
    condition = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    await harness.put({**condition, "asserter": {"reference": "Practitioner/dr"}})
    return harness


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["resource"]["id"] for each in answer.json().get("entry", [])]


CASES = (
    ("Patient/p1/Observation", "o0 o1"),
    ("Patient/p2/Observation", "o2"),
    ("Patient/p1/Observation?code=8302-2&_sort=-_id", "o1 o0"),
    ("Patient/p1/Observation?code=none", ""),
    ("Patient/p1/*", "o0 o1 c1"),
    ("Patient/p1/*?_sort=_id", "c1 o0 o1"),
    ("Patient/nobody/*", ""),
    ("Practitioner/dr/Condition", "c1"),
    ("?_type=Patient,Condition", "p1 p2 c1"),
    ("?_type=Observation,Patient&_sort=-_id", "p2 p1 o2 o1 o0"),
    ("?_id=p1,c1", "p1 c1"),
    ("?_type=Patient&_id=o1", ""),
    ("?_type=Condition&_include=*", "c1 p1"),
    ("?_type=Patient,Condition&_id=c1&_include=Condition:subject", "c1 p1"),
    ("?_type=Condition,Observation&_id=c1,o2&_include=Condition:subject", "o2 c1 p1"),
    ("?_type=Patient,Practitioner&_id=p2&_revinclude=Observation:subject", "p2 o2"),
    ("?_id=c1&_include=Condition:subject", "c1 p1"),
    ("Patient/p1/*?_include=Condition:subject", "o0 o1 c1 p1"),
)


@pytest.mark.parametrize(("path", "expected"), CASES)
async def test_search_finds(filled: Harness, path: str, expected: str) -> None:
    assert ids(await filled.get(path, "admin")) == expected.split()


async def test_pages_over_several_types_join_without_gap(filled: Harness) -> None:
    for query in ("_type=Patient,Observation,Condition", "_type=Patient,Observation,Condition&_sort=-_lastUpdated,_id"):
        whole = ids(await filled.get(f"?{query}", "admin"))
        assert len(whole) == 6
        answer, found = await filled.get(f"?{query}&_count=1", "admin"), list[str]()
        while True:
            found += ids(answer)
            following = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
            if not following:
                break
            answer = await filled.get(following[0].partition("/demo/fhir")[2].lstrip("/"), "admin")
        assert found == whole


async def test_self_link_states_what_was_applied(filled: Harness) -> None:
    answer = (await filled.get("?_type=Patient&active=true", "admin")).json()
    assert answer["link"][0]["url"].endswith("/fhir?_type=Patient&active=true")
    assert answer["total"] == 1
    posted = await filled.send(
        "POST",
        "_search",
        "admin",
        content="_type=Patient",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert ids(posted) == ["p1", "p2"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("Patient/p1/Observation", 200), ("Patient/p1/Slot", 404), ("Slot/s/Observation", 404), ("Patient/p1/Colour", 404),
     ("Patient/p1/AuditEvent", 404), ("?_type=Colour", 400), ("?_type=Patient&colour=red", 400), ("?gender=male", 400),
     ("Patient/p1/Observation?colour=red", 400), ("?_type=Patient,Slot&_include=Observation:subject", 400),
     ("?_type=Slot,Schedule&_revinclude=Observation:subject", 400),
     ("?_type=Questionnaire,Slot&_revinclude=QuestionnaireResponse:questionnaire", 400)],
)  # fmt: skip
async def test_what_cannot_be_asked(filled: Harness, path: str, status: int) -> None:
    assert (await filled.get(path, "admin")).status_code == status


async def test_callers_find_what_they_may(filled: Harness) -> None:
    assert (await filled.get("Patient/p1/Observation")).status_code == 403
    assert (await filled.get("?_type=Patient")).status_code == 403
    assert ids(await filled.get("?_id=p1")) == []
