"""The structural check, by tables of (JSON as a client sends it, issues expected); the first row is the control."""

import json
import re
import time
from typing import Any

import pytest

from fhir_server.fhir.json import parse
from profiles.definitions import load
from profiles.structure import Structure
from profiles.structure_run import MAX_ISSUES

APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "id": "a-1.b",
    "meta": {"lastUpdated": "2024-02-29T10:00:00.123Z", "tag": [{"system": "urn:x", "code": "demo"}]},
    "language": "de-AT",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Visit</p></div>'},
    "contained": [
        {"resourceType": "Location", "id": "room", "name": "Room 1"},
        {"resourceType": "Patient", "id": "new", "managingOrganization": {"reference": "Organization/1"}},
    ],
    "extension": [{"url": "http://example.org/x", "valueBoolean": True}],
    "modifierExtension": [{"url": "urn:y", "extension": [{"url": "z", "valueString": "v"}]}],
    "status": "booked",
    "_status": {"id": "s", "extension": [{"url": "urn:why", "valueCode": "because"}]},
    "priority": 0,
    "start": "2024-05-31T09:00:00+02:00",
    "end": "2024-05-31T09:30:00+02:00",
    "minutesDuration": 30,
    "created": "2024-05",
    "participant": [
        {"actor": {"reference": "#room"}, "status": "accepted"},
        {"actor": {"reference": "Patient/p1/_history/2"}, "status": "needs-action", "required": "required"},
        {"actor": {"reference": "https://example.org/fhir/Practitioner/7"}, "status": "tentative"},
        {"actor": {"reference": "urn:uuid:6e2f5ed0-35ee-4f2c-9a7a-9d1d6fbb2b3a"}, "status": "declined"},
        {"actor": {"identifier": {"system": "urn:oid:1.2", "value": "9"}, "display": "N"}, "status": "accepted"},
    ],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "Weight"},
    "valueQuantity": {"value": 80, "unit": "kg"},
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [{"given": ["A", None], "_given": [None, {"extension": [{"url": "urn:e", "valueString": "x"}]}]}],
    "birthDate": "1970",
    "_birthDate": {"id": "only-an-id-beside-a-value"},
    "deceasedBoolean": False,
}
BUNDLE: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}]}
CONDITION: dict[str, Any] = {
    "resourceType": "Condition",
    "clinicalStatus": {
        "coding": [
            {"system": "urn:local", "code": "x"},
            {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "relapse"},
        ]
    },
    "subject": {"reference": "Patient/1"},
}


@pytest.fixture(scope="module")
def structure() -> Structure:
    return Structure(load())


def found(structure: Structure, resource: Any, **options: Any) -> list[tuple[str, str | None]]:
    text = resource if isinstance(resource, str) else json.dumps(resource)
    return [(issue.code, issue.expression) for issue in structure.check(parse(text), **options)]


@pytest.mark.parametrize("resource", [APPOINTMENT, OBSERVATION, PATIENT, BUNDLE, CONDITION])
def test_right_resources_pass(structure: Structure, resource: dict[str, Any]) -> None:
    assert found(structure, resource) == []


DROP = object()
Change = tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]


def _with(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **change}.items() if value is not DROP}


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
A, V, P, B, C = APPOINTMENT, OBSERVATION, PATIENT, BUNDLE, CONDITION


def _div(text: str) -> dict[str, Any]:
    return {"text": {"status": "generated", "div": text}}


def _entry(resource: Any) -> dict[str, Any]:
    return {"entry": [{"resource": resource}]}


def _actor(reference: str) -> dict[str, Any]:
    return {"participant": [{"actor": {"reference": reference}, "status": "accepted"}]}


ACTOR = "Appointment.participant[0].actor.reference"

TABLE: list[Change] = [
    (A, {}, []),
    # resourceType
    (A, {"resourceType": DROP}, [("required", "Resource")]),
    (A, {"resourceType": "Apointment"}, [("structure", "Resource")]),
    (A, {"resourceType": "DomainResource"}, [("structure", "Resource")]),
    (A, {"resourceType": 1}, [("structure", "Resource")]),
    # unknown elements
    (A, {"colour": "red"}, [("structure", "Appointment")]),
    (A, {"_participant": {}}, [("structure", "Appointment")]),
    (A, {"_id": {"extension": [{"url": "urn:x", "valueCode": "c"}]}}, [("structure", "Appointment")]),
    (A, {"text": {"status": "empty", "div": f"{DIV}x</div>", "x": 1}}, [("structure", "Appointment.text")]),
    (A, {"fhir_comments": ["x"]}, [("structure", "Appointment")]),
    (P, {"name": [{"resourceType": "HumanName"}]}, [("structure", "Patient.name[0]")]),
    # JSON types
    (A, {"priority": "0"}, [("structure", "Appointment.priority")]),
    (A, {"priority": True}, [("structure", "Appointment.priority")]),
    (A, {"description": 7}, [("structure", "Appointment.description")]),
    (A, {"description": True}, [("structure", "Appointment.description")]),
    (P, {"active": "true"}, [("structure", "Patient.active")]),
    (P, {"active": 1}, [("structure", "Patient.active")]),
    (A, {"meta": [{}]}, [("structure", "Appointment.meta")]),
    (A, {"meta": "x"}, [("structure", "Appointment.meta")]),
    (A, {"participant": A["participant"][0]}, [("structure", "Appointment.participant")]),
    (A, {"participant": ["x"]}, [("structure", "Appointment.participant[0]")]),
    (A, {"status": ["booked"]}, [("structure", "Appointment.status")]),
    (A, {"status": {}}, [("structure", "Appointment.status")]),
    (P, {"name": [{"given": "A"}]}, [("structure", "Patient.name[0].given")]),
    (P, {"name": [{"given": ["A", 1]}]}, [("structure", "Patient.name[0].given[1]")]),
    # null, empty arrays, empty objects
    (A, {"description": None}, [("structure", "Appointment.description")]),
    (A, {"meta": None}, [("structure", "Appointment.meta")]),
    (A, {"participant": None}, [("structure", "Appointment.participant")]),
    (A, {"participant": [None]}, [("structure", "Appointment.participant[0]")]),
    (A, {"serviceType": []}, [("structure", "Appointment.serviceType")]),
    (P, {"name": [{"given": []}]}, [("structure", "Patient.name[0].given")]),
    (A, {"meta": {}}, [("structure", "Appointment.meta")]),
    (A, {"serviceType": [{}]}, [("structure", "Appointment.serviceType[0]")]),
    (A, {"serviceType": [{"id": "x"}]}, [("structure", "Appointment.serviceType[0]")]),
    (A, {"description": ""}, [("value", "Appointment.description")]),
    # cardinality
    (A, {"status": DROP, "_status": DROP}, [("required", "Appointment.status")]),
    (A, {"status": DROP}, []),  # an extension stands for the value (element.html)
    (A, {"participant": DROP}, [("required", "Appointment.participant")]),
    (A, {"participant": [{"actor": {"display": "x"}}]}, [("required", "Appointment.participant[0].status")]),
    (A, {"extension": [{"valueCode": "x"}]}, [("required", "Appointment.extension[0].url")]),
    # choices
    (V, {"valueString": "x"}, [("structure", "Observation.value")]),
    (V, {"_valueString": {"extension": [{"url": "urn:x", "valueCode": "c"}]}}, [("structure", "Observation.value")]),
    (V, {"valueQuantity": DROP, "_valueString": {"extension": [{"url": "urn:x", "valueCode": "c"}]}}, []),
    (V, {"valueQuantity": DROP, "valueString": "x", "_valueString": {"id": "beside"}}, []),
    (V, {"valueQuantity": DROP, "_valueString": {"id": "alone"}}, [("structure", "Observation.value")]),
    (V, {"valueQuantity": DROP, "valueMoney": {"value": 1}}, [("structure", "Observation")]),
    (V, {"value": 1}, [("structure", "Observation")]),
    (V, {"valueQuantity": DROP, "valueInteger": "1"}, [("structure", "Observation.value")]),
    (V, {"valueQuantity": {"value": "80"}}, [("structure", "Observation.value.value")]),
    # extensions of primitives
    (A, {"_status": {"id": "x"}}, []),
    (A, {"_status": {}}, [("structure", "Appointment.status")]),
    (A, {"_status": "x"}, [("structure", "Appointment.status")]),
    (A, {"_status": [{"id": "x"}]}, [("structure", "Appointment.status")]),
    (A, {"_status": {"id": "s", "value": "x"}}, [("structure", "Appointment.status")]),
    (P, {"name": [{"given": ["A", None]}]}, [("structure", "Patient.name[0].given[1]")]),
    (P, {"name": [{"given": ["A"], "_given": [None]}]}, [("structure", "Patient.name[0].given")]),
    (P, {"name": [{"given": ["A", "B"], "_given": [{"id": "x"}]}]}, [("structure", "Patient.name[0].given")]),
    (P, {"name": [{"given": ["A"], "_given": {"id": "x"}}]}, [("structure", "Patient.name[0].given")]),
    (P, {"name": [{"given": ["A"], "_given": [{"id": "x"}]}]}, []),
    (P, {"name": [{"_given": [{"id": "x"}]}]}, [("structure", "Patient.name[0].given[0]")]),
    (P, {"name": [{"given": ["A"], "_given": ["x"]}]}, [("structure", "Patient.name[0].given[0]")]),
    # contained resources
    (A, {"contained": [{"resourceType": "Location", "colour": 1}, *A["contained"]]},
     [("structure", "Appointment.contained[0]")]),
    (A, {"contained": [{**A["contained"][0], "contained": [{"resourceType": "Patient"}]}]},
     [("structure", "Appointment.contained[0].contained[0]")]),
    (A, {"contained": [A["contained"][0], A["contained"][0]]}, [("value", "Appointment.contained")]),
    (A, {"contained": [{"id": "x"}, A["contained"][0]]}, [("required", "Appointment.contained[0]")]),
    (A, {"contained": [{"resourceType": "Patient", "id": []}, *A["contained"]]},
     [("structure", "Appointment.contained[0].id")]),
    (A, {"contained": [*A["contained"], "x"]}, [("structure", "Appointment.contained[2]")]),
    (A, {"contained": [A["contained"][0], {"resourceType": "Patient", "id": "q", "link": [
        {"other": {"reference": "#q"}, "type": "seealso"}]}]}, []),
    # other resources inside
    (B, _entry({**PATIENT, "active": 1}), [("structure", "Bundle.entry[0].resource.active")]),
    (B, _entry({"active": True}), [("required", "Bundle.entry[0].resource")]),
    (B, _entry([PATIENT]), [("structure", "Bundle.entry[0].resource")]),
    (B, {"entry": [{"link": [{"relation": "self"}]}]}, [("required", "Bundle.entry[0].link[0].url")]),
    ({"resourceType": "Parameters"},
     {"parameter": [{"name": "a", "resource": {"resourceType": "Patient", "active": 1}}]},
     [("structure", "Parameters.parameter[0].resource.active")]),
    ({"resourceType": "Parameters"}, {"parameter": [{"name": "a", "part": [{"valueString": "x"}]}]},
     [("required", "Parameters.parameter[0].part[0].name")]),
    # references
    (A, _actor("patient/1"), [("value", ACTOR)]),
    (A, _actor("Patient/"), [("value", ACTOR)]),
    (A, _actor("Patient/a_b"), [("value", ACTOR)]),
    (A, _actor("Patient/" + "x" * 65), [("value", ACTOR)]),
    (A, _actor("Unicorn/1"), [("value", ACTOR)]),
    (A, _actor("Slot/1"), [("value", ACTOR)]),
    (A, _actor("#nowhere"), [("value", ACTOR)]),
    (A, _actor("#"), [("value", ACTOR)]),
    (A, _actor("#new"), []),
    (A, _actor("Patient?identifier=x"), [("value", ACTOR)]),
    (A, {"slot": [{"reference": "#room"}]}, [("value", "Appointment.slot[0].reference")]),
    (B, {"type": "transaction"} | _entry(_with(A, _actor("Patient?identifier=x"))), []),
    (B, {"type": "transaction"} | _entry(_with(A, _actor("Slot?identifier=x"))),
     [("value", "Bundle.entry[0].resource.participant[0].actor.reference")]),
    (B, {"type": "batch"} | _entry(_with(A, _actor("Patient?identifier=x"))),
     [("value", "Bundle.entry[0].resource.participant[0].actor.reference")]),
    # required bindings
    (A, {"status": "confirmed"}, [("code-invalid", "Appointment.status")]),
    (A, {"status": "Booked"}, [("code-invalid", "Appointment.status")]),
    (A, {"status": "booked "}, [("value", "Appointment.status")]),
    (C, {"clinicalStatus": {"text": "active"}}, [("code-invalid", "Condition.clinicalStatus")]),
    (C, {"clinicalStatus": {"coding": [{"code": "active"}]}}, [("code-invalid", "Condition.clinicalStatus")]),
    (C, {"clinicalStatus": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}}, []),
    (C, {"clinicalStatus": {"coding": [{"code": ["active"]}]}},
     [("structure", "Condition.clinicalStatus.coding[0].code"), ("code-invalid", "Condition.clinicalStatus")]),
    # narrative
    (A, _div("Visit"), [("structure", "Appointment.text.div")]),
    (A, _div("<div>x</div>"), [("invariant", "Appointment.text.div")]),
    (A, _div(f"{DIV}x"), [("structure", "Appointment.text.div")]),
    (A, _div(f"{DIV}&nbsp;</div>"), [("structure", "Appointment.text.div")]),
    (A, _div(f"{DIV} &#160;é</div>"), []),
    (A, _div(f"{DIV} <br/> </div>"), [("invariant", "Appointment.text.div")]),
    (A, _div(f"{DIV}<script>x</script></div>"), [("invariant", "Appointment.text.div")]),
    (A, _div(f'{DIV}<p onclick="x">y</p></div>'), [("invariant", "Appointment.text.div")]),
    (A, _div(f'{DIV}<a href=" javascript:x">y</a></div>'), [("invariant", "Appointment.text.div")]),
    (A, _div(f'{DIV}<a href="data:text/html,x">y</a></div>'), [("invariant", "Appointment.text.div")]),
    (A, _div(f'{DIV}<img src="data:image/png;base64,AA==" alt="x"/></div>'), []),
    (A, _div(f"<!DOCTYPE div>{DIV}x</div>"), [("structure", "Appointment.text.div")]),
    (A, _div(f'<div [<!ENTITY a "b">]>{DIV}&a;</div>'), [("structure", "Appointment.text.div")]),
    (A, {"text": {"status": "generated", "div": 1}}, [("structure", "Appointment.text.div")]),
    (A, {"text": {"status": "generated"}}, [("required", "Appointment.text.div")]),
    # content references
    (V, {"component": [{"code": {"text": "c"}, "referenceRange": [{"low": 1}]}]},
     [("structure", "Observation.component[0].referenceRange[0].low")]),
]  # fmt: skip


@pytest.mark.parametrize(("base", "change", "expected"), TABLE)
def test_rules(structure: Structure, base: dict[str, Any], change: dict[str, Any], expected: list[Any]) -> None:
    assert found(structure, _with(base, change)) == expected


FORMATS: list[tuple[str, list[str], list[str]]] = [
    # type of Parameters.parameter.value[x], right JSON texts, wrong ones
    ("Id", ['"a"', '"A-1.2"', f'"{"x" * 64}"'], ['""', '"a_b"', '"a b"', f'"{"x" * 65}"', '"é"', '"a\\n"']),
    ("String", ['"a"', '" "', '"a\\tb\\r\\n"', '"é 😀\\u00a0"'], ['""', '"\\u0000"', '"a\\u001f"', '"\\b"', "1"]),
    ("Markdown", ['"# a\\n\\n* b"'], ['""', '"\\u0007"']),
    ("Code", ['"a"', '"a b"', '"a\\tb"', '"=<"'], ['""', '" a"', '"a "', '"a  b"', '"a\\u0000"']),
    ("Uri", ['"urn:x"', '"../a"', '"é"', '"#a"'], ['""', '"a b"', '"a\\n"', "5"]),
    ("Url", ['"http://x/"'], ['"http://x/ y"']),
    ("Canonical", ['"http://x|1"'], ['"http://x y"']),
    ("Oid", ['"urn:oid:1.2.840"'], ['"1.2"', '"urn:oid:3.1"', '"urn:oid:1.02"', '"urn:oid:1"']),
    (
        "Uuid",
        ['"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"'],
        ['"c757873d-ec9a-4326-a141-556f43239520"', '"urn:uuid:C757873D-EC9A-4326-A141-556F43239520"'],
    ),
    ("Boolean", ["true", "false"], ['"true"', "1", "0", "null"]),
    ("Integer", ["0", "-1", "2147483647", "-2147483648"], ["2147483648", "1.0", "1e2", '"1"', "true"]),
    ("UnsignedInt", ["0", "2147483647"], ["-1", "2147483648", '"0"']),
    ("PositiveInt", ["1", "2147483647"], ["0", "-1", "1.5"]),
    ("Decimal", ["0", "1.50", "-2.5e-3", "1E400", "100000000000000000000.1"], ['"1.5"', "true", "[1]"]),
    ("Base64Binary", ['"QUJD"', '"QQ=="', '"QUJD\\nQUJD"'], ['""', '"QUJ"', '"Q==="', '"ÄÄÄÄ"', '"QU D"', '"!!!!"']),
    ("Date", ['"2024"', '"2024-02"', '"2024-02-29"'], ['"0000"', '"24"', '"2023-02-29"', '"2024-13"', '"2024-2-1"']),
    ("Date", ['"1900-01-31"', '"9999-12-31"'], ['"2024-04-31"', '"2024-02-00"', '"2024-01-01T00:00:00Z"', "2024"]),
    ("DateTime", ['"2024"', '"2024-02-29"'], ['"2024-02-30T00:00:00Z"', '"2024-02-01T00:00"', '"2024-02-01T00:00:00"']),
    (
        "DateTime",
        ['"2016-12-31T23:59:60Z"', '"2024-01-01T00:00:00.000001-14:00"'],
        ['"2024-01-01T24:00:00Z"', '"2024-01-01T00:60:00Z"', '"2024-01-01T00:00:00+14:30"', '"2024-01-01 00:00:00Z"'],
    ),
    ("Instant", ['"2024-02-29T00:00:00Z"', '"2024-01-31T10:00:00.5+05:30"'], ['"2024"', '"2024-02-29"', '"x"']),
    ("Time", ['"00:00:00"', '"23:59:59.9"'], ['"24:00:00"', '"10:00"', '"10:00:00Z"']),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "right", "wrong"), FORMATS)
def test_primitive_formats(structure: Structure, type_: str, right: list[str], wrong: list[str]) -> None:
    def issues(text: str) -> list[tuple[str, str | None]]:
        body = f'{{"resourceType": "Parameters", "parameter": [{{"name": "p", "value{type_}": {text}}}]}}'
        return found(structure, body)

    assert {text: issues(text) for text in right} == {text: [] for text in right}
    for text in wrong:
        [(code, expression)] = issues(text)
        assert code in ("value", "structure"), text
        assert expression == "Parameters.parameter[0].value"


# Refused beyond the published regexes: days that do not exist, control characters, padding, 32 bits.
BEYOND_REGEX = {
    "2023-02-29", "2024-04-31", "2024-02-30T00:00:00Z", "\x00", "a\x1f", "\b", "\x07", "Q===", "2147483648", "a\x00",
    "",
}  # fmt: skip


@pytest.mark.parametrize(("type_", "right", "wrong"), FORMATS)
def test_formats_agree_with_the_published_regexes(type_: str, right: list[str], wrong: list[str]) -> None:
    """datatypes.html#primitive: what is accepted matches the regex, and what is refused does not."""
    primitive = load().primitives[type_[0].lower() + type_[1:]]
    assert primitive.regex is not None
    pattern = re.compile(primitive.regex, re.ASCII)

    def matches(text: str) -> bool:
        value = json.loads(text, parse_float=str, parse_int=str)
        written = value if isinstance(value, str) else text
        return pattern.fullmatch(written) is not None and written not in BEYOND_REGEX

    of_right_json_type = [text for text in wrong if text.startswith('"') == right[0].startswith('"')]
    assert [text for text in right if not matches(text)] == []
    assert [text for text in of_right_json_type if matches(text)] == []


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_resource_is_an_object(structure: Structure, value: Any) -> None:
    assert [(i.code, i.expression) for i in structure.check(value)] == [("structure", "Resource")]


def test_another_type_than_expected_is_refused(structure: Structure) -> None:
    assert found(structure, A, expected_type="Appointment") == []
    assert found(structure, A, expected_type="Patient") == [("invalid", "Appointment")]


def test_resource_type_may_stand_anywhere(structure: Structure) -> None:
    assert found(structure, dict(reversed(A.items()))) == []


def test_every_issue_is_found_at_once(structure: Structure) -> None:
    wrong = _with(A, {"status": "x", "colour": 1, "priority": -1, "participant": []})
    assert len(found(structure, wrong)) == 4


def test_issues_are_bounded(structure: Structure) -> None:
    """A body full of faults gets an answer of bounded size, which says so."""
    issues = structure.check({**A, "participant": [{"status": 1}] * 5000})
    assert len(issues) == MAX_ISSUES + 1
    assert issues[-1].code == "too-costly"


def test_diagnostics_do_not_echo_values(structure: Structure) -> None:
    """Patient data and markup never come back in an OperationOutcome."""
    secret = "Maria Mustermann <b>"
    wrong = _with(A, {"status": secret, "start": secret, secret: 1, "id": secret, "slot": [{"reference": secret}]})
    issues = structure.check({**wrong, **_div(f"<div>{secret}")})
    assert len(issues) == 6
    assert not any("Muster" in f"{i.diagnostics}{i.expression}" for i in issues)


def test_diagnostics_name_the_mend(structure: Structure) -> None:
    [issue] = structure.check(_with(A, {"status": "x"}))
    assert issue.diagnostics == (
        "status has a code outside its value set; use one of arrived, booked, cancelled, checked-in, "
        "entered-in-error, fulfilled, noshow, pending, proposed, waitlist."
    )


def test_long_texts_are_refused(structure: Structure) -> None:
    """datatypes.html#string: at most 1024 * 1024 characters."""
    assert found(structure, _with(A, {"description": "x" * 1024 * 1024})) == []
    longer = _with(A, {"description": "x" * (1024 * 1024 + 1)})
    assert found(structure, longer) == [("value", "Appointment.description")]


def test_hostile_texts_are_checked_in_linear_time(structure: Structure) -> None:
    """No test of a format backtracks: a long near-miss costs about what a long value costs."""
    size = 1_000_000
    near = {
        "Code": "a " * (size // 2),
        "Uri": "a" * size + " ",
        "Base64Binary": "QUJD " * (size // 5) + "!",
        "DateTime": "2024-01-01T00:00:00." + "1" * size,
        "Oid": "urn:oid:1" + ".1" * (size // 2) + "x",
    }
    for type_, text in near.items():
        start = time.process_time()
        found(structure, {"resourceType": "Parameters", "parameter": [{"name": "p", f"value{type_}": text}]})
        assert time.process_time() - start < 1, type_


def test_every_type_compiles() -> None:
    Structure(load()).warm()


def test_check_is_fast(structure: Structure) -> None:
    """Measured 26 µs; the bound leaves room for a slow machine."""
    structure.check(A)
    best = min(_seconds(structure) for _ in range(5))
    assert best < 200e-6


def _seconds(structure: Structure) -> float:
    start = time.process_time()
    for _ in range(100):
        structure.check(A)
    return (time.process_time() - start) / 100
