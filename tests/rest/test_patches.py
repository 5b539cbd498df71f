"""The kinds of patch (RFC 7396, FHIR R4 fhirpatch.html)."""

import base64
from typing import Any

import pytest

from tests.harness import Harness

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "x",
    "active": True,
    "identifier": [
        {"system": "urn:a", "value": "1"},
        {"system": "urn:b", "value": "2"},
        {"system": "urn:c", "value": "3"},
    ],
    "name": [{"family": "Muster", "given": ["A"]}],
    "deceasedBoolean": False,
}
EXTENSION = {"url": "urn:e", "valueString": "of B"}


def operation(kind: str, path: str, **parts: Any) -> dict[str, Any]:
    named: list[dict[str, Any]] = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if isinstance(value, int) and not isinstance(value, bool):
            named.append({"name": name, "valueInteger": value})
        elif name == "value" and isinstance(value, dict):
            named.append({"name": "value", **value})
        else:
            named.append({"name": name, "valueString": value})
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": named}]}


CASES: tuple[tuple[dict[str, Any], str, Any], ...] = (
    (operation("replace", "Patient.name[0].family", value={"valueString": "Neu"}), "name.0.family", "Neu"),
    (operation("replace", "Patient.deceased", value={"valueBoolean": True}), "deceasedBoolean", True),
    (operation("add", "Patient", name="birthDate", value={"valueDate": "2000-01-01"}), "birthDate", "2000-01-01"),
    (operation("add", "Patient.name[0]", name="given", value={"valueString": "B"}), "name.0.given", ["A", "B"]),
    (operation("add", "Patient", name="contact", value={"part": [
        {"name": "name", "valueHumanName": {"text": "a name"}}]}), "contact", [{"name": {"text": "a name"}}]),
    (operation("delete", "Patient.identifier.where(system='urn:b')"), "identifier.1.system", "urn:c"),
    (operation("delete", "Patient.name[0]"), "name", None),
    (operation("delete", "Patient.birthDate"), "birthDate", None),
    (operation("insert", "Patient.identifier", index=1, value={"valueIdentifier": {"value": "n"}}),
     "identifier.1", {"value": "n"}),
    (operation("move", "Patient.identifier", source=0, destination=2), "identifier.2.system", "urn:a"),
    (operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}), "deceasedDateTime", "2020"),
    (operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}), "deceasedBoolean", None),
    (operation("replace", "Patient.deceased.ofType(boolean)", value={"valueDateTime": "2020"}),
     "deceasedDateTime", "2020"),
    (operation("add", "Patient", name="multipleBirth", value={"valueInteger": 2}), "multipleBirthInteger", 2),
    (operation("add", "Patient", name="extension", value={"part": [
        {"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueCode": "c"}]}),
     "extension", [{"url": "urn:x", "valueCode": "c"}]),
    (operation("add", "Patient", name="birthDate", value={"_valueDate": {"extension": [EXTENSION]}}),
     "_birthDate", {"extension": [EXTENSION]}),
)  # fmt: skip


def at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if part.isdigit() else value.get(part)
    return value


@pytest.mark.parametrize(("patch", "path", "expected"), CASES)
async def test_fhirpath_patch(harness: Harness, patch: dict[str, Any], path: str, expected: Any) -> None:
    await harness.put(dict(PATIENT))
    headers = {"Content-Type": "application/fhir+json"}
    answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
    assert answer.status_code == 200, answer.text
    assert at(answer.json(), path) == expected


REFUSED: tuple[tuple[Any, int], ...] = (
    ({"resourceType": "Patient"}, 400),
    ({"resourceType": "Parameters", "parameter": [{"name": "other"}]}, 400),
    (operation("paint", "Patient.name"), 400),
    (
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "operation", "part": [{"name": "type", "valueCode": "add"}]}],
        },
        400,
    ),
    (operation("replace", "Patient.birthDate", value={"valueDate": "2000"}), 422),
    (operation("replace", "Slot.start", value={"valueDate": "2000"}), 422),
    (operation("delete", "Patient.identifier"), 422),
    (operation("add", "Patient", name="active", value={"valueBoolean": True}), 422),
    (operation("add", "Patient", name="colour", value={"valueString": "red"}), 422),
    (operation("insert", "Patient.identifier", index=9, value={"valueIdentifier": {"value": "n"}}), 422),
    (operation("replace", "Patient.active", value={"valueString": "yes"}), 422),
    (operation("replace", "Patient.id", value={"valueId": "y"}), 400),
    (operation("replace", "Patient.name.trace('x')", value={"valueString": "y"}), 422),
    (operation("replace", "Patient.name[0]family", value={"valueString": "y"}), 422),
    (operation("replace", "Patientname[0].family", value={"valueString": "y"}), 422),
    (operation("replace", "Patient.name.[0].family", value={"valueString": "y"}), 422),
    (operation("delete", "Patient"), 422),
    (operation("replace", "Patient", value={"valueString": "y"}), 422),
    (operation("move", "Patient", source=0, destination=0), 422),
    (operation("add", "Patient", name="deceased", value={"valueDateTime": "2020"}), 422),
    (operation("add", "Patient", name="deceased", value={"valueQuantity": {"value": 1}}), 422),
    (operation("replace", "Patient.deceased", value={"valueString": "no"}), 422),
    ({"resourceType": "Parameters", "parameter": 5}, 422),
    ({"resourceType": "Parameters", "parameter": [5]}, 422),
    ({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": 5}]}, 422),
    ({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [5]}]}, 422),
    ({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [{"name": 5}]}]}, 422),
)


@pytest.mark.parametrize(("patch", "status"), REFUSED)
async def test_fhirpath_patch_that_does_not_fit(harness: Harness, patch: Any, status: int) -> None:
    await harness.put(dict(PATIENT))
    headers = {"Content-Type": "application/fhir+json"}
    answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
    assert answer.status_code == status, answer.text
    assert (await harness.stored("Patient/x"))["meta"]["versionId"] == "1"


_OF_B = {"extension": [EXTENSION]}
PRIMITIVES: tuple[tuple[dict[str, Any], Any, Any], ...] = (
    (operation("move", "Patient.name[0].given", source=0, destination=1), ["B", "A"], [_OF_B, None]),
    (operation("delete", "Patient.name[0].given[0]"), ["B"], [_OF_B]),
    (operation("delete", "Patient.name[0].given[1]"), ["A"], None),
    (operation("insert", "Patient.name[0].given", index=0, value={"valueString": "C"}),
     ["C", "A", "B"], [None, None, _OF_B]),
    (operation("add", "Patient.name[0]", name="given", value={"valueString": "C"}),
     ["A", "B", "C"], [None, _OF_B, None]),
    (operation("replace", "Patient.name[0].given[1]", value={"valueString": "C"}), ["A", "C"], None),
    (operation("replace", "Patient.name[0].given[0]", value={"valueString": "C", "_valueString": _OF_B}),
     ["C", "B"], [_OF_B, _OF_B]),
)  # fmt: skip


@pytest.mark.parametrize(("patch", "given", "beside"), PRIMITIVES)
async def test_a_primitive_and_its_extensions_change_as_one(
    harness: Harness, patch: dict[str, Any], given: Any, beside: Any
) -> None:
    """json.html#primitive: `_given` is a part of `given`."""
    await harness.put({**PATIENT, "name": [{"given": ["A", "B"], "_given": [None, _OF_B]}]})
    headers = {"Content-Type": "application/fhir+json"}
    answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
    assert answer.status_code == 200, answer.text
    name = answer.json()["name"][0]
    assert (name["given"], name.get("_given")) == (given, beside)


async def test_deleting_a_primitive_deletes_its_extensions(harness: Harness) -> None:
    await harness.put({**PATIENT, "birthDate": "2000", "_birthDate": _OF_B, "_gender": _OF_B})
    headers = {"Content-Type": "application/fhir+json"}
    for path, members in (("birthDate", ("birthDate", "_birthDate")), ("gender", ("_gender",))):
        patch = operation("delete", f"Patient.{path}")
        answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
        assert answer.status_code == 200, answer.text
        assert not set(members) & set(answer.json())


MERGES: tuple[tuple[Any, int, str, Any], ...] = (
    ({"active": False}, 200, "active", False),
    ({"active": None}, 200, "active", None),
    ({"name": [{"family": "Neu"}]}, 200, "name", [{"family": "Neu"}]),
    ({"maritalStatus": {"text": "x", "coding": None}}, 200, "maritalStatus", {"text": "x"}),
    ({"active": "x"}, 422, "", None),
    ({"id": "y"}, 400, "", None),
    ([], 400, "", None),
)


@pytest.mark.parametrize(("patch", "status", "path", "expected"), MERGES)
async def test_merge_patch(harness: Harness, patch: Any, status: int, path: str, expected: Any) -> None:
    """RFC 7396: members are replaced, null takes one away."""
    await harness.put(dict(PATIENT))
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
    assert answer.status_code == status, answer.text
    if path:
        assert answer.json().get(path) == expected


XML_CASES: tuple[tuple[str, str, Any], ...] = (
    ("<replace sel='f:Patient/f:name[1]/f:family/@value'>Neu</replace>", "name.0.family", "Neu"),
    ("<replace sel='/f:Patient/f:deceasedBoolean'><f:deceasedDateTime value='2020'/></replace>",
     "deceasedDateTime", "2020"),
    ("<add sel='f:Patient'><f:birthDate value='2000-01-01'/></add>", "birthDate", "2000-01-01"),
    ("<add sel='f:Patient/f:name'><f:given value='B'/></add>", "name.0.given", ["A", "B"]),
    ("<add sel='f:Patient/f:name' pos='prepend'><f:given value='B'/></add>", "name.0.given", ["B", "A"]),
    ("<add sel='f:Patient/f:identifier[2]' pos='before'><f:identifier><f:value value='n'/></f:identifier></add>",
     "identifier.1", {"value": "n"}),
    ("<add sel='f:Patient/f:identifier[2]' pos='after'><f:identifier><f:value value='n'/></f:identifier></add>",
     "identifier.2", {"value": "n"}),
    ("<remove sel=\"f:Patient/f:identifier[f:system/@value='urn:b']\"/>", "identifier.1.system", "urn:c"),
    ("<remove sel=\"*/f:identifier[f:system='urn:b']\" ws='both'/>", "identifier.1.system", "urn:c"),
    ("<remove sel='f:Patient/f:name'/>", "name", None),
    ("<add sel='f:Patient/f:name' type='@id'>n1</add>", "name.0.id", "n1"),
    ("<add sel='f:Patient'><f:text><f:status value='generated'/><div xmlns='http://www.w3.org/1999/xhtml'>a"
     " <b>b</b></div></f:text></add>", "text.div", "<div xmlns='http://www.w3.org/1999/xhtml'>a <b>b</b></div>"),
    ("<remove sel='f:Patient/f:active'/><add sel='f:Patient'><f:active value='false'/></add>", "active", False),
)  # fmt: skip
XML_PATCH = {"Content-Type": "application/xml-patch+xml"}


def diff(operations: str) -> str:
    return f'<diff xmlns:f="http://hl7.org/fhir">{operations}</diff>'


@pytest.mark.parametrize(("operations", "path", "expected"), XML_CASES)
async def test_xml_patch(harness: Harness, operations: str, path: str, expected: Any) -> None:
    """RFC 5261."""
    await harness.put(dict(PATIENT))
    answer = await harness.send("PATCH", "Patient/x", "admin", content=diff(operations), headers=XML_PATCH)
    assert answer.status_code == 200, answer.text
    assert at(answer.json(), path) == expected


@pytest.mark.parametrize("namespace", [' xmlns="http://hl7.org/fhir"', ""])
async def test_plain_names_of_an_xml_patch_are_fhirs(harness: Harness, namespace: str) -> None:
    await harness.put(dict(PATIENT))
    body = f"<diff{namespace}><replace sel='Patient/active/@value'>false</replace></diff>"
    answer = await harness.send("PATCH", "Patient/x", "admin", content=body, headers=XML_PATCH)
    assert answer.status_code == 200, answer.text
    assert answer.json()["active"] is False


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ("<remove sel='f:Patient/f:birthDate'/>", 422),
        ("<remove sel='f:Patient/f:identifier'/>", 422),
        ("<remove sel='f:Patient'/>", 422),
        ("<remove sel='f:Observation/f:active'/>", 422),
        ("<add sel='f:Patient'><f:active value='false'/></add>", 422),
        ("<add sel='f:Patient'><f:colour value='x'/></add>", 422),
        ("<add sel='f:Patient/f:active' type='@value'>false</add>", 422),
        ("<replace sel='f:Patient/f:active/@value'>maybe</replace>", 422),
        ("<replace sel='f:Patient/f:id/@value'>y</replace>", 400),
        ("<replace sel='f:Patient/f:active'>false</replace>", 400),
        ("<replace sel='f:Patient/f:active'/>", 400),
        ("<replace sel='f:Patient/f:active/@value'><f:x/></replace>", 400),
        ("<change sel='f:Patient'/>", 400),
        ("<remove/>", 400),
        ("<remove sel=\"id('x')\"/>", 400),
        ("<remove sel='g:Patient/g:active'/>", 400),
        ("<remove sel='f:Patient/f:active/'/>", 400),
        ("<remove sel='f:Patient/comment()'/>", 400),
        ("<remove sel='f:Patient/f:active' colour='red'/>", 400),
        ("<add sel='f:Patient' pos='here'><f:active value='true'/></add>", 400),
        ("<add sel='f:Patient'><x xmlns='urn:x'/></add>", 400),
        ("<add sel='f:Patient'>", 400),
    ],
)
async def test_xml_patches_that_do_not_fit(harness: Harness, operations: str, status: int) -> None:
    """Nothing is changed."""
    await harness.put(dict(PATIENT))
    answer = await harness.send("PATCH", "Patient/x", "admin", content=diff(operations), headers=XML_PATCH)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert (await harness.stored("Patient/x"))["meta"]["versionId"] == "1"


async def test_xml_patches_have_no_entities(harness: Harness) -> None:
    await harness.put(dict(PATIENT))
    body = '<!DOCTYPE diff [<!ENTITY a "b">]>' + diff("<replace sel='f:Patient/f:active/@value'>&a;</replace>")
    answer = await harness.send("PATCH", "Patient/x", "admin", content=body, headers=XML_PATCH)
    assert answer.status_code == 400


async def test_xml_patch_in_a_bundle_and_with_a_condition(harness: Harness) -> None:
    await harness.put(dict(PATIENT))
    body = diff("<replace sel='f:Patient/f:active/@value'>false</replace>").encode()
    data = base64.b64encode(body).decode()
    binary = {"resourceType": "Binary", "contentType": "application/xml-patch+xml", "data": data}
    entry = {"request": {"method": "PATCH", "url": "Patient/x"}, "resource": binary}
    for type_ in ("batch", "transaction"):
        sent = {"resourceType": "Bundle", "type": type_, "entry": [entry]}
        answer = await harness.send("POST", "", "admin", json_=sent)
        assert answer.json()["entry"][0]["response"]["status"] == "200 OK", answer.text
    path = "Patient?identifier=urn:a|1"
    assert (await harness.send("PATCH", path, "admin", content=body, headers=XML_PATCH)).status_code == 200
    stale = XML_PATCH | {"If-Match": 'W/"1"'}
    assert (await harness.send("PATCH", "Patient/x", "admin", content=body, headers=stale)).status_code == 412
