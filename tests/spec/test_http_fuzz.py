"""Any request at all: never 500, an OperationOutcome for every refusal, and never what the server is made of."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profiles import xml
from tests.harness import FHIR_JSON, FORM, JSON_PATCH, STORES, Harness, make_harness, patient, practitioner, schedule

METHODS = ("GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
CALLERS = ("anonymous", "admin", "admin", "dr-lee", "anna", "website", "auditor")
_pieces = st.one_of(
    st.sampled_from(["Patient", "Slot", "Appointment", "Observation", "AuditEvent", "metadata", "_history", "_search",
                     "anna", "s", "1", "%00", "%2e%2e", "%2F", "%", "%zz", "$x", "_", "", ".", "..", "*", "é",
                     "x" * 65]),
    st.text(alphabet="aZ09-._~%/;,:@&=+$!'()*\"<>\\^`{|}[] \t\x7fé\u2028", max_size=8),
)  # fmt: skip
_paths = st.one_of(
    st.sampled_from(["Patient", "Patient/anna", "Slot", "Slot/s", "Appointment", "Patient/_search", "AuditEvent",
                     "Patient/anna/_history", "Patient/_history", "_history", "metadata", "Observation",
                     "AuditEvent/_search", "Slot/s/_history/1", "AuditEvent/c-1"]),
    st.lists(_pieces, max_size=5).map("/".join),
)  # fmt: skip
_names = st.sampled_from(
    ["_id", "_count", "_sort", "_include", "_revinclude", "_page", "_since", "_at", "_summary", "_elements", "_total",
     "_format", "_pretty", "_lastUpdated", "_tag", "_has:Appointment:patient:status", "name", "name:exact", "birthdate",
     "status", "start", "schedule", "schedule.actor:Practitioner.name", "patient", "patient.name", "identifier",
     "value-quantity", "date", "agent", "entity", "action", "code", "access_token", "", "x", ":", ".", "a.b.c"]
)  # fmt: skip
_values = st.one_of(
    st.sampled_from(["", "1", "-1", "free", "anna", "Patient/anna", "ge2026", "ne2026-01-01T00:00:00Z", "0001", "9999",
                     "lt0001-01-01", "gt9999-12-31T23:59:59.999Z", "ap2026", "2026-02-30", "Slot:schedule", "*",
                     "Appointment:patient", "status,-start", "-_id", "json", "xml", "true", "count", "AAAA", "a,b",
                     "\\,", "|", "a|", "|b", "1e999999", "1e-999999", "ap1e999999", "5||kg", "9" * 5000, "%00",
                     "2026-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "$" * 99]),
    st.text(max_size=12),
)  # fmt: skip
_queries = st.lists(st.tuples(_names, _values), max_size=4)
_headers = st.dictionaries(
    st.sampled_from(["Accept", "Content-Type", "If-Match", "If-None-Match", "If-Modified-Since", "Prefer", "Origin",
                     "Idempotency-Key", "X-Request-Id", "X-Correlation-Id", "traceparent", "Forwarded", "Authorization",
                     "Access-Control-Request-Method", "Content-Length", "If-None-Exist", "Range",
                     "X-HTTP-Method-Override"]),
    st.one_of(
        st.sampled_from(["*", "*/*", "", ",", ";", "W/\"1\"", "W/\"", "\"\"", FHIR_JSON, JSON_PATCH, FORM, "Bearer ",
                         "Bearer a.b.c", "Bearer pr.x", "Basic eDp4", "return=minimal", "return=OperationOutcome",
                         "handling=lenient", "Mon, 18 Jan 2027 08:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359",
                         "Sat, 01 Jan 99999 00:00:00 GMT", "https://clinic.example", "00-" + "a" * 32 + "-b-01",
                         "for=1.2.3.4", "for=\"[::1]:1\"", "application/fhir+json; q=x", "a/b;q=0, */*;q=0"]),
        st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
    ),
    max_size=3,
)  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["Patient", "Slot", "anna", "booked", "proposed", "2026-01-01T00:00:00Z", "Slot/s", "#p"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["resourceType", "id", "meta", "tag", "system", "status", "name", "family", "slot", "reference",
                         "participant", "actor", "contained", "start", "end", "schedule", "extension", "url", "op",
                         "path", "value", "from", "_name", "text", "div", "valueString", "x"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
_bodies = st.one_of(
    _json.map(json.dumps).map(lambda text: text.encode("utf-8", "surrogatepass")),
    _json.map(lambda value: json.dumps({"resourceType": "Patient", "id": "anna", "name": value}).encode()),
    _json.map(lambda value: json.dumps({"resourceType": "Appointment", "status": "proposed", "contained": [value],
              "participant": [{"actor": {"reference": "#p"}, "status": "accepted"}],
              "slot": [{"reference": "Slot/s"}]}).encode()),
    _json.map(lambda value: json.dumps([{"op": "add", "path": "/name", "value": value}]).encode()),
    st.lists(st.fixed_dictionaries({"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
             "path": st.sampled_from(["", "/name", "/name/0", "/meta", "/id", "/status", "/x/y", "/name/-"])},
             optional={"value": _json, "from": st.sampled_from(["", "/name", "/meta"])}), max_size=3)
    .map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=20),
    st.just(b""),
    st.just(b"name=a&birthdate=ge2026"),
)  # fmt: skip


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[asyncio.AbstractEventLoop, Harness]]:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        harness = loop.run_until_complete(make_harness(request.param, Path(folder)))
        seeds = (practitioner("dr-lee"), patient("anna"), schedule("lee", "Practitioner/dr-lee"), harness.slot("s"))
        loop.run_until_complete(harness.seed(*seeds))
        yield loop, harness
        loop.run_until_complete(harness.close())
    loop.close()


async def _raw(harness: Harness, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Any:
    """One request as ASGI has it, so that no client library tidies it up; status, headers and body."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "root_path": "",
        "path": f"/demo/fhir/{path}", "raw_path": f"/demo/fhir/{path}".encode("utf-8", "replace"),
        "query_string": query.encode("utf-8", "replace"), "client": ("127.0.0.1", 1), "server": ("fhir.test", 80),
        "headers": [(k.lower().encode(), v.encode("latin-1", "replace")) for k, v in headers.items()],
    }  # fmt: skip
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app = harness.http._transport.app  # type: ignore[attr-defined]
    await app(scope, receive, send)
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


@settings(max_examples=1_200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(METHODS), _paths, _queries, _headers, _bodies, st.sampled_from(CALLERS), st.booleans())
@example("GET", "AuditEvent", [("agent.name", "x")], {}, b"", "admin", False)
@example("GET", "Patient", [("_lastUpdated", "0001-01-01T00:00:00+14:00")], {}, b"", "admin", True)
def test_no_request_makes_the_server_fail(
    server: tuple[asyncio.AbstractEventLoop, Harness],
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    caller: str,
    usual: bool,
) -> None:
    loop, harness = server

    async def ask() -> None:
        given = dict(headers)
        if usual:
            given["Content-Type"] = JSON_PATCH if method == "PATCH" else FORM if "_search" in path else FHIR_JSON
            given.pop("Accept", None)
            given.pop("Authorization", None)
        if caller != "anonymous" and "Authorization" not in given:
            given["Authorization"] = f"Bearer {await harness.token(caller)}"
        text = "&".join(f"{name}={value}" for name, value in query)
        status, answered, content = await _raw(harness, method, path, text, given, body)
        assert status < 500, content
        assert int(answered.get(b"content-length", b"0")) in (len(content), int(answered.get(b"content-length", b"0")))
        if method == "HEAD":
            assert content == b""
        elif status >= 400:
            is_xml = answered[b"content-type"].startswith(b"application/fhir+xml")
            outcome = xml.read(content, harness.parts.server.elements) if is_xml else json.loads(content)
            assert outcome["resourceType"] == "OperationOutcome", content
            assert all(issue["diagnostics"] and issue["code"] for issue in outcome["issue"])
        for inner in (b"Traceback", b"fhir_server.", b"apsw", b"sqlite", b".py"):
            assert inner not in content
        assert answered[b"x-request-id"]

    loop.run_until_complete(ask())
