"""The kinds of patch (RFC 7396, FHIR R4 fhirpatch.html)."""

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
)


@pytest.mark.parametrize(("patch", "status"), REFUSED)
async def test_fhirpath_patch_that_does_not_fit(harness: Harness, patch: Any, status: int) -> None:
    await harness.put(dict(PATIENT))
    headers = {"Content-Type": "application/fhir+json"}
    answer = await harness.send("PATCH", "Patient/x", "admin", json_=patch, headers=headers)
    assert answer.status_code == status, answer.text
    assert (await harness.stored("Patient/x"))["meta"]["versionId"] == "1"


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
