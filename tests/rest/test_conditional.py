"""Conditional create, update, patch and delete (FHIR R4 http.html#ccreate, #cond-update, #cdelete)."""

import asyncio
from typing import Any

import pytest

from tests.harness import Harness

Resource = dict[str, Any]


def person(value: str, **more: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:mrn", "value": value}],
        "name": [{"family": "Muster"}],
        **more,
    }


async def _create(harness: Harness, resource: Resource, condition: str, caller: str = "admin") -> Any:
    return await harness.create(resource, caller, headers={"If-None-Exist": condition})


async def test_conditional_create_makes_one_and_then_finds_it(harness: Harness) -> None:
    """http.html#ccreate: no match creates, one match answers 200 and changes nothing."""
    first = await _create(harness, person("1"), "identifier=urn:mrn|1")
    again = await _create(harness, person("1", active=True), "Patient?identifier=urn:mrn|1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert await harness.versions() == 1
    assert [(e.subtype, e.action) for e in await harness.events()] == [("create", "C"), ("read", "R")]


async def test_only_the_first_question_mark_separates(harness: Harness) -> None:
    """RFC 3986 §3.4: a query may have a `?` in it; what stands after it is no condition of its own."""
    victim = await harness.create({"resourceType": "Patient", "name": [{"family": "Victim"}]})
    value, there = "http://h/?family=Victim", person("1", identifier=[{"value": "http://h/?family=Victim"}])
    conditions = (f"identifier={value}", f"Patient?identifier={value}", f"?identifier={value}")
    made = [await _create(harness, there, condition) for condition in conditions]
    assert [answer.status_code for answer in made] == [201, 200, 200]
    put = await harness.send("PUT", f"Patient?identifier={value}", "admin", json_=there)
    assert (put.status_code, put.json()["id"]) == (200, made[0].json()["id"])
    assert (await harness.get(f"Patient/{victim.json()['id']}", "admin")).json() == victim.json()


async def test_condition_is_utf_8(harness: Harness) -> None:
    assert (await _create(harness, person("9"), "identifier=%FF")).status_code == 400
    assert await harness.versions() == 0


async def test_several_matches_are_412_and_change_nothing(harness: Harness) -> None:
    for _ in range(2):
        await harness.create(person("1"))
    before = await harness.versions()
    condition = "Patient?identifier=urn:mrn|1"
    answers = [
        await _create(harness, person("1"), condition),
        await harness.send("PUT", condition, "admin", json_=person("1")),
        await harness.send("PATCH", condition, "admin", json_=[{"op": "add", "path": "/active", "value": True}]),
        await harness.send("DELETE", condition, "admin"),
    ]
    assert [answer.status_code for answer in answers] == [412] * 4
    assert {answer.json()["issue"][0]["code"] for answer in answers} == {"multiple-matches"}
    assert await harness.versions() == before


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("identifier=urn:mrn|9", 201),  # the positive control
        ("", 400),
        ("_count=1", 400),
        ("identifier=urn:mrn|9&_sort=family", 400),
        ("colour=red", 400),
        ("birthdate=never", 400),
    ],
)
async def test_condition_must_be_search_criteria(harness: Harness, condition: str, status: int) -> None:
    answer = await _create(harness, person("9"), condition)
    assert answer.status_code == status
    assert await harness.versions() == (1 if status == 201 else 0)


async def test_condition_finds_only_what_the_caller_may_search(clinic: Harness) -> None:
    """An anonymous caller may create proposals and search none, so it has no If-None-Exist."""
    answer = await _create(clinic, {"resourceType": "Appointment", "status": "proposed", "participant": [
        {"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}, "patient=anna", "anonymous")  # fmt: skip
    assert answer.status_code == 403


async def test_conditional_update(harness: Harness) -> None:
    """http.html#cond-update: creates, updates the match, refuses another id, creates at an id of the caller's."""
    url = "Patient?identifier=urn:mrn|1"
    made = await harness.send("PUT", url, "admin", json_=person("1"))
    assert made.status_code == 201
    changed = await harness.send("PUT", url, "admin", json_=person("1", active=True))
    assert (changed.status_code, changed.json()["meta"]["versionId"]) == (200, "2")
    assert changed.json()["id"] == made.json()["id"]
    other = await harness.send("PUT", url, "admin", json_=person("1", id="other"))
    assert other.status_code == 400
    at_id = await harness.send("PUT", "Patient?identifier=urn:mrn|2", "admin", json_=person("2", id="two"))
    assert (at_id.status_code, at_id.json()["id"]) == (201, "two")
    taken = await harness.send("PUT", "Patient?identifier=urn:mrn|3", "admin", json_=person("3", id="two"))
    assert taken.status_code == 409
    stale = await harness.send("PUT", url, "admin", json_=person("1"), headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412


@pytest.mark.parametrize("tag", ['W/"3"', "*"])
@pytest.mark.parametrize("more", [{}, {"id": "two"}])
async def test_if_match_of_a_conditional_update_that_finds_nothing(
    harness: Harness, tag: str, more: dict[str, str]
) -> None:
    """RFC 9110 §13.1.1: it holds for no resource that is not there; in a transaction too."""
    url, body = "Patient?identifier=urn:mrn|2", person("2", **more)
    sent = await harness.send("PUT", url, "admin", json_=body, headers={"If-Match": tag})
    one = {"request": {"method": "PUT", "url": url, "ifMatch": tag}, "resource": body}
    whole = {"resourceType": "Bundle", "type": "transaction", "entry": [one]}
    done = await harness.send("POST", "", "admin", json_=whole)
    assert (sent.status_code, done.status_code) == (412, 412)
    assert done.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]
    assert await harness.versions() == 0


async def test_conditional_patch(harness: Harness) -> None:
    url, operations = "Patient?identifier=urn:mrn|1", [{"op": "add", "path": "/active", "value": True}]
    missing = await harness.send("PATCH", url, "admin", json_=operations)
    await harness.create(person("1"))
    patched = await harness.send("PATCH", url, "admin", json_=operations)
    assert (missing.status_code, patched.status_code, patched.json()["active"]) == (404, 200, True)


async def test_conditional_delete(harness: Harness) -> None:
    """http.html#cdelete: nothing or one; then it is gone."""
    made = await harness.create(person("1"))
    url = "Patient?identifier=urn:mrn|1"
    assert [(await harness.delete(url)).status_code for _ in range(2)] == [204, 204]
    assert (await harness.get(f"Patient/{made.json()['id']}", "admin")).status_code == 410
    assert (await harness.delete("Patient")).status_code == 400


async def test_parallel_conditional_creates_make_one_resource_for_each_criterion(harness: Harness) -> None:
    """Any number of parallel conditional creates with one criterion make one resource (issue 4)."""

    async def client(number: int) -> list[int]:
        answers = [await _create(harness, person(str(n)), f"identifier=urn:mrn|{n}") for n in range(10)]
        return [answer.status_code for answer in answers]

    statuses = [status for found in await asyncio.gather(*map(client, range(8))) for status in found]
    assert (statuses.count(201), statuses.count(200)) == (10, 70)
    assert await harness.versions() == 10


@pytest.mark.soak
async def test_64_clients_1000_conditional_creates_make_100_resources(harness: Harness) -> None:
    async def client(number: int) -> int:
        made = 0
        for n in range(1_000):
            wanted = (n * 7 + number) % 100
            made += (await _create(harness, person(str(wanted)), f"identifier=urn:mrn|{wanted}")).status_code == 201
        return made

    assert sum(await asyncio.gather(*map(client, range(64)))) == 100
    assert await harness.versions() == 100
