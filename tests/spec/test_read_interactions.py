"""read and vread over HTTP (FHIR R4 http.html#read, #vread, #cread)."""

import pytest

from tests.harness import DAY, Harness, cared_for, issue, patient, to_status


async def test_read_tells_version_and_time(clinic: Harness) -> None:
    """http.html#read: ETag is the version, Last-Modified when it was made; the body is what was stored."""
    answer = await clinic.get("Patient/anna", "admin")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"] == "Mon, 18 Jan 2027 08:00:00 GMT"
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == cared_for("anna") | {
        "meta": {"versionId": "1", "lastUpdated": "2027-01-18T08:00:00.000Z"},
    }


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-None-Match": 'W/"2"'}, 304),
        ({"If-None-Match": '"2"'}, 304),
        ({"If-None-Match": 'W/"1", W/"2"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"1"'}, 200),
        ({"If-Modified-Since": "Mon, 18 Jan 2027 08:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Mon, 18 Jan 2027 07:59:59 GMT"}, 200),
        ({"If-Modified-Since": "Mon, 18 Jan 2027 09:00:00 GMT"}, 304),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": "Mon, 32 Jan 2027 09:00:00 GMT"}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 2020 00:00:00 +99999999999999"}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 0001 00:00:00 +2300"}, 200),
        # RFC 9110 §13.1.3: If-None-Match goes before If-Modified-Since.
        ({"If-None-Match": 'W/"1"', "If-Modified-Since": "Mon, 18 Jan 2027 09:00:00 GMT"}, 200),
        ({"If-None-Match": "2"}, 400),
    ],
)
async def test_conditional_read(clinic: Harness, headers: dict[str, str], status: int) -> None:
    """http.html#cread: 304 without a body where the caller's copy is current."""
    await clinic.put(patient("anna", active=True))
    answer = await clinic.get("Patient/anna", "admin", headers=headers)
    assert answer.status_code == status, answer.text
    if status == 304:
        assert answer.content == b""
        assert answer.headers["etag"] == 'W/"2"'
    if status == 200:
        assert answer.json()["meta"]["versionId"] == "2"


@pytest.mark.parametrize("path", ["Patient/nobody", "Patient/nobody/_history/1", "Patient/anna/_history/9",
                                  "Patient/anna/_history/0", "Patient/anna/_history/x", "Patient/anna/_history/-1",
                                  "Patient/anna/_history/99999999999999999999", "Slot/anna"])  # fmt: skip
async def test_what_is_not_there_is_404(clinic: Harness, path: str) -> None:
    answer = await clinic.get(path, "admin")
    assert answer.status_code == 404
    assert issue(answer)["code"] == "not-found"


async def test_vread_gives_each_version(clinic: Harness) -> None:
    """http.html#vread: every version stays readable, with its own ETag; a deletion is 410."""
    clinic.clock.advance(DAY)
    await clinic.put(patient("anna", active=True))
    await clinic.delete("Patient/anna")
    first = await clinic.get("Patient/anna/_history/1", "admin")
    second = await clinic.get("Patient/anna/_history/2", "admin")
    third = await clinic.get("Patient/anna/_history/3", "admin")
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 410)
    assert "active" not in first.json()
    assert second.json()["active"] is True
    assert (first.headers["etag"], second.headers["etag"]) == ('W/"1"', 'W/"2"')
    assert second.headers["last-modified"] == "Tue, 19 Jan 2027 08:00:00 GMT"
    assert issue(third)["code"] == "deleted"


@pytest.mark.parametrize("value", ["1.50", "1E+3", "1e5", "-0.0", "0.00", "100000000000000000000000", "-7"])
async def test_decimals_are_kept_as_written(clinic: Harness, value: str) -> None:
    """R4 datatypes.html#decimal: the precision of a decimal is kept."""
    body = (
        '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"\\u00fc"},'
        f'"valueQuantity":{{"value":{value}}}}}'
    )
    answer = await clinic.send(
        "PUT", "Observation/o", "admin", content=body, headers={"Content-Type": "application/fhir+json"}
    )
    assert answer.status_code == 201, answer.text
    read = await clinic.get("Observation/o", "admin")
    assert f'"valueQuantity":{{"value":{value}}}' in read.text
    assert '"text":"ü"' in read.text
    pretty = await clinic.get("Observation/o?_pretty=true", "admin")
    assert f'"value": {value}' in pretty.text


async def test_what_a_caller_may_not_see_is_as_if_absent(clinic: Harness) -> None:
    """R-6.1, R-6.2: one text whether a resource is absent, another patient's, or another clinic's."""
    others = await clinic.get("Patient/ben", "anna")
    absent = await clinic.get("Patient/nobody", "anna")
    assert others.status_code == absent.status_code == 404
    assert others.json() == absent.json()


async def test_a_patch_gives_a_new_version_to_read(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"))
    assert (await clinic.patch("Slot/s", to_status("busy-unavailable"))).status_code == 200
    answer = await clinic.get("Slot/s")
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.json()["status"] == "busy-unavailable"
