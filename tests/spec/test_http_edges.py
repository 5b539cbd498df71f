"""Corners of HTTP and of Bundles, each of which this server once had wrong (FHIR R4 http.html, RFC 9110, RFC 7240)."""

import gzip
import json
from urllib.parse import quote

import pytest
import zstandard

from tests.harness import FHIR_JSON, Harness, ids, issue, patient

MRN = "http://terminology.hl7.org/CodeSystem/v2-0203|MR|1"


@pytest.fixture
async def world(harness: Harness) -> Harness:
    await harness.seed(patient("anna"), patient("ben"))
    return harness


@pytest.mark.parametrize(
    "prefer", ["Handling=Lenient", "handling = lenient", 'HANDLING="lenient"', "a, handling=lenient"]
)
async def test_preferences_have_no_case_and_may_have_space(world: Harness, prefer: str) -> None:
    """RFC 7240 §2: names have no case, and space may stand around the equals sign."""
    answer = await world.get("Patient?colour=red", "admin", headers={"Prefer": prefer})
    assert ids(answer) == ["anna", "ben"]
    assert answer.json()["entry"][-1]["search"]["mode"] == "outcome"
    minimal = await world.put(patient("anna"), headers={"Prefer": f"{prefer}, Return = minimal"})
    assert (minimal.status_code, minimal.content) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("application/fhir+json;q=0, */*;q=0.5", "xml"),
        ("*/*, application/json;q=0", "xml"),
        ("application/fhir+xml;q=0, application/*", "json"),
        ("application/fhir+json;q=0, application/xml;q=0, */*", None),
        ("application/fhir+json; fhirVersion=3.0, */*;q=0.1", "json"),
    ],
)
async def test_a_format_at_quality_zero_is_not_given_for_a_wildcard(
    world: Harness, accept: str, format_: str | None
) -> None:
    """RFC 9110 §12.5.1: the most specific range holds."""
    answer = await world.get("Patient/anna", "admin", headers={"Accept": accept})
    assert answer.status_code == (200 if format_ else 406)
    if format_:
        assert answer.headers["content-type"].startswith(f"application/fhir+{format_}")


async def test_what_stands_after_a_compressed_body_is_not_dropped(world: Harness) -> None:
    """A body that goes on after its end is refused, in either coding; nothing is stored."""
    body = json.dumps(patient("new")).encode()
    frame = zstandard.ZstdCompressor().compress(body)
    for coding, content in (
        ("gzip", gzip.compress(body) + b"junk"),
        ("gzip", gzip.compress(body) + gzip.compress(body)),
        ("zstd", frame + frame),
        ("zstd", frame + b"junk"),
        ("zstd", frame[:-3]),
    ):
        headers = {"Content-Type": FHIR_JSON, "Content-Encoding": coding}
        answer = await world.send("PUT", "Patient/new", "admin", content=content, headers=headers)
        assert answer.status_code == 400, (coding, content[-20:])
    assert (await world.get("Patient/new", "admin")).status_code == 404


async def test_if_none_match_keeps_an_update_from_replacing(world: Harness) -> None:
    """RFC 9110 §13.1.2: `*` is for a first version only."""
    for tag in ("*", 'W/"1"', 'W/"7", W/"1"'):
        answer = await world.put(patient("anna"), headers={"If-None-Match": tag})
        assert answer.status_code == 412, tag
    assert (await world.stored("Patient/anna"))["meta"]["versionId"] == "1"
    assert (await world.put(patient("new"), headers={"If-None-Match": "*"})).status_code == 201
    assert (await world.put(patient("anna"), headers={"If-None-Match": 'W/"7"'})).status_code == 200
    assert (await world.put(patient("anna"), headers={"If-None-Match": "1"})).status_code == 400


@pytest.mark.parametrize("query", ["gender:of-type=a|b|c", f"_id:of-type={MRN}", f"telecom:of-type={MRN}"])
async def test_of_type_is_for_identifiers(world: Harness, query: str) -> None:
    """search.html#modifiers: a modifier that does not apply is 400."""
    answer = await world.get(f"Patient?{query}", "admin")
    assert (answer.status_code, issue(answer)["expression"]) == (400, [query.partition("=")[0]])
    assert ids(await world.get(f"Patient?identifier:of-type={MRN}", "admin")) == []


async def test_types_within_a_compartment(world: Harness) -> None:
    """`_type` narrows `Patient/anna/*`, and the self link says so."""
    about = {"reference": "Patient/anna"}
    await world.seed(
        {"resourceType": "Condition", "id": "c", "subject": about},
        {"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "subject": about},
    )
    assert sorted(ids(await world.get("Patient/anna/*", "admin"))) == ["b", "c"]
    answer = await world.get("Patient/anna/*?_type=Condition,Medication", "admin")
    assert ids(answer) == ["c"]
    assert answer.json()["link"][0]["url"].endswith("/Patient/anna/*?_type=Condition")
    assert ids(await world.get("Patient/anna/*?_type=Medication", "admin")) == []
    assert (await world.get("Patient/anna/*?_type=Colour", "admin")).status_code == 400


@pytest.mark.parametrize("path", ["Patient?name=%ff", "Patient?n%fe=x", "?_type=Patient&name=%c3"])
async def test_a_query_that_is_no_utf_8(world: Harness, path: str) -> None:
    answer = await world.get(path, "admin")
    assert (answer.status_code, issue(answer)["code"]) == (400, "structure")
    assert ids(await world.get(f"Patient?name={quote('Ännä')}", "admin")) == ["anna"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_head_in_a_bundle(world: Harness, kind: str) -> None:
    """http.html#transaction: answered like GET, without the resource."""
    entries = [{"request": {"method": "HEAD", "url": url}} for url in ("Patient/anna", "Patient?_id=ben")]
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    answer = await world.send("POST", "", "admin", json_=bundle)
    assert answer.status_code == 200, answer.text
    read, searched = answer.json()["entry"]
    assert (read["response"]["status"], read["response"]["etag"]) == ("200 OK", 'W/"1"')
    assert searched["response"]["status"] == "200 OK"
    assert "resource" not in read
    assert "resource" not in searched


async def test_a_history_with_patches_is_done_again(world: Harness) -> None:
    """An entry of `_history` whose method was PATCH has the resource that came of it."""
    change = [{"op": "add", "path": "/gender", "value": "female"}]
    assert (await world.patch("Patient/anna", change, "admin")).status_code == 200
    told = (await world.get("Patient/anna/_history", "admin")).json()
    assert [entry["request"]["method"] for entry in told["entry"]] == ["PATCH", "PUT"]
    again = await world.send("POST", "", "admin", json_=told, tenant="other")
    assert again.status_code == 200, again.text
    there = (await world.get("Patient/anna", "admin", tenant="other")).json()
    assert (there["gender"], there["meta"]["versionId"]) == ("female", "2")
