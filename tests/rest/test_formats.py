"""XML, media types, compressed bodies and Binary (FHIR R4 xml.html, http.html#mime-type, binary.html)."""

import base64
import gzip
import json
import random

import pytest
import zstandard

from fhir_server.fhir import json as fhir_json
from fhir_server.fhir.errors import BadRequest
from fhir_server.rest.encoding import MOST_MEMBERS
from profiles import xml
from profiles.definitions import load
from profiles.elements import Elements
from tests.data.examples import examples
from tests.harness import Harness

ELEMENTS = Elements(load())
PATIENT = (
    b'<Patient xmlns="http://hl7.org/fhir"><id value="x"/><active value="true"/>'
    b'<name id="n"><family value="O&apos;Neil &amp; &lt;Co&gt;"/><given value="A"/>'
    b'<given><extension url="urn:e"><valueDecimal value="1.50"/></extension></given></name>'
    b'<multipleBirthInteger value="2"/></Patient>'
)


def test_every_example_survives_xml() -> None:
    """Each of the official examples, to XML and back, is what it was, decimals as written."""
    different = []
    for name, body in examples(with_giants=False):
        resource = fhir_json.parse(body)
        back = xml.read(xml.write(resource, ELEMENTS), ELEMENTS)
        if json.loads(fhir_json.serialise(back)) != json.loads(fhir_json.serialise(resource)):
            different.append(name)
    assert different == []


def test_xml_is_read_element_by_element() -> None:
    found = xml.read(PATIENT, ELEMENTS)
    assert fhir_json.serialise(found) == (
        b'{"resourceType":"Patient","id":"x","active":true,"name":[{"id":"n","family":"O\'Neil & <Co>",'
        b'"given":["A",null],"_given":[null,{"extension":[{"url":"urn:e","valueDecimal":1.50}]}]}],'
        b'"multipleBirthInteger":2}'
    )
    assert xml.read(xml.write(found, ELEMENTS), ELEMENTS) == found


def _patient(inner: str) -> str:
    return f'<Patient xmlns="http://hl7.org/fhir">{inner}</Patient>'


REFUSED = {
    "not xml": "<Patient",
    "document type": '<!DOCTYPE x [<!ENTITY a "b">]>' + _patient('<id value="&a;"/>'),
    "external entity": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + _patient('<id value="&a;"/>'),
    "undefined entity": _patient('<id value="&a;"/>'),
    "no namespace": '<Patient><id value="1"/></Patient>',
    "unknown element": _patient('<colour value="red"/>'),
    "unknown type": '<Colour xmlns="http://hl7.org/fhir"><id value="1"/></Colour>',
    "unknown attribute": _patient('<id value="1" colour="red"/>'),
    "text": _patient("red"),
    "twice": _patient('<id value="1"/><id value="2"/>'),
    "too deep": _patient("<extension url='u'>" * 100 + "</extension>" * 100),
    "processing instruction": "<?x y?>" + _patient(""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_xml_that_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        xml.read(REFUSED[name].encode(), ELEMENTS)


async def test_xml_in_and_out(harness: Harness) -> None:
    headers = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
    made = await harness.send("PUT", "Patient/x", "admin", content=PATIENT, headers=headers)
    assert (made.status_code, made.headers["content-type"]) == (201, "application/fhir+xml; charset=utf-8")
    assert xml.read(made.content, ELEMENTS)["name"][0]["family"] == "O'Neil & <Co>"
    searched = await harness.get("Patient?_format=xml", "admin")
    assert xml.read(searched.content, ELEMENTS)["entry"][0]["resource"]["id"] == "x"
    refused = await harness.send("PUT", "Patient/x", "admin", content="<!DOCTYPE a><a/>", headers=headers)
    assert refused.status_code == 400
    assert xml.read(refused.content, ELEMENTS)["resourceType"] == "OperationOutcome"
    metadata = await harness.get("metadata", headers={"Accept": "application/fhir+xml"})
    assert metadata.content.startswith(b"<?xml")


ACCEPTS = (
    ("application/fhir+json", "json"),
    ("*/*", "json"),
    ("application/fhir+xml", "xml"),
    ("text/xml;q=0.9, application/json;q=0.5", "xml"),
    ("application/fhir+xml;q=0.1, application/fhir+json;q=0.2", "json"),
    ("application/fhir+json; fhirVersion=3.0, application/fhir+xml; fhirVersion=4.0", "xml"),
    ("application/fhir+json; fhirVersion=3.0", None),
    ("text/html", None),
    ("application/fhir+xml;q=0", None),
)


@pytest.mark.parametrize(("accept", "format_"), ACCEPTS)
async def test_accept(harness: Harness, accept: str, format_: str | None) -> None:
    answer = await harness.get("metadata", headers={"Accept": accept})
    assert answer.status_code == (200 if format_ else 406)
    if format_:
        assert answer.headers["content-type"].startswith(f"application/fhir+{format_}")


@pytest.mark.parametrize("path", ["Patient", "Patient/_history", "Patient/x", "metadata"])
@pytest.mark.parametrize("name", ["application/fhir+ndjson", "application/ndjson", "ndjson"])
async def test_ndjson_is_for_bulk_outputs_alone(harness: Harness, path: str, name: str) -> None:
    """R4 nd-json.html: over REST it comes by the asynchronous pattern only; the refusal says so."""
    answer = await harness.get(path, "admin", headers={"Accept": name})
    by_parameter = await harness.get(f"{path}?_format={name}", "admin")
    for each in (answer, by_parameter):
        assert each.status_code == 406
        assert "asynchronous bulk requests" in each.json()["issue"][0]["diagnostics"]
    both = await harness.get("metadata", headers={"Accept": f"{name}, application/fhir+xml;q=0.1"})
    assert both.headers["content-type"].startswith("application/fhir+xml")


async def test_ndjson_is_no_body(harness: Harness) -> None:
    headers = {"Content-Type": "application/fhir+ndjson"}
    answer = await harness.send("POST", "Patient", "admin", content='{"resourceType":"Patient"}\n', headers=headers)
    assert answer.status_code == 415
    assert "import" in answer.json()["issue"][0]["diagnostics"]


async def test_compressed_bodies(harness: Harness) -> None:
    """RFC 9110 §8.4: gzip and zstd both ways; a bomb, a cut body and another coding are refused."""
    body = json.dumps({"resourceType": "Patient", "name": [{"text": "x" * 5_000}]}).encode()
    cases: tuple[tuple[str, bytes, int], ...] = (
        ("gzip", gzip.compress(body), 201),
        ("zstd", zstandard.ZstdCompressor().compress(body), 201),
        ("gzip", gzip.compress(body)[:-10], 400),
        ("zstd", b"not zstd", 400),
        ("br", body, 415),
        ("gzip", gzip.compress(b" " * 20_000_000), 413),
        ("zstd", zstandard.ZstdCompressor().compress(b" " * 20_000_000), 413),
    )
    zstd = zstandard.ZstdCompressor().compress
    text = random.Random(1).randbytes(200_000).hex()
    noise = json.dumps({"resourceType": "Patient", "name": [{"text": text}]}).encode()
    cases += (
        ("zstd", zstd(noise)[:-100], 400),
        ("zstd", zstd(noise)[: len(zstd(noise)) // 2], 400),
        ("zstd", zstd(body) + b"JUNK", 400),
        ("gzip", gzip.compress(body) + b"JUNK", 400),
        ("gzip", gzip.compress(noise)[: len(gzip.compress(noise)) // 2], 400),
        # RFC 1952 §2.2, RFC 8878 §3.1: what is packed in parts is the parts, joined.
        ("gzip", gzip.compress(body[:100]) + gzip.compress(b"") + gzip.compress(body[100:]), 201),
        ("zstd", zstd(body[:100]) + zstd(body[100:]), 201),
        ("gzip", gzip.compress(body[:100]) + gzip.compress(body[100:])[:-5], 400),
        ("zstd", zstd(body[:100]) + zstd(body[100:])[:-5], 400),
        ("gzip", gzip.compress(body) + gzip.compress(b"") * MOST_MEMBERS, 400),
        ("zstd", zstd(body) + zstd(b"") * MOST_MEMBERS, 400),
        ("gzip", gzip.compress(b" " * 6_000_000) * 4, 413),
    )
    for coding, content, status in cases:
        headers = {"Content-Encoding": coding, "Content-Type": "application/fhir+json"}
        answer = await harness.send("POST", "Patient", "admin", content=content, headers=headers)
        assert answer.status_code == status, coding
    for coding in ("gzip", "zstd"):
        answer = await harness.get("Patient", "admin", headers={"Accept-Encoding": coding})
        assert answer.headers["content-encoding"] == coding
        assert answer.json()["resourceType"] == "Bundle"


async def test_binary_in_its_own_media_type(harness: Harness) -> None:
    """binary.html#rest: written and read as what it is; as a resource for whoever asks for FHIR."""
    content = b"\x89PNG\x00\xff"
    made = await harness.send("POST", "Binary", "admin", content=content, headers={"Content-Type": "image/png"})
    assert made.status_code == 201, made.text
    name = f"Binary/{made.json()['id']}"
    raw = await harness.get(name, "admin", headers={"Accept": "image/*"})
    assert (raw.content, raw.headers["content-type"]) == (content, "image/png")
    assert raw.headers["content-disposition"] == "attachment"
    whole = await harness.get(name, "admin", headers={"Accept": "application/fhir+json"})
    assert whole.json()["contentType"] == "image/png"


PNG = {"resourceType": "Binary", "id": "x", "contentType": "image/png", "data": "UE5H"}
# (Accept, query) -> whether the picture comes as itself.
PICTURES = (
    ("image/png", "", True),
    ("image/*", "", True),
    ("application/fhir+json;q=0.5, image/png", "", True),
    ("image/png, */*", "", True),
    ("application/fhir+json, image/png;q=0", "", False),
    ("application/fhir+json, image/png;q=0.9", "", False),
    ("image/*, image/png;q=0", "", False),
    ("image/png", "?_format=json", False),
    ("image/png", "?_format=application/fhir%2Bjson", False),
    ("text/csv", "", False),
    ("*/*", "", False),
)


@pytest.mark.parametrize(("accept", "query", "is_raw"), PICTURES)
async def test_a_binary_comes_as_the_caller_prefers(harness: Harness, accept: str, query: str, is_raw: bool) -> None:
    """RFC 9110 §12.5.1; `_format` goes before Accept (FHIR R4 http.html#mime-type)."""
    await harness.seed(PNG)
    for path in ("Binary/x", "Binary/x/_history/1"):
        answer = await harness.get(path + query, "admin", headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        assert (answer.content == b"PNG") == is_raw
        assert is_raw or answer.json()["resourceType"] == "Binary"


@pytest.mark.parametrize("type_", ["application/fhir+json", "application/json; charset=utf-8", "application/fhir+xml"])
@pytest.mark.parametrize("query", ["", "?_format=json", "?_format=xml"])
async def test_a_binary_of_a_resource_is_never_taken_for_it(harness: Harness, type_: str, query: str) -> None:
    """What a Binary holds has had no check; as FHIR comes only the Binary itself."""
    data = base64.b64encode(b'{"resourceType":"Patient","id":"evil"}').decode()
    await harness.seed({"resourceType": "Binary", "id": "x", "contentType": type_, "data": data})
    answer = await harness.get(f"Binary/x{query}", "admin", headers={"Accept": type_.partition(";")[0]})
    is_xml = "xml" in query or (not query and "xml" in type_)
    found = xml.read(answer.content, ELEMENTS) if is_xml else answer.json()
    assert (found["resourceType"], found["contentType"]) == ("Binary", type_)


async def test_a_binary_of_any_media_type_is_a_sound_resource(harness: Harness) -> None:
    """binary.html#rest: its parameters are kept; what its headers make is checked as a resource is."""
    headers = {"Content-Type": "Text/Plain;  charset=iso-8859-1"}
    made = await harness.send("POST", "Binary", "admin", content=b"\xe4", headers=headers)
    assert (made.status_code, made.json()["contentType"]) == (201, "text/plain; charset=iso-8859-1")
    raw = await harness.get(f"Binary/{made.json()['id']}", "admin", headers={"Accept": "text/plain"})
    assert (raw.content, raw.headers["content-type"]) == (b"\xe4", "text/plain; charset=iso-8859-1")
    empty = await harness.send("POST", "Binary", "admin", content=b"", headers={"Content-Type": "text/plain"})
    assert (empty.status_code, "data" in empty.json()) == (201, False)
    name = f"Binary/{empty.json()['id']}"
    raw = await harness.get(name, "admin", headers={"Accept": "text/plain"})
    assert (raw.status_code, raw.content) == (200, b"")
    assert (await harness.put(empty.json())).status_code == 200
    for method, path in (("POST", "Binary"), ("PUT", "Binary/y")):
        bad = {"Content-Type": "text/plain", "X-Security-Context": "not a reference at all"}
        answer = await harness.send(method, path, "admin", content=b"x", headers=bad)
        assert answer.status_code == 422
        assert answer.json()["issue"][0]["expression"] == ["Binary.securityContext.reference"]
        assert (await harness.get("Binary?_summary=count", "admin")).json()["total"] == 2
    good = {"Content-Type": "text/plain", "X-Security-Context": "Patient/anna"}
    await harness.seed({"resourceType": "Patient", "id": "anna"})
    answer = await harness.send("POST", "Binary", "admin", content=b"x", headers=good)
    assert answer.json()["securityContext"] == {"reference": "Patient/anna"}


@pytest.mark.parametrize("type_", ["image/png;\rx", "image/png;\nset-cookie:y", "image/png;日本"])
async def test_binary_of_a_type_that_is_no_headers_value_comes_as_a_resource(harness: Harness, type_: str) -> None:
    """FHIR's code has room for more than a header's value has."""
    await harness.seed({"resourceType": "Binary", "id": "x", "contentType": type_, "data": "AAAA"})
    answer = await harness.get("Binary/x", "admin", headers={"Accept": "image/png, image/*"})
    assert (answer.status_code, answer.json()["contentType"]) == (200, type_)
    assert "set-cookie" not in answer.headers


async def test_head_answers_like_get_without_a_body(harness: Harness) -> None:
    await harness.put({"resourceType": "Patient", "id": "x"})
    got, head = await harness.get("Patient/x", "admin"), await harness.send("HEAD", "Patient/x", "admin")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == got.headers["etag"]
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_xml_is_laid_out_when_it_is_asked_for(harness: Harness) -> None:
    """`_pretty`: a line for each element, and the same resource; a narrative stays as it was written."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml">a <b>b</b>\n</div>'
    sent = {"resourceType": "Patient", "id": "a", "text": {"status": "generated", "div": div},
            "name": [{"family": 'x "<&'}]}  # fmt: skip
    await harness.seed(sent)
    plain = await harness.get("Patient/a?_format=xml", "admin")
    pretty = await harness.get("Patient/a?_format=xml&_pretty=true", "admin")
    assert plain.content.count(b"\n") == 1
    assert b'\n  <name>\n    <family value="x &quot;&lt;&amp;"/>\n  </name>\n' in pretty.content
    assert div.encode() in pretty.content
    assert xml.read(pretty.content, ELEMENTS) == xml.read(plain.content, ELEMENTS)


async def test_a_read_says_where_its_version_is(harness: Harness) -> None:
    """RFC 9110 §8.7: Content-Location of what is shown, and none of what is told about it."""
    await harness.seed({"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "a", "active": True})
    base = "http://fhir.test/demo/fhir/Patient/a/_history"
    assert (await harness.get("Patient/a", "admin")).headers["content-location"] == f"{base}/2"
    assert (await harness.get("Patient/a/_history/1", "admin")).headers["content-location"] == f"{base}/1"
    for path in ("Patient/a/$meta", "Patient/a/_history", "Patient"):
        assert "content-location" not in (await harness.get(path, "admin")).headers
