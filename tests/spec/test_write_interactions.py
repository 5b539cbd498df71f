"""create, update, patch and delete over HTTP (FHIR R4 http.html)."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness import DAY, FHIR_JSON, ORIGIN, Harness, issue, make_harness, patient, proposal, to_status

DR = {"resourceType": "Practitioner", "id": "given-by-client", "name": [{"family": "Neu"}]}


# create


async def test_create_ignores_client_id(harness: Harness) -> None:
    """http.html#create: the server chooses the id and ignores the body's; 201 with Location."""
    answer = await harness.create(DR)
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", made["id"])
    assert answer.headers["location"] == f"{ORIGIN}/demo/fhir/Practitioner/{made['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"] == "Mon, 18 Jan 2027 08:00:00 GMT"
    assert made["meta"] == {"versionId": "1", "lastUpdated": "2027-01-18T08:00:00.000Z"}
    assert (await harness.get("Practitioner/given-by-client", "admin")).status_code == 404
    assert (await harness.get(f"Practitioner/{made['id']}", "admin")).json() == made


async def test_create_ignores_client_meta(harness: Harness) -> None:
    """http.html#create: versionId and lastUpdated are the server's; the rest of meta is the client's."""
    meta = {"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"system": "urn:x", "code": "y"}]}
    made = (await harness.create(DR | {"meta": meta})).json()
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"] == "2027-01-18T08:00:00.000Z"
    assert made["meta"]["tag"] == [{"system": "urn:x", "code": "y"}]


@pytest.mark.parametrize(
    ("prefer", "type_"),
    [
        ("return=minimal", None),
        ("return=representation", "Practitioner"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("handling=strict; return=minimal", None),
        ("colour=red", "Practitioner"),
    ],
)
async def test_prefer_says_what_is_answered(harness: Harness, prefer: str, type_: str | None) -> None:
    """http.html#ops: Prefer: return."""
    answer = await harness.create(DR, headers={"Prefer": prefer})
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else None) == type_
    assert answer.headers["location"].startswith(f"{ORIGIN}/demo/fhir/Practitioner/")
    assert answer.headers["etag"] == 'W/"1"'


# update


async def test_update_makes_the_next_version(clinic: Harness) -> None:
    """http.html#update: 200, a new ETag, and the body's meta version is not the client's to say."""
    clinic.clock.advance(DAY)
    answer = await clinic.put(patient("anna", active=True, meta={"versionId": "77"}))
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.headers["last-modified"] == "Tue, 19 Jan 2027 08:00:00 GMT"
    assert answer.json()["meta"]["versionId"] == "2"


@pytest.mark.parametrize(
    ("if_match", "status"),
    [('W/"1"', 200), ('"1"', 200), ("*", 200), ('W/"7", W/"1"', 200), ('W/"2"', 412), ("1", 400), ('W/""', 400)],
)
async def test_update_obeys_if_match(clinic: Harness, if_match: str, status: int) -> None:
    """http.html#concurrency: 412 when the version is not the one that the caller saw."""
    answer = await clinic.put(patient("anna", active=True), headers={"If-Match": if_match})
    assert answer.status_code == status, answer.text
    assert (await clinic.stored("Patient/anna"))["meta"]["versionId"] == ("2" if status == 200 else "1")
    if status == 412:
        assert issue(answer)["code"] == "conflict"


@pytest.mark.parametrize("id_", [None, "ben", ""])
async def test_update_needs_the_id_in_the_body(clinic: Harness, id_: str | None) -> None:
    """http.html#update: the body's id is the URL's."""
    resource = patient("anna") if id_ is None else patient("anna") | {"id": id_}
    if id_ is None:
        del resource["id"]
    answer = await clinic.send("PUT", "Patient/anna", "admin", json_=resource)
    assert answer.status_code in (400, 422)
    assert (await clinic.stored("Patient/anna"))["meta"]["versionId"] == "1"


async def test_update_as_create(harness: Harness) -> None:
    """http.html#upsert: 201 with Location at the caller's id."""
    answer = await harness.put(patient("mine"))
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{ORIGIN}/demo/fhir/Patient/mine/_history/1"


@pytest.mark.parametrize("if_match", ["*", 'W/"1"'])
async def test_update_as_create_under_a_condition_fails(harness: Harness, if_match: str) -> None:
    """RFC 9110 §13.1.1: no version matches when there is none."""
    assert (await harness.put(patient("mine"), headers={"If-Match": if_match})).status_code == 412
    assert (await harness.get("Patient/mine", "admin")).status_code == 404


async def test_update_as_create_can_be_switched_off(store_kind: str, tmp_path: Path) -> None:
    harness = await make_harness(store_kind, tmp_path, update_as_create=False)
    answer = await harness.put(patient("mine"))
    assert answer.status_code == 405
    assert "POST" in issue(answer)["diagnostics"]
    statement = (await harness.get("metadata")).json()
    assert not any(resource["updateCreate"] for resource in statement["rest"][0]["resource"])
    await harness.parts.store.close()


# delete


async def test_delete_then_gone_then_again(clinic: Harness) -> None:
    """http.html#delete: 204, then 410; deleting twice is 204; a PUT brings it back as the next version."""
    answer = await clinic.delete("Patient/anna")
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["etag"] == 'W/"2"'
    gone = await clinic.get("Patient/anna", "admin")
    assert gone.status_code == 410
    assert issue(gone)["code"] == "deleted"
    assert (await clinic.delete("Patient/anna")).status_code == 204
    assert (await clinic.get("Patient?_id=anna", "admin")).json().get("entry") is None
    again = await clinic.put(patient("anna"))
    assert again.status_code == 201
    assert again.json()["meta"]["versionId"] == "3"
    assert (await clinic.get("Patient/anna", "admin")).status_code == 200
    assert (await clinic.versions()) == 8


async def test_delete_of_nothing_is_404(clinic: Harness) -> None:
    assert (await clinic.delete("Patient/nobody")).status_code == 404


async def test_delete_obeys_if_match(clinic: Harness) -> None:
    assert (await clinic.delete("Patient/anna", headers={"If-Match": 'W/"3"'})).status_code == 412
    assert (await clinic.delete("Patient/anna", headers={"If-Match": 'W/"1"'})).status_code == 204


@pytest.mark.parametrize("method", ["PATCH", "GET"])
async def test_what_is_deleted_is_gone_for_every_interaction(clinic: Harness, method: str) -> None:
    await clinic.delete("Patient/anna")
    answer = await clinic.send(method, "Patient/anna", "admin", json_=[] if method == "PATCH" else None)
    assert answer.status_code == 410


# patch


async def test_patch_changes_the_resource(clinic: Harness) -> None:
    """http.html#patch: JSON Patch; 200 with the new version."""
    operations = [
        {"op": "test", "path": "/name/0/family", "value": "Anna"},
        {"op": "add", "path": "/name/0/given", "value": ["A."]},
        {"op": "add", "path": "/active", "value": True},
    ]
    answer = await clinic.patch("Patient/anna", operations, "admin")
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.json()["name"] == [{"family": "Anna", "given": ["A."]}]


@pytest.mark.parametrize(
    ("operations", "status", "expression"),
    [
        ([{"op": "test", "path": "/active", "value": True}], 422, "[0].path"),
        ([{"op": "test", "path": "/name/0/family", "value": "Ben"}], 422, "[0].value"),
        ([{"op": "remove", "path": "/active"}], 422, "[0].path"),
        ([{"op": "add", "path": "/colour", "value": "red"}], 422, "Patient"),
        ([{"op": "remove", "path": "/resourceType"}], 400, "Patient.id"),
        ([{"op": "replace", "path": "/resourceType", "value": "Slot"}], 400, "Patient.id"),
        ([{"op": "replace", "path": "/id", "value": "ben"}], 400, "Patient.id"),
        ([{"op": "remove", "path": "/id"}], 400, "Patient.id"),
        ([{"op": "replace", "path": "", "value": [1]}], 422, None),
        ([{"op": "remove", "path": ""}], 422, "[0].path"),
        ([{"op": "colour", "path": "/x"}], 400, "[0].op"),
        ([{"op": "add", "path": "/x"}], 400, "[0].value"),
        ([{"op": "add", "value": 1}], 400, "[0].path"),
        ([{"op": "move", "path": "/x"}], 400, "[0].from"),
        ([{"op": "add", "path": "name", "value": 1}], 400, "[0].path"),
        ([{"op": "add", "path": "/a~2", "value": 1}], 400, "[0].path"),
        ({"op": "add", "path": "/active", "value": True}, 400, None),
        ("text", 400, None),
        ([1], 400, "[0].op"),
    ],
)
async def test_patch_that_does_not_fit_is_refused(
    clinic: Harness, operations: Any, status: int, expression: str | None
) -> None:
    """RFC 6902 §5: an error in any operation refuses the whole patch."""
    answer = await clinic.patch("Patient/anna", [*operations] if isinstance(operations, list) else operations, "admin")
    assert answer.status_code == status, answer.text
    assert issue(answer).get("expression", [None]) == [expression]
    assert (await clinic.stored("Patient/anna"))["meta"]["versionId"] == "1"


async def test_patch_is_all_or_nothing(clinic: Harness) -> None:
    operations = [{"op": "add", "path": "/active", "value": True}, {"op": "remove", "path": "/gender"}]
    assert (await clinic.patch("Patient/anna", operations, "admin")).status_code == 422
    assert "active" not in await clinic.stored("Patient/anna")


async def test_patch_obeys_if_match(clinic: Harness) -> None:
    operations = [{"op": "add", "path": "/active", "value": True}]
    stale = await clinic.patch("Patient/anna", operations, "admin", headers={"If-Match": 'W/"2"'})
    assert stale.status_code == 412
    fresh = await clinic.patch("Patient/anna", operations, "admin", headers={"If-Match": 'W/"1"'})
    assert fresh.status_code == 200


async def test_patch_cannot_be_made_to_grow_without_end(clinic: Harness) -> None:
    """Copies that double a value forty times are refused before they fill the memory."""
    operations: list[dict[str, Any]] = [{"op": "add", "path": "/photo", "value": [{"title": "x"}]}]
    operations += [{"op": "copy", "from": "/photo", "path": "/photo/-"}] * 40
    answer = await clinic.patch("Patient/anna", operations, "admin")
    assert answer.status_code == 422
    assert issue(answer)["code"] == "too-costly"


async def test_patch_cannot_nest_without_end(clinic: Harness) -> None:
    operations = [{"op": "add", "path": "/a" * n, "value": {}} for n in range(1, 300)]
    answer = await clinic.patch("Patient/anna", operations, "admin")
    assert answer.status_code == 422


# The server's own tags


@pytest.mark.requirement("R-4.3", "R-7.19")
async def test_own_tags_are_never_the_clients(clinic: Harness) -> None:
    """The server's tags cannot be set by POST or PUT, and not be removed or changed by PUT or PATCH."""
    system = "https://fhir-server.dev/tags/"
    tags = [{"system": f"{system}identity", "code": "verified"}, {"system": "urn:mine", "code": "x"}]
    made = (await clinic.create(patient("x", meta={"tag": tags}))).json()
    assert made["meta"]["tag"] == [{"system": "urn:mine", "code": "x"}]
    await clinic.seed(clinic.slot("s"))
    proposed = await clinic.create(proposal("s"), "anonymous")
    person = next(p for p in (await clinic.get("Patient?_tag=provisional", "admin")).json()["entry"])["resource"]
    kept = person["meta"]["tag"]
    assert {tag["code"] for tag in kept} == {"provisional", "anonymous"}
    without = {name: value for name, value in person.items() if name != "meta"}
    assert (await clinic.put(without)).json()["meta"]["tag"] == kept
    other = person | {"meta": {"tag": [{"system": f"{system}identity", "code": "verified"}]}}
    assert (await clinic.put(other)).json()["meta"]["tag"] == kept
    for operations in (
        [{"op": "remove", "path": "/meta/tag"}],
        [{"op": "remove", "path": "/meta"}],
        [{"op": "replace", "path": "/meta/tag/0/code", "value": "verified"}],
        [{"op": "add", "path": "/meta/tag/-", "value": {"system": f"{system}origin", "code": "foreign"}}],
    ):
        answer = await clinic.patch(f"Patient/{person['id']}", operations, "admin")
        assert answer.status_code == 200, answer.text
        assert answer.json()["meta"]["tag"] == kept
    staff = await clinic.patch(f"Appointment/{proposed.json()['id']}", [{"op": "remove", "path": "/meta/tag"}])
    assert staff.json()["meta"]["tag"] == [
        {"system": f"{system}submitter", "code": "anonymous"},
        {"system": f"{system}care", "code": "dr-lee"},
    ]


async def test_lost_update_is_refused(clinic: Harness) -> None:
    """Two writers who saw the same version: the second is told."""
    seen = (await clinic.get("Patient/anna", "admin")).headers["etag"]
    first = await clinic.put(patient("anna", active=True), headers={"If-Match": seen})
    second = await clinic.put(patient("anna", active=False), headers={"If-Match": seen})
    assert (first.status_code, second.status_code) == (200, 412)
    assert (await clinic.stored("Patient/anna"))["active"] is True


@pytest.mark.parametrize("media_type", [FHIR_JSON, "application/json", f"{FHIR_JSON}; charset=UTF-8",
                                        'application/json;charset="utf-8"', "APPLICATION/FHIR+JSON"])  # fmt: skip
async def test_media_types_of_a_resource(clinic: Harness, media_type: str) -> None:
    answer = await clinic.put(patient("anna"), headers={"Content-Type": media_type})
    assert answer.status_code == 200


async def test_to_status_is_a_patch(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"))
    assert (await clinic.patch("Slot/s", to_status("busy"), headers={"Prefer": "return=minimal"})).content == b""
