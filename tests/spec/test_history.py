"""history of an instance, a type and the whole clinic (FHIR R4 http.html#history)."""

from typing import Any

import httpx
import pytest

from tests.harness import DAY, ORIGIN, Harness, appointment, issue, link, patient, to_status


async def _pages(clinic: Harness, path: str, caller: str = "admin") -> list[httpx.Response]:
    pages = [await clinic.get(path, caller)]
    while following := link(pages[-1], "next"):
        assert len(pages) < 200
        pages.append(await clinic.get(following.removeprefix("/demo/fhir/"), caller))
    return pages


def _versions(*answers: httpx.Response) -> list[str]:
    """`Type/id/version` of each entry."""
    found = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        for entry in answer.json().get("entry", ()):
            target = entry["fullUrl"].removeprefix(f"{ORIGIN}/demo/fhir/")
            found.append(f"{target}/{entry['response']['etag'][3:-1]}")
    return found


@pytest.fixture
async def past(clinic: Harness) -> Harness:
    """anna: made, changed after a day, deleted after two, made again after three; a slot on day one."""
    clinic.clock.advance(DAY)
    await clinic.put(patient("anna", active=True))
    await clinic.create(clinic.slot("s"))
    clinic.clock.advance(DAY)
    await clinic.delete("Patient/anna")
    clinic.clock.advance(DAY)
    await clinic.put(patient("anna"))
    return clinic


async def test_history_of_an_instance(past: Harness) -> None:
    """Newest first; each entry has the request and the response it had; a deletion has no resource."""
    answer = await past.get("Patient/anna/_history", "admin")
    bundle = answer.json()
    assert (bundle["type"], bundle["total"]) == ("history", 4)
    told = [(e["request"]["method"], e["request"]["url"], e["response"]["status"]) for e in bundle["entry"]]
    assert told == [
        ("PUT", "Patient/anna", "200 OK"),
        ("DELETE", "Patient/anna", "204 No Content"),
        ("PUT", "Patient/anna", "200 OK"),
        ("PUT", "Patient/anna", "201 Created"),
    ]
    assert [e["response"]["etag"] for e in bundle["entry"]] == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']
    assert [e["response"]["lastModified"][:10] for e in bundle["entry"]] == [
        "2027-01-21", "2027-01-20", "2027-01-19", "2027-01-18",
    ]  # fmt: skip
    assert ["resource" in e for e in bundle["entry"]] == [True, False, True, True]
    assert bundle["entry"][0]["fullUrl"] == f"{ORIGIN}/demo/fhir/Patient/anna"
    assert past.parts.server.structure.check(bundle, expected_type="Bundle") == []


async def test_history_of_a_type_and_of_the_clinic(past: Harness) -> None:
    of_type = await past.get("Patient/_history?_count=100", "admin")
    assert _versions(of_type) == [
        "Patient/anna/4",
        "Patient/anna/3",
        "Patient/anna/2",
        "Patient/ben/1",
        "Patient/anna/1",
    ]
    whole = await past.get("_history?_count=100", "admin")
    assert whole.json()["total"] == 10
    assert {version.partition("/")[0] for version in _versions(whole)} == {
        "Patient",
        "Practitioner",
        "Schedule",
        "Slot",
    }
    created = [e["request"] for e in whole.json()["entry"] if e["request"]["method"] == "POST"]
    assert created == [{"method": "POST", "url": "Slot"}]


@pytest.mark.parametrize("path", ["Patient/anna/_history", "Patient/_history", "_history"])
@pytest.mark.parametrize("count", [1, 2, 3])
async def test_history_pages_without_gap_or_repeat(past: Harness, path: str, count: int) -> None:
    whole = await past.get(f"{path}?_count=100", "admin")
    pages = await _pages(past, f"{path}?_count={count}")
    assert _versions(*pages) == _versions(whole)
    assert all(len(page.json()["entry"]) == count for page in pages[:-1])
    assert {page.json()["total"] for page in pages} == {whole.json()["total"]}


async def test_pages_stay_whole_while_versions_are_added(past: Harness) -> None:
    first = await past.get("_history?_count=3", "admin")
    await past.put(patient("ben", active=True))
    rest = await _pages(past, (link(first, "next") or "").removeprefix("/demo/fhir/"))
    assert len(_versions(first, *rest)) == len(set(_versions(first, *rest))) == 10


@pytest.mark.parametrize(
    ("query", "versions"),
    [
        ("_since=2027-01-20T08:00:00Z", ["4", "3"]),
        ("_since=2027-01-20T08:00:00.001Z", ["4"]),
        ("_since=2027-01-20T09:00:00%2B01:00", ["4", "3"]),
        ("_since=2030-01-01T00:00:00Z", []),
        ("_at=2027-01-18", ["1"]),
        ("_at=2027-01-19T12:00:00Z", ["2"]),
        ("_at=2027-01-19", ["2", "1"]),
        ("_at=2027", ["4", "3", "2", "1"]),
        ("_at=2026", []),
        ("_since=2027-01-19T00:00:00Z&_at=2027-01-19", ["2"]),
        ("_count=0", []),
    ],
)
async def test_history_of_a_time(past: Harness, query: str, versions: list[str]) -> None:
    """_since: made at or after; _at: current at some moment of the period."""
    answer = await past.get(f"Patient/anna/_history?{query}", "admin")
    assert [version.rpartition("/")[2] for version in _versions(answer)] == versions
    if query == "_count=0":
        assert answer.json()["total"] == 4


async def test_history_of_nothing_is_404(past: Harness) -> None:
    answer = await past.get("Patient/nobody/_history", "admin")
    assert answer.status_code == 404
    assert issue(answer)["code"] == "not-found"


@pytest.mark.requirement("R-6.1", "R-6.2")
async def test_history_shows_what_the_caller_may_see_only(past: Harness) -> None:
    """Versions of others, how many there are among them, are not told."""
    await past.seed(past.slot("s"))
    for person in ("anna", "ben"):
        made: Any = appointment("", "proposed", person, "s")
        del made["id"]
        assert (await past.create(made, "sam")).status_code == 201
    own = await past.get("Appointment/_history", "anna")
    assert [e["resource"]["participant"][0]["actor"]["reference"] for e in own.json()["entry"]] == [
        "Patient/anna",  # once more when the slot became contested
        "Patient/anna",
    ]
    for count in (1, 20):
        answer = await past.get(f"Appointment/_history?_count={count}", "ben")
        assert answer.json().get("total") in (None, 1)
    assert (await past.get("Patient/ben/_history", "anna")).status_code == 404
    assert (await past.get("Patient/_history")).status_code == 403
    public = await past.get("_history")
    assert {version.partition("/")[0] for version in _versions(public)} == {"Slot", "Schedule", "Practitioner"}
    assert "total" not in public.json() or public.json()["total"] == len(public.json()["entry"])


async def test_a_deleted_slot_stays_in_history(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"))
    await clinic.patch("Slot/s", to_status("busy"))
    await clinic.delete("Slot/s")
    assert _versions(await clinic.get("Slot/s/_history", "dr-lee")) == ["Slot/s/3", "Slot/s/2", "Slot/s/1"]
