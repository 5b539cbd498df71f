"""HTTP around the interactions: HEAD, CORS, formats, proxies, mounting, ids of requests (architecture, "Web stack")."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.app import make_app
from tests.harness import FORM, NOW, ORIGIN, Harness, ids, issue, link, make_harness, patient

CLINIC = "https://clinic.example"


@pytest.mark.parametrize("path", ["Slot/s", "Slot", "metadata", "Slot/nothing", "Slot?colour=red"])
async def test_head_is_get_without_a_body(clinic: Harness, path: str) -> None:
    """http.html#general: HEAD."""
    await clinic.seed(clinic.slot("s"))
    got, head = await clinic.get(path), await clinic.send("HEAD", path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers.get("etag") == got.headers.get("etag")


# CORS


@pytest.mark.parametrize(("origin", "allowed"), [(CLINIC, True), ("https://evil.example", False), ("null", False)])
async def test_preflight_by_clinic(clinic: Harness, origin: str, allowed: bool) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await clinic.send("OPTIONS", "Appointment", headers=headers)
    assert answer.status_code == 204
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert answer.headers["vary"] == "Origin"
    if allowed:
        for name in ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Correlation-Id"):
            assert name in answer.headers["access-control-allow-headers"]
        assert "PATCH" in answer.headers["access-control-allow-methods"]


async def test_answers_carry_cors_for_the_clinics_site(clinic: Harness) -> None:
    """Refusals too, and what a script needs to see is exposed."""
    for path, caller in (("Slot", "anonymous"), ("Patient", "anonymous"), ("Patient/nobody", "admin")):
        answer = await clinic.get(path, caller, headers={"Origin": CLINIC})
        assert answer.headers["access-control-allow-origin"] == CLINIC
        exposed = answer.headers["access-control-expose-headers"]
        for name in ("Location", "ETag", "Content-Location", "Proposal-Receipt", "X-Request-Id", "Retry-After"):
            assert name in exposed
        other = await clinic.get(path, caller, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
    assert (await clinic.send("OPTIONS", "Slot")).status_code == 405
    nowhere = {"Origin": CLINIC, "Access-Control-Request-Method": "GET"}
    assert (await clinic.send("OPTIONS", "Slot", tenant="nope", headers=nowhere)).status_code == 404


# Formats


async def test_pretty(clinic: Harness) -> None:
    plain, pretty = await clinic.get("Patient/anna", "admin"), await clinic.get("Patient/anna?_pretty=true", "admin")
    assert plain.json() == pretty.json()
    assert b"\n  " in pretty.content
    assert b"\n" not in plain.content
    assert b"\n  " in (await clinic.get("Patient/nobody?_pretty=true", "admin")).content


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/fhir+json", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("application/json", 200),
        ("application/*", 200),
        ("text/html, application/xhtml+xml, */*;q=0.8", 200),
        ("application/fhir+xml, application/fhir+json;q=0.5", 200),
        ("application/fhir+xml;q=1.0, */*;q=0.1", 200),
        ("application/fhir+xml", 200),
        ("text/turtle", 406),
        ("application/fhir+json;q=0", 406),
        ("application/fhir+json;q=0.000, text/html", 406),
        ("application/json; q=0.0", 406),
        ("application/fhir+json; fhirVersion=3.0", 406),
        ("text/plain", 406),
        ("", 406),
    ],
)
async def test_accept(clinic: Harness, accept: str | None, status: int) -> None:
    """RFC 9110 §12.5.1: by media range and quality."""
    headers = {} if accept is None else {"Accept": accept}
    answer = await clinic.get("Patient/anna", "admin", headers=headers)
    assert answer.status_code == status, answer.text
    if status == 406:
        assert issue(answer)["code"] == "not-supported"


@pytest.mark.parametrize(
    ("given", "status"),
    [("json", 200), ("application/fhir%2Bjson", 200), ("application/fhir+json", 200), ("application/json", 200),
     ("text/json", 200), ("xml", 200), ("text/xml", 200), ("application/fhir%2Bxml", 200),
     ("html", 406), ("turtle", 406)],
)  # fmt: skip
async def test_format_goes_before_accept(clinic: Harness, given: str, status: int) -> None:
    """http.html#parameters: _format overrides Accept."""
    wanted, other = ("json", "xml") if "json" in given else ("xml", "json")
    accept = {"Accept": f"application/fhir+{other}"}
    answer = await clinic.get(f"Patient/anna?_format={given}", "admin", headers=accept)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["content-type"].startswith(f"application/fhir+{wanted}")


async def test_search_by_post_is_search_by_get(clinic: Harness) -> None:
    """http.html#search: parameters of the URL and of the form add up."""
    form = {"Content-Type": FORM}
    got = await clinic.get("Patient?name=a&_sort=_id", "admin")
    for path, body in (("Patient/_search", "name=a&_sort=_id"), ("Patient/_search?name=a", "_sort=_id"),
                       ("Patient/_search?name=a&_sort=_id", "")):  # fmt: skip
        posted = await clinic.send("POST", path, "admin", content=body, headers=form)
        assert posted.json()["entry"] == got.json()["entry"]
        assert posted.json()["total"] == got.json()["total"]
        assert link(posted, "self") == link(got, "self")
    paged = await clinic.send("POST", "Patient/_search", "admin", content="_count=1&_sort=_id", headers=form)
    assert ids(paged) == ["anna"]
    following = await clinic.get((link(paged, "next") or "").removeprefix("/demo/fhir/"), "admin")
    assert ids(following) == ["ben"]


# Ids of requests


@pytest.mark.requirement("R-10.9")
async def test_the_requests_id_is_echoed_and_recorded(clinic: Harness) -> None:
    answer = await clinic.get("Slot", headers={"X-Request-Id": "my-request.1"})
    assert answer.headers["x-request-id"] == "my-request.1"
    assert (await clinic.events())[-1].request_id == "my-request.1"
    for wrong in ("", "a b", "x" * 65, "é", '"'):
        made = (await clinic.get("Slot", headers={"X-Request-Id": wrong.encode("latin-1")})).headers["x-request-id"]  # type: ignore[dict-item]
        assert made
        assert made != wrong
    refused = await clinic.get("Patient", headers={"X-Request-Id": "mine"})
    assert refused.headers["x-request-id"] == "mine"


# Where requests come from


async def _address(harness: Harness, peer: str, forwarded: str | None) -> str:
    transport = httpx.ASGITransport(app=make_app(harness.parts), client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        headers = {"Forwarded": forwarded} if forwarded is not None else {}
        headers["X-Forwarded-For"] = "6.6.6.6"
        assert (await http.get("/demo/fhir/Slot", headers=headers)).status_code == 200
    harness.clock.advance(1)
    return (await harness.events())[-1].address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", "for=1.2.3.4", "9.9.9.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "for=1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "proto=https;For=1.2.3.4;by=x", "1.2.3.4"),
        ("10.0.0.1", 'for="[2001:db8::1]:4711"', "2001:db8::1"),
        ("10.0.0.1", 'for="1.2.3.4:80"', "1.2.3.4"),
        # What the client itself wrote stands before what the trusted proxy added.
        ("10.0.0.1", "for=6.6.6.6, for=1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "for=1.2.3.4, for=10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "for=6.6.6.6, for=1.2.3.4, for=10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "for=unknown", "10.0.0.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
    ],
)
async def test_forwarded_counts_from_trusted_proxies_only(
    store_kind: str, tmp_path: Path, peer: str, forwarded: str | None, address: str
) -> None:
    """RFC 7239 §8.1: nothing that a stranger wrote becomes the address in the log."""
    harness = await make_harness(store_kind, tmp_path, trusted_proxies=("10.0.0.1", "10.0.0.2"))
    assert await _address(harness, peer, forwarded) == address
    await harness.parts.store.close()


@pytest.mark.parametrize("path", ["/demo/fhir/Slot", "/demo/auth/introspect"])
@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["for=6.6.6.6", "for=1.2.3.4"], "1.2.3.4"),
        (["for=6.6.6.6, for=1.2.3.4", "for=10.0.0.2"], "1.2.3.4"),
        (["for=1.2.3.4", "for=10.0.0.2"], "1.2.3.4"),
        (["for=1.2.3.4", "rubbish"], "10.0.0.1"),
    ],
)
async def test_lines_of_forwarded_are_one_list(
    store_kind: str, tmp_path: Path, path: str, lines: list[str], address: str
) -> None:
    """RFC 9110 §5.3, RFC 7239 §4: a proxy may add a line of its own, before the FHIR base and the sign-in alike."""
    harness = await make_harness(store_kind, tmp_path, trusted_proxies=("10.0.0.1", "10.0.0.2"))
    transport = httpx.ASGITransport(app=make_app(harness.parts), client=("10.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        headers = [("Forwarded", line) for line in lines]
        await (http.get(path, headers=headers) if "fhir" in path else http.post(path, headers=headers, data={}))
    harness.clock.advance(1)
    assert (await harness.events())[-1].address == address
    await harness.parts.store.close()


@pytest.mark.requirement("R-6.1")
async def test_host_is_never_trusted(clinic: Harness) -> None:
    answer = await clinic.get("Patient", "admin", headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert "evil" not in answer.text
    assert answer.json()["link"][0]["url"] == f"{ORIGIN}/demo/fhir/Patient"


# Mounting


async def test_one_clinic_is_mounted_at_fhir(store_kind: str, tmp_path: Path) -> None:
    """A setting; the clinic has both bases, and its links carry its own."""
    harness = await make_harness(store_kind, tmp_path, mounted_tenant="demo")
    await harness.seed(patient("anna"))
    headers = {"Authorization": f"Bearer {await harness.token('admin')}"}
    mounted = await harness.http.get("/fhir/Patient/anna", headers=headers)
    assert mounted.status_code == 200
    assert mounted.content == (await harness.get("Patient/anna", "admin")).content
    assert (await harness.http.get("/fhir/metadata")).json()["implementation"]["url"] == f"{ORIGIN}/demo/fhir"
    assert (await harness.http.get("/other/fhir/metadata")).status_code == 200
    await harness.parts.store.close()


async def test_nothing_is_mounted_by_default(harness: Harness) -> None:
    assert (await harness.http.get("/fhir/metadata")).status_code == 404


async def test_what_is_no_clinics_is_beside(harness: Harness) -> None:
    assert (await harness.http.get("/healthz")).text == "ok"
    assert (await harness.http.get("/readyz")).text == "ok"
    assert (await harness.http.get("/nothing/here")).status_code == 404


@pytest.mark.parametrize("path", ["metadata/", "Slot/", "Slot/s/"])
async def test_a_slash_at_the_end_is_let_through(clinic: Harness, path: str) -> None:
    await clinic.seed(clinic.slot("s"))
    assert (await clinic.http.get(f"/demo/fhir/{path}")).status_code == 200


async def test_ids_may_look_like_words_of_ours(clinic: Harness) -> None:
    """Any FHIR id names a resource."""
    for id_ in ("metadata", "history", "search", "-", "a.b", "1", "fhir", "a" * 64):
        made: dict[str, Any] = clinic.slot(id_)
        assert (await clinic.put(made)).status_code == 201, id_
        assert (await clinic.get(f"Slot/{id_}")).json()["id"] == id_


def test_the_fixed_moment_is_a_monday() -> None:
    assert NOW == 1_800_259_200_000_000
