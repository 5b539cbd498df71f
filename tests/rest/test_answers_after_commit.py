"""What is stored can be answered, in every format and coding: no answer fails once the commit is done."""

import json
from typing import Any
from xml.dom import minidom

import pytest

from fhir_server.fhir import json as fhir_json
from fhir_server.interactions.access import ANONYMOUS, Access
from fhir_server.interactions.repository import Repository
from fhir_server.rest import respond
from profiles.narrative import MAX_DEPTH
from tests.harness import FHIR_JSON, Harness, issue

FORMATS = ("_format=json", "_format=json&_pretty=true", "_format=xml", "_format=xml&_pretty=true")
XML = {"Content-Type": "application/fhir+xml"}


def _narrative(depth: int, inner: str = "x") -> dict[str, str]:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">' + "<div>" * (depth - 1) + inner + "</div>" * depth
    return {"status": "generated", "div": div}


async def _count(harness: Harness) -> int:
    total: int = (await harness.get("Patient?_summary=count", "admin")).json()["total"]
    return total


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "a\uffff", "\x0b"])
async def test_a_character_that_xml_has_not_is_refused(harness: Harness, format_: str, character: str) -> None:
    """XML 1.0 §2.2: Char. In a string, a uri, an id of an element and a narrative."""
    before = await _count(harness)
    for resource in (
        {"name": [{"family": f"F{character}"}]},
        {"identifier": [{"system": f"urn:{character}", "value": "1"}]},
        {"text": _narrative(1, f"x{character}")},
    ):
        body = {"resourceType": "Patient", **resource}
        answer = await harness.send("POST", f"Patient?{format_}", "admin", json_=body)
        assert answer.status_code == 422, answer.text
    assert await _count(harness) == before


async def _keep(harness: Harness, resource: dict[str, Any]) -> None:
    """As a version with fewer checks stored it."""
    clinic = await harness.parts.clinics.get("demo")

    async def store(unit: Any) -> None:
        await Repository(unit, clinic, Access(ANONYMOUS), is_import=True)._store(None, resource, resource["id"], "PUT")

    await harness.run(store, write=True)


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_was_stored_with_such_a_character_is_answered(harness: Harness, format_: str) -> None:
    await _keep(harness, {"resourceType": "Patient", "id": "old", "name": [{"family": "F\uffff\ufffe"}]})
    for path in ("Patient/old", "Patient"):
        answer = await harness.get(f"{path}?{format_}", "admin")
        assert answer.status_code == 200, answer.text
        if "xml" in format_:
            found = minidom.parseString(answer.content).getElementsByTagName("family")
            assert "F\ufffd\ufffd" in [each.getAttribute("value") for each in found]


async def test_a_refusal_that_quotes_such_a_character_is_xml(harness: Harness) -> None:
    answer = await harness.get("Patient?%01%EF%BF%BF=1&_format=xml", "admin")
    assert answer.status_code == 400
    minidom.parseString(answer.content)


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_narrative_is_as_deep_in_xml_as_in_json(harness: Harness, format_: str) -> None:
    deepest = {"resourceType": "Patient", "id": "deep", "text": _narrative(MAX_DEPTH)}
    answer = await harness.send("PUT", f"Patient/deep?{format_}", "admin", json_=deepest)
    assert answer.status_code == 201, answer.text
    read = await harness.get(f"Patient/deep?{format_}", "admin")
    assert (read.status_code, read.text) == (200, answer.text)
    headers = XML if "xml" in format_ else {"Content-Type": FHIR_JSON}
    back = await harness.send("PUT", "Patient/deep", "admin", content=read.content, headers=headers)
    assert back.status_code == 200, back.text
    searched = await harness.get(f"Patient?_id=deep&{format_}", "admin")
    assert searched.status_code == 200, searched.text


@pytest.mark.parametrize("inner", ["<div>x</div>", "<?php x?>", "<?php x?>x"])
async def test_a_narrative_beyond_what_xml_takes_is_refused_in_json_too(harness: Harness, inner: str) -> None:
    depth = MAX_DEPTH if inner.startswith("<div") else 1
    answer = await harness.create({"resourceType": "Patient", "text": _narrative(depth, inner)})
    assert (answer.status_code, issue(answer)["expression"]) == (422, ["Patient.text.div"])
    assert await _count(harness) == 0
    await _keep(harness, {"resourceType": "Patient", "id": "old", "text": _narrative(depth, inner + "y")})
    for format_ in FORMATS:
        assert (await harness.get(f"Patient/old?{format_}", "admin")).status_code == 200


def _nested(levels: int) -> dict[str, Any]:
    """A resource with so many containers in one another."""
    made: dict[str, Any] = {"url": "urn:e", "valueBoolean": True}
    for _ in range(levels // 2 - 1):
        made = {"url": "urn:e", "extension": [made]}
    return {"resourceType": "Patient", "id": "nested", "extension": [made]}


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_deepest_resource_is_answered_alone_and_in_a_bundle(harness: Harness, format_: str) -> None:
    resource = _nested(fhir_json.MAX_DEPTH - 1)
    assert fhir_json.depth_exceeds(resource, fhir_json.MAX_DEPTH - 2)
    answer = await harness.send("PUT", f"Patient/nested?{format_}", "admin", json_=resource)
    assert answer.status_code == 201, answer.text
    for path in ("Patient/nested?", "Patient/nested/_history?", "Patient?_id=nested&"):
        read = await harness.get(path + format_, "admin")
        assert read.status_code == 200, read.text
    headers = XML if "xml" in format_ else {"Content-Type": FHIR_JSON}
    back = await harness.send("PUT", "Patient/nested", "admin", content=answer.content, headers=headers)
    assert back.status_code == 200, back.text


async def test_xml_is_no_deeper_than_the_json_it_stands_for(harness: Harness) -> None:
    """An extension in an extension is one level of XML and two of JSON; what is stored must be readable."""
    inner = '<extension url="urn:e"><valueBoolean value="true"/></extension>'
    for _ in range(40):
        inner = f'<extension url="urn:e">{inner}</extension>'
    document = f'<Patient xmlns="http://hl7.org/fhir"><id value="x"/>{inner}</Patient>'
    answer = await harness.send("PUT", "Patient/x", "admin", content=document, headers=XML)
    assert (answer.status_code, issue(answer)["code"]) == (400, "structure")
    assert "60 levels" in issue(answer)["diagnostics"]


@pytest.mark.parametrize("value", [b"gzip;q=\xb2", b"gzip;q=", b"gzip;q=.", b"gzip;q=x", b"zstd;q=\xb3,gzip;q=\xb2"])
async def test_a_quality_that_is_no_number_is_none(harness: Harness, value: bytes) -> None:
    """The answer comes as it is (RFC 9110 §12.4.2)."""
    body = json.dumps({"resourceType": "Patient", "name": [{"family": "x" * 1_500}]})
    answer = await harness.http.request(
        "POST", "/demo/fhir/Patient", content=body,
        headers=[(b"accept-encoding", value), (b"content-type", FHIR_JSON.encode()),
                 (b"authorization", f"Bearer {await harness.token('admin')}".encode())],
    )  # fmt: skip
    assert (answer.status_code, answer.headers.get("content-encoding")) == (201, None)


@pytest.mark.parametrize("value", [b"\xb2", b"9" * 5_000])
async def test_a_length_that_is_no_number_is_no_failure(harness: Harness, value: bytes) -> None:
    answer = await harness.http.request(
        "POST", "/demo/fhir/Patient", content=b'{"resourceType":"Patient"}',
        headers=[(b"content-length", value), (b"content-type", FHIR_JSON.encode()),
                 (b"authorization", f"Bearer {await harness.token('admin')}".encode())],
    )  # fmt: skip
    assert answer.status_code == (201 if value == b"\xb2" else 413)


async def test_an_answer_that_cannot_be_written_says_that_it_was_done(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500, and not the 400 or 500 that says that nothing was changed."""

    def broken(*_: Any) -> bytes:
        raise ValueError("cannot be written")

    monkeypatch.setattr(respond.xml, "pretty", broken)
    before = await _count(harness)
    answer = await harness.send(
        "POST", "Patient?_format=xml&_pretty=true", "admin", json_={"resourceType": "Patient", "active": True}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (500, FHIR_JSON)
    assert "was done" in issue(answer)["diagnostics"]
    assert await _count(harness) == before + 1
