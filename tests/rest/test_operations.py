"""Operations (FHIR R4 operations.html), and what the CapabilityStatement says of them."""

from typing import Any

import pytest

from profiles import xml
from tests.harness import Harness
from tests.rest.test_formats import ELEMENTS, PATIENT


def parameters(**meta: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


async def test_meta_is_read_added_to_and_taken_from(harness: Harness) -> None:
    """resource-operation-meta.html, -meta-add, -meta-delete."""
    await harness.put({"resourceType": "Patient", "id": "x", "meta": {"tag": [{"system": "urn:t", "code": "a"}]}})
    tag = {"system": "urn:t", "code": "b"}
    added = await harness.send(
        "POST", "Patient/x/$meta-add", "admin", json_=parameters(tag=[tag, {"system": "urn:t", "code": "a"}])
    )
    assert added.status_code == 200, added.text
    assert [t["code"] for t in added.json()["parameter"][0]["valueMeta"]["tag"]] == ["a", "b"]
    taken = await harness.send(
        "POST", "Patient/x/$meta-delete", "admin", json_=parameters(tag=[{"system": "urn:t", "code": "a"}])
    )
    read = await harness.get("Patient/x/$meta", "admin")
    assert taken.json() == read.json()
    assert read.json()["parameter"][0]["valueMeta"]["tag"] == [tag]
    assert (await harness.get("Patient/x/_history/1/$meta", "admin")).json()["parameter"][0]["valueMeta"][
        "versionId"
    ] == "1"
    found = await harness.get("Patient?_tag=urn:t|b", "admin")
    assert found.json()["total"] == 1
    assert (
        await harness.send("POST", "Patient/x/$meta-add", "admin", json_={"resourceType": "Parameters"})
    ).status_code == 400
    assert (await harness.get("Patient/x/$meta")).status_code == 403


@pytest.fixture
async def record(harness: Harness) -> Harness:
    await harness.put({"resourceType": "Practitioner", "id": "dr"})
    for id_ in ("p1", "p2"):
        patient = {"resourceType": "Patient", "id": id_, "generalPractitioner": [{"reference": "Practitioner/dr"}]}
        await harness.put(patient)
        encounter = {"resourceType": "Encounter", "id": f"e-{id_}", "status": "finished", "class": {"code": "AMB"}}
        await harness.put({**encounter, "subject": {"reference": f"Patient/{id_}"}})
    for day in (1, 2):
        await harness.put({
            "resourceType": "Observation", "id": f"o{day}", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/e-p1"},
            "effectiveDateTime": f"2026-01-0{day}",
        })  # fmt: skip
    return harness


EVERYTHING = (
    ("Patient/p1/$everything", "p1 e-p1 o1 o2 dr"),
    ("Patient/p2/$everything", "p2 e-p2 dr"),
    ("Patient/p1/$everything?start=2026-01-02", "p1 e-p1 o2 dr"),
    ("Patient/p1/$everything?end=2026-01-01", "p1 e-p1 o1 dr"),
    ("Patient/p1/$everything?_type=Observation", "o1 o2"),
    ("Patient/p1/$everything?_since=2999-01-01", ""),
    ("Encounter/e-p1/$everything", "e-p1 o1 o2 p1"),
)


def _posted(query: str) -> dict[str, Any]:
    """The parameters of a query as an operation takes them by POST."""
    types = {"_type": "valueCode", "_since": "valueInstant", "_count": "valueInteger"}
    made = []
    for name, _, value in (pair.partition("=") for pair in query.split("&") if pair):
        given: Any = int(value) if name == "_count" else "2999-01-01T00:00:00Z" if name == "_since" else value
        made.append({"name": name, types.get(name, "valueDate"): given})
    return {"resourceType": "Parameters", **({"parameter": made} if made else {})}


@pytest.mark.parametrize(("path", "expected"), EVERYTHING)
async def test_everything_by_post(record: Harness, path: str, expected: str) -> None:
    """operations.html#executing: the parameters in a Parameters resource; the pages are had by GET."""
    where, _, query = path.partition("?")
    whole = await record.send("POST", where, "admin", json_=_posted(query))
    assert [each["resource"]["id"] for each in whole.json().get("entry", [])] == expected.split()
    answer = await record.send("POST", where, "admin", json_=_posted(f"{query}&_count=1"))
    assert answer.status_code == 200, answer.text
    pages = {each["resource"]["id"] for each in answer.json().get("entry", [])}
    while following := [each["url"] for each in answer.json()["link"] if each["relation"] == "next"]:
        answer = await record.get(following[0].partition("/demo/fhir/")[2], "admin")
        assert answer.status_code == 200, answer.text
        pages |= {each["resource"]["id"] for each in answer.json()["entry"]}
    assert pages == set(expected.split())
    refused = await record.send("POST", where, "admin", json_=_posted("colour=2026"))
    assert refused.status_code == 400


async def test_meta_by_post_is_meta_by_get(harness: Harness) -> None:
    await harness.put({"resourceType": "Patient", "id": "x", "meta": {"tag": [{"system": "urn:t", "code": "a"}]}})
    for path in ("Patient/x/$meta", "Patient/x/_history/1/$meta"):
        posted = await harness.send("POST", path, "admin", json_={"resourceType": "Parameters"})
        assert posted.status_code == 200, posted.text
        assert posted.json() == (await harness.get(path, "admin")).json()
    assert (await harness.stored("Patient/x"))["meta"]["versionId"] == "1"


@pytest.mark.parametrize(("path", "expected"), EVERYTHING)
async def test_everything(record: Harness, path: str, expected: str) -> None:
    answer = await record.get(path, "admin")
    assert answer.status_code == 200, answer.text
    found = [each["resource"]["id"] for each in answer.json().get("entry", [])]
    assert sorted(found) == sorted(expected.split())


@pytest.mark.parametrize(
    ("path", "caller", "status"),
    [("Patient/nobody/$everything", "admin", 404), ("Patient/p1/$everything", "anonymous", 403),
     ("Patient/p1/$everything?colour=red", "admin", 400), ("Slot/p1/$everything", "admin", 404),
     ("Patient/p1/$paint", "admin", 404)],
)  # fmt: skip
async def test_everything_that_is_refused(record: Harness, path: str, caller: str, status: int) -> None:
    assert (await record.get(path, caller)).status_code == status


async def test_everything_comes_in_pages(record: Harness) -> None:
    answer, found = await record.get("Patient/p1/$everything?_count=1", "admin"), list[str]()
    while True:
        entries = answer.json().get("entry", [])
        found += [each["resource"]["id"] for each in entries if each["search"]["mode"] == "match"]
        following = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
        if not following:
            break
        answer = await record.get(following[0].partition("/demo/fhir/")[2], "admin")
        assert answer.status_code == 200, answer.text
    assert sorted(found) == ["e-p1", "o1", "o2", "p1"]


async def test_validate_stores_nothing(harness: Harness) -> None:
    """resource-operation-validate.html: 200 whatever is found."""
    good, bad = {"resourceType": "Patient"}, {"resourceType": "Patient", "active": "x"}
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": bad}]}
    for body, severity in ((good, "information"), (bad, "error"), (wrapped, "error")):
        answer = await harness.send("POST", "Patient/$validate", "admin", json_=body)
        assert (answer.status_code, answer.json()["issue"][0]["severity"]) == (200, severity)
    assert await harness.versions() == 0


async def test_convert(harness: Harness) -> None:
    """resource-operation-convert.html: XML in, JSON out, and back."""
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"}
    made = await harness.send("POST", "$convert", "admin", content=PATIENT, headers=headers)
    assert made.status_code == 200, made.text
    headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+xml"}
    back = await harness.send("POST", "$convert", "admin", content=made.content, headers=headers)
    assert xml.read(back.content, ELEMENTS) == xml.read(PATIENT, ELEMENTS)
    assert (await harness.send("POST", "$convert", json_={"resourceType": "Patient"})).status_code == 403


async def test_capabilities_claim_what_there_is(harness: Harness) -> None:
    statement = (await harness.get("metadata")).json()
    checked = await harness.send("POST", "CapabilityStatement/$validate", "admin", json_=statement)
    assert checked.json()["issue"][0]["severity"] == "information", checked.text
    rest = statement["rest"][0]
    assert {each["code"] for each in rest["interaction"]} == {"transaction", "batch", "search-system", "history-system"}
    patient = next(each for each in rest["resource"] if each["type"] == "Patient")
    assert {each["name"] for each in patient["operation"]} == {
        "meta",
        "meta-add",
        "meta-delete",
        "match",
        "validate",
        "everything",
    }
    assert (patient["conditionalCreate"], patient["conditionalDelete"]) == (True, "single")
    events = next(each for each in rest["resource"] if each["type"] == "AuditEvent")
    assert {each["code"] for each in events["interaction"]} == {"read", "search-type", "create"}
