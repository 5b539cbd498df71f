"""Bad input: a right status, an OperationOutcome that says what and where, nothing stored, the denial audited once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness import FHIR_JSON, FORM, HOUR, JSON_PATCH, Harness, issue, link, make_harness, patient

_JSON = {"Content-Type": FHIR_JSON}
_PATCH = {"Content-Type": JSON_PATCH}
_ID_OF_65 = "a" * 65


class Bad(NamedTuple):
    """A request that is refused, with what its first issue says."""

    name: str
    method: str
    path: str
    status: int
    code: str
    says: str = ""
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    caller: str = "admin"


def _body(name: str, body: str | bytes, status: int, code: str, says: str = "", path: str = "Patient") -> Bad:
    content = body if isinstance(body, bytes) else body.encode()
    return Bad(name, "PUT" if "/" in path else "POST", path, status, code, says, content, _JSON)


def _get(path: str, status: int, code: str, says: str = "", caller: str = "admin") -> Bad:
    return Bad(f"GET {path[:60]}", "GET", path, status, code, says, caller=caller)


TABLE: tuple[Bad, ...] = (
    _body("malformed JSON", '{"resourceType":', 400, "structure", "line 1, column 17"),
    _body("no JSON at all", "<Patient/>", 400, "structure", "not JSON"),
    _body("no body", b"", 400, "required", "no body"),
    _body("duplicate property", '{"resourceType":"Patient","active":true,"active":false}', 400, "structure",
          "'active' occurs twice"),
    _body("an array", "[]", 400, "structure", "resource"),
    _body("a number", "1", 400, "structure", "resource"),
    _body("null", "null", 400, "structure", "resource"),
    _body("wrong resourceType", '{"resourceType":"Slot"}', 400, "structure", "'Patient'"),
    _body("no resourceType", '{"active":true}', 400, "structure", "'Patient'"),
    _body("resourceType is a list", '{"resourceType":["Patient"]}', 400, "structure", "'Patient'"),
    _body("wrong id", '{"resourceType":"Patient","id":"other"}', 400, "invalid", "'anna'", "Patient/anna"),
    _body("id is a number", '{"resourceType":"Patient","id":1}', 422, "", "", "Patient/anna"),
    _body("unknown element", '{"resourceType":"Patient","colour":"red"}', 422, "", "colour"),
    _body("wrong type of element", '{"resourceType":"Patient","active":"yes"}', 422, "", ""),
    _body("bad date", '{"resourceType":"Patient","birthDate":"1980-13-01"}', 422, "", ""),
    _body("empty array", '{"resourceType":"Patient","name":[]}', 422, "", ""),
    _body("null element", '{"resourceType":"Patient","active":null}', 422, "", ""),
    _body("missing mandatory element", '{"resourceType":"Slot"}', 422, "", "", "Slot"),
    _body("deep nesting", '{"resourceType":"Patient","a":' + "[" * 100 + "]" * 100 + "}", 400, "structure", "nested"),
    _body("very deep nesting", "[" * 50_000, 400, "structure", ""),
    _body("lone surrogate", '{"resourceType":"Patient","name":[{"family":"\\ud800"}]}', 400, "value", "surrogate"),
    _body("lone surrogate in a name", '{"resourceType":"Patient","\\udc00":1}', 400, "value", "surrogate"),
    _body("NaN", '{"resourceType":"Patient","multipleBirthInteger":NaN}', 400, "structure", ""),
    _body("Infinity", '{"resourceType":"Patient","multipleBirthInteger":-Infinity}', 400, "structure", ""),
    _body("invalid UTF-8", b'{"resourceType":"Patient","name":[{"family":"\xff"}]}', 400, "structure", "UTF-8"),
    _body("huge integer", '{"resourceType":"Patient","multipleBirthInteger":' + "9" * 5_000 + "}", 422, "", ""),
    _body("huge exponent", '{"resourceType":"Patient","multipleBirthInteger":1e99999999999999999999}', 400,
          "structure", ""),
    _body("big integer", '{"resourceType":"Patient","multipleBirthInteger":99999999999999999999}', 422, "", ""),
    Bad("unsupported media type", "POST", "Patient", 415, "not-supported", FHIR_JSON, b"<a/>",
        {"Content-Type": "text/html"}),
    Bad("malformed XML", "POST", "Patient", 400, "structure", "namespace", b"<a/>",
        {"Content-Type": "application/fhir+xml"}),
    Bad("no media type", "POST", "Patient", 415, "not-supported", FHIR_JSON, b"{}"),
    Bad("other charset", "POST", "Patient", 415, "not-supported", "UTF-8", b"{}",
        {"Content-Type": f"{FHIR_JSON}; charset=latin-1"}),
    Bad("patch of another kind", "PATCH", "Patient/anna", 415, "not-supported", JSON_PATCH, b"[]",
        {"Content-Type": "application/json"}),
    Bad("malformed patch", "PATCH", "Patient/anna", 400, "structure", "line 1", b"[{]", _PATCH),
    Bad("search form as JSON", "POST", "Patient/_search", 415, "not-supported", FORM, b"{}", _JSON),
    Bad("form that is no UTF-8", "POST", "Patient/_search", 400, "invalid", "UTF-8", b"name=\xff",
        {"Content-Type": FORM}),
    Bad("not acceptable", "GET", "Patient/anna", 406, "not-supported", FHIR_JSON,
        headers={"Accept": "text/turtle"}),
    Bad("JSON at quality 0", "GET", "Patient/anna", 406, "not-supported", "",
        headers={"Accept": "application/fhir+json;q=0"}),
    Bad("another FHIR version", "GET", "Patient/anna", 406, "not-supported", "",
        headers={"Accept": "application/fhir+json; fhirVersion=5.0"}),
    Bad("no such media type", "GET", "Patient/anna", 406, "not-supported", "",
        headers={"Accept": "application/fhir+jsonx"}),
    _get("Patient/anna?_format=ttl", 406, "not-supported", "_format"),
    _get("Colour", 404, "not-supported", "'Colour'"),
    _get("Colour/1", 404, "not-supported", "'Colour'"),
    _get("patient/anna", 404, "not-supported", "'patient'"),
    _get("Patient/anna/colour", 404, "not-found"),
    _get("Patient/anna/_history/1/2", 404, "not-found"),
    _get(f"Patient/{_ID_OF_65}", 404, "not-found"),
    _get("Patient/a_b", 404, "not-found"),
    _get("Patient/%2e%2e", 404, "not-found"),
    _get("Patient/..%2f..%2fPractitioner%2fdr-lee", 404, "not-found"),
    _get("Patient%2Fanna", 404, "not-supported"),
    _get("Patient/anna%00", 404, "not-found"),
    _get("%00/anna", 404, "not-supported"),
    _get("Patient/%ff", 404, "not-found"),
    _get("Patient/an%20na", 404, "not-found"),
    _get("/Patient", 404, ""),
    _get("Patient//anna", 404, "not-found"),
    _get("$everything", 404, "not-found"),
    Bad("POST to an instance", "POST", "Patient/anna", 405, "not-supported", "PUT", b"{}", _JSON),
    Bad("DELETE of a type", "DELETE", "Patient", 400, "required"),
    Bad("PUT of an AuditEvent", "PUT", "AuditEvent/c-1", 405, "not-supported", "", b"{}", _JSON),
    Bad("POST of an AuditEvent", "POST", "AuditEvent", 403, "forbidden", "AuditEvent", b"{}", _JSON),
    Bad("PATCH of an AuditEvent", "PATCH", "AuditEvent/c-1", 405, "not-supported", "", b"[]", _PATCH),
    Bad("DELETE of an AuditEvent", "DELETE", "AuditEvent/c-1", 405, "not-supported", ""),
    Bad("another method", "TRACE", "Patient/anna", 405, "not-supported", "GET"),
    _get("Slot?colour=red", 400, "invalid", "colour"),
    _get("Slot?start=tomorrow", 400, "invalid", "start"),
    _get("Slot?start=2026-02-30", 400, "invalid", "start"),
    _get("Slot?start=zz2026-02-01", 400, "invalid", "start"),
    _get("Slot?_count=many", 400, "invalid", "_count"),
    _get("Slot?_count=-1", 400, "invalid", "_count"),
    _get("Slot?_count=" + "9" * 5_000, 400, "invalid", "_count"),
    _get("Slot?_include=Slot:colour", 400, "invalid", "_include"),
    _get("Slot?_page=AAAA", 400, "invalid", ""),
    _get("Slot?_page=", 400, "invalid", ""),
    _get("Slot?_page=%00%ff", 400, "structure", ""),
    _get("Patient/_history?_count=many", 400, "invalid", "_count"),
    _get("Patient/_history?_count=" + "9" * 5_000, 400, "invalid", "_count"),
    _get("Patient/_history?_since=tomorrow", 400, "invalid", "_since"),
    _get("Patient/_history?_at=9999-99-99", 400, "invalid", "_at"),
    _get("Patient/_history?colour=red", 400, "invalid", "colour"),
    _get("Patient/_history?_page=AAAA", 400, "invalid", ""),
    _get("AuditEvent?_page=AAAA", 400, "invalid", ""),
    _get("AuditEvent?_sort=agent", 400, "invalid", "_sort"),
    _get("AuditEvent?patient.name=x", 400, "", "chain"),
    _get("AuditEvent?agent:Patient.name=x", 400, "", "chain"),
    _get("Patient/anna", 403, "forbidden", "Patient", "anonymous"),
    _get("Patient", 403, "forbidden", "Patient", "website"),
    _get("AuditEvent", 403, "forbidden", "AuditEvent", "dr-lee"),
    _get("AuditEvent", 403, "forbidden", "AuditEvent", "anonymous"),
    _get("Patient/anna", 403, "forbidden", "Patient", "auditor"),
    Bad("a scope is missing", "POST", "Patient", 403, "forbidden", "Patient", b'{"resourceType":"Patient"}', _JSON,
        "dr-lee"),
)  # fmt: skip


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
@pytest.mark.requirement("R-6.3", "R-6.5", "R-10.10")
async def test_bad_input_is_refused(clinic: Harness, bad: Bad) -> None:
    """Issue 2, "Bad input"."""
    if bad.caller != "anonymous":
        await clinic.token(bad.caller)
    versions, events = await clinic.versions(), await clinic.events()
    answer = await clinic.send(bad.method, bad.path, bad.caller, content=bad.body, headers=bad.headers)
    assert answer.status_code == bad.status, answer.text
    first = issue(answer)
    assert first["code"] == bad.code or not bad.code
    assert bad.says in first["diagnostics"] + "".join(first.get("expression", ()))
    assert await clinic.versions() == versions, "nothing is stored"
    recorded = (await clinic.events())[len(events) :]
    assert [event.outcome for event in recorded] == ["4"], "the denial is audited exactly once"
    assert recorded[0].description.startswith(f"{bad.status} ")
    if bad.status == 405:
        assert answer.headers["allow"]


# Sizes


@pytest.fixture
async def small(store_kind: str, tmp_path: Path) -> AsyncIterator[Harness]:
    """A server that takes bodies of 1,000 bytes."""
    made = await make_harness(store_kind, tmp_path, largest_body=1_000)
    yield made
    await made.parts.store.close()


async def test_oversized_body_is_413(small: Harness) -> None:
    """By Content-Length before the body is read, and by count when it comes in chunks."""
    long = patient("x", name=[{"family": "x" * 1_000}])

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    token = await small.token("admin")
    headers = _JSON | {"Authorization": f"Bearer {token}", "X-Request-Id": "mine"}
    by_length = await small.put(long)
    by_count = await small.http.post("/demo/fhir/Patient", content=chunks(), headers=headers)
    for answer in (by_length, by_count):
        assert answer.status_code == 413
        assert issue(answer)["code"] == "too-long"
        assert "1000 bytes" in issue(answer)["diagnostics"]
    assert by_count.headers["x-request-id"] == "mine"
    assert await small.versions() == 0
    assert [event.description for event in await small.events()] == ["413 too-long"] * 2
    assert (await small.put(patient("x"))).status_code == 201


# Tokens


async def test_tokens_that_are_not_good_here(clinic: Harness) -> None:
    """RFC 6750 §3: expired, foreign, tampered, unsigned, malformed: 401 with a challenge, and nothing is done."""
    good = await clinic.token("admin")
    short = await clinic.token("admin", lifetime=60)
    clinic.clock.advance(HOUR)
    foreign = await clinic.token("admin", tenant="other")
    head, claims, signature = good.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoieCJ9." + claims + "."
    tampered = f"{head}.{claims[:-2]}{'A' if claims[-2] != 'A' else 'B'}{claims[-1]}.{signature}"
    versions, events = await clinic.versions(), len(await clinic.events())
    sent = {
        "expired": f"Bearer {short}",
        "foreign": f"Bearer {foreign}",
        "tampered": f"Bearer {tampered}",
        "unsigned": f"Bearer {unsigned}",
        "malformed": "Bearer abc",
        "empty": "Bearer ",
        "two": f"Bearer {good} {good}",
        "another scheme": "Basic YWRtaW46eA==",
        "a receipt of nobody": "Bearer pr.AAAA",
        "not base64": "Bearer pr.====",
    }
    for name, authorization in sent.items():
        answer = await clinic.send("PUT", "Patient/x", json_=patient("x"), headers={"Authorization": authorization})
        assert answer.status_code == 401, name
        assert answer.headers["www-authenticate"].startswith('Bearer realm="http://fhir.test/demo/fhir"'), name
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert (authorization.partition(" ")[2] or "?") not in answer.text
        assert issue(answer)["code"] == ("expired" if name == "expired" else "login")
    assert await clinic.versions() == versions
    recorded = (await clinic.events())[events:]
    assert [event.description.split()[0] for event in recorded] == ["401"] * len(sent)
    assert {event.role for event in recorded} == {"public"}


@pytest.mark.requirement("R-6.1")
async def test_unknown_tenant_is_404(clinic: Harness) -> None:
    for tenant in ("nope", "..", "%2e%2e", "DEMO", "demo%00", "a" * 300, "%2Fdemo", "tenants"):
        answer = await clinic.http.get(f"/{tenant}/fhir/Patient")
        assert answer.status_code == 404, tenant


# Page links


@pytest.mark.requirement("R-6.1")
async def test_page_links_are_bound_to_everything(clinic: Harness) -> None:
    """A link works for its clinic, caller, type and query only, unchanged, and until it expires."""
    await clinic.seed(*(clinic.slot(f"s{n}") for n in range(3)))
    await clinic.seed(*(clinic.slot(f"s{n}") for n in range(3)), tenant="other")
    answer = await clinic.get("Slot?_count=1&status=free", "dr-lee")
    following = link(answer, "next")
    assert following is not None
    path = following.removeprefix("/demo/fhir/")
    assert (await clinic.get(path, "dr-lee")).status_code == 200
    page = path.partition("_page=")[2]
    flipped = ("A" if page[30] != "A" else "B").join((page[:30], page[31:]))
    for other, caller, tenant in (
        (path.replace(page, flipped), "dr-lee", "demo"),
        (path.replace(page, page[:-4]), "dr-lee", "demo"),
        (path.replace("free", "busy"), "dr-lee", "demo"),
        (path.replace("_count=1", "_count=2"), "dr-lee", "demo"),
        (path.replace("Slot?", "Schedule?").replace("status=free&", ""), "dr-lee", "demo"),
        (path.replace("Slot?", "Slot/_history?"), "dr-lee", "demo"),
        (path, "dr-kim", "demo"),
        (path, "anonymous", "demo"),
        (path, "admin", "demo"),
        (path, "dr-lee", "other"),
    ):
        refused = await clinic.get(other, caller, tenant=tenant)
        assert refused.status_code == 400, (other, caller, tenant)
        assert issue(refused)["code"] in ("invalid", "value")
    clinic.clock.advance(25 * HOUR)
    expired = await clinic.get(path, "dr-lee")
    assert expired.status_code == 410
    assert issue(expired)["code"] == "expired"


async def test_many_alternatives_are_answered_or_refused(clinic: Harness) -> None:
    """As many alternatives as a criterion takes, of every shape, make no statement that the store cannot run."""
    await clinic.seed(clinic.slot("s"))
    for query in (
        "start=" + ",".join(f"ge2026-01-{1 + n % 28:02}T{n % 24:02}:00" for n in range(500)),
        "start=ne" + ",ne".join(f"20{n:02}" for n in range(99)),
        "status=" + ",".join(["free", *(f"x{n}" for n in range(499))]),
        "schedule=" + ",".join(["lee", *(f"x{n}" for n in range(499))]),
    ):
        answer = await clinic.send("POST", "Slot/_search", content=query, headers={"Content-Type": FORM})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["entry"]) == 1
    answer = await clinic.send("POST", "Slot/_search", content="status=" + "a," * 501, headers={"Content-Type": FORM})
    assert answer.status_code == 400
    both = "&".join(f"status:not=x{n}" for n in range(100))
    assert len((await clinic.get(f"Slot?{both}")).json()["entry"]) == 1
    assert (await clinic.get(f"Slot?{both}&status=free")).status_code == 400


async def test_a_revinclude_of_a_long_page(clinic: Harness) -> None:
    """The longest page leads to as many references; that is no statement too long for the store."""
    entries: list[Any] = [clinic.slot(f"s{n}") for n in range(600)]
    await clinic.seed(*entries)
    answer = await clinic.get("Slot?_count=1000&_revinclude=Appointment:slot&_include=Slot:schedule", "dr-lee")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["entry"]) == 601
