"""The scope grammar, by table (SMART App Launch 2.2.0 scopes-and-launch-context)."""

import pytest

from smart_auth.errors import InvalidScope
from smart_auth.scopes import PlainScope, Scope, covers, parse, parse_all


@pytest.mark.parametrize(
    ("text", "level", "type_", "letters"),
    [
        ("patient/Observation.rs", "patient", "Observation", "rs"),
        ("user/*.cruds", "user", "*", "cruds"),
        ("system/Appointment.c", "system", "Appointment", "c"),
        ("patient/Patient.read", "patient", "Patient", "rs"),
        ("user/Slot.write", "user", "Slot", "cud"),
        ("system/*.*", "system", "*", "cruds"),
        ("http://smarthealthit.org/fhir/scopes/patient/Slot.s", "patient", "Slot", "s"),
    ],
)
def test_resource_scopes_of_both_versions_are_read(text: str, level: str, type_: str, letters: str) -> None:
    scope = parse(text)
    assert isinstance(scope, Scope)
    assert (scope.level, scope.type, scope.letters, scope.text) == (level, type_, frozenset(letters), text)


@pytest.mark.parametrize(
    "text",
    [
        "patient/Observation.dus",
        "patient/Observation.rr",
        "patient/Observation.x",
        "patient/Observation.",
        "patient/Observation",
        "patient/observation.rs",
        "Patient/Observation.rs",
        "provider/Observation.rs",
        "patient/*.readwrite",
        "patient/Observation.rs?",
        "patient/Observation.rs?category",
        "patient/Observation.rs?=x",
        "patient/Observation.rs?category=",
        "patient/Observation.read?category=x",
        "patient/Observation.RS",
        "patient/Obs*.rs",
        'patient/Observation.rs"',
        "patient/Observation.rs\\",
        "launch/Patient",
        "launchpatient",
        "openid2",
        "*",
        "é",
        "x" * 600,
    ],
)
def test_what_the_grammar_does_not_have_is_refused(text: str) -> None:
    """Undefined or out-of-order letters are never interpreted loosely."""
    with pytest.raises(InvalidScope):
        parse(text)


@pytest.mark.parametrize("text", ["openid", "fhirUser", "launch", "launch/patient", "launch/imagingstudy",
                                  "launch/questionnaire?role=http://example.org/r", "offline_access"])  # fmt: skip
def test_scopes_without_resources_are_known(text: str) -> None:
    assert parse(text) == PlainScope(text)


def test_a_query_part_is_read_as_pairs() -> None:
    scope = parse("patient/Observation.rs?category=http://x|lab&status=final")
    assert isinstance(scope, Scope)
    assert scope.query == (("category", "http://x|lab"), ("status", "final"))


@pytest.mark.parametrize(
    ("registered", "requested", "is_covered"),
    [
        ("system/Appointment.cr", "system/Appointment.cr", True),
        ("system/Appointment.cr", "system/Appointment.c", True),
        ("system/Appointment.c system/Appointment.r", "system/Appointment.cr", True),
        ("system/*.cruds", "system/Appointment.read", True),
        ("system/*.cruds", "system/*.*", True),
        ("system/Appointment.cr", "system/Appointment.crs", False),
        ("system/Appointment.cruds", "system/*.r", False),
        ("system/*.r", "user/Patient.r", False),
        ("system/*.r", "patient/Patient.r", False),
        ("user/Observation.rs?category=x", "user/Observation.rs", False),
        ("user/Observation.rs?category=x", "user/Observation.rs?category=x&status=final", True),
        ("openid launch", "launch", True),
        ("openid", "fhirUser", False),
        ("system/*.cruds", "openid", False),
    ],
)
def test_a_registration_covers_its_scopes_and_nothing_more(registered: str, requested: str, is_covered: bool) -> None:
    assert covers(parse_all(registered), parse(requested)) is is_covered


def test_a_list_keeps_order_drops_repeats_and_refuses_unknown_types() -> None:
    assert [scope.text for scope in parse_all("openid  user/Slot.rs openid", {"Slot"})] == ["openid", "user/Slot.rs"]
    with pytest.raises(InvalidScope, match="does not have"):
        parse_all("user/Slott.rs", {"Slot"})
    with pytest.raises(InvalidScope):
        parse_all("user/Slot.rs\tuser/Slot.c", {"Slot"})
