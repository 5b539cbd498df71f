"""The access policy as data, and what it lets each kind of caller do, on real resources with real index entries."""

import timeit
from collections.abc import Iterable
from typing import Any

import pytest

from fhir_server.interactions.access import ANONYMOUS, Access, Agent
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import matches
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import All, Any_, Entries, Node, Not, Test
from profiles.definitions import load
from smart_auth.surfaces import POLICY, SUBMITTER, Policies
from smart_auth.surfaces.types import LIMITED, PUBLIC

DEFINITIONS = load()
REGISTRY = Registry(DEFINITIONS)
EXTRACTOR = Extractor(REGISTRY)
POLICIES = Policies(DEFINITIONS.resource_types, DEFINITIONS.compartments["Patient"])
ROLES = ("public", "patient", "proxy", "practitioner", "front-desk", "auditor", "administrator", "website", "service")
HUMAN = {"patient": "Patient/anna", "proxy": "RelatedPerson/mum", "practitioner": "Practitioner/lee",
         "front-desk": "Practitioner/sam"}  # fmt: skip


def access(role: Any, *scopes: str, surface: str = "", **about: str) -> Access:
    """The Access of a typical agent of the role; all scopes of its level unless some are named."""
    person = HUMAN.get(role, "")
    patient = "anna" if role in ("patient", "proxy") else ""
    level = "patient" if patient else "user" if person else "system"
    agent = Agent(role, **({"client_id": "app", "fhir_user": person, "patient": patient} | about))
    wanted = () if role == "public" else scopes or (f"{level}/*.cruds",)
    return POLICIES.access_for(Agent(**{**_fields(agent), "scopes": wanted}), surface)


def _fields(agent: Agent) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in ("role", "client_id", "fhir_user", "patient")}


def allows(who: Access, letter: str, resource: dict[str, Any]) -> bool:
    """Whether a grant of that letter lets the resource through."""
    entries = EXTRACTOR.entries(resource)
    grants = who.of(resource["resourceType"], letter)
    around = UnderCare()
    return any(matches(grant.rows, entries, type_=resource["resourceType"], around=around) for grant in grants)


class UnderCare:
    """Patients with `Practitioner/lee` as their general practitioner, and nothing else."""

    def target(self, type_: str, id_: str) -> Entries | None:
        general = [{"reference": "Practitioner/lee"}]
        return EXTRACTOR.entries({"resourceType": type_, "id": id_, "generalPractitioner": general})

    def referrers(self, type_: str, id_: str, source: str, param: str) -> Iterable[Entries]:
        return ()


def letters(who: Access, type_: str) -> str:
    """The letters granted on a type, whatever the rows."""
    return "".join(letter for letter in "cruds" if who.of(type_, letter))


def appointment(patient: str = "anna", status: str = "proposed", submitter: str = "", id_: str = "1") -> dict[str, Any]:
    tags = [{"system": SUBMITTER, "code": submitter}] if submitter else []
    actors = [{"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"}]
    return {"resourceType": "Appointment", "id": id_, "meta": {"tag": tags}, "status": status, "participant": actors}


def observation(patient: str = "anna", status: str = "final", label: str = "") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    return {
        "resourceType": "Observation",
        "id": "1",
        "meta": {"security": [{"system": system, "code": label}]} if label else {},
        "status": status,
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


# The data itself.


def test_every_rule_names_known_types_letters_in_order_and_itself() -> None:
    for rule in POLICY:
        assert set(rule.types) - {"*"} <= DEFINITIONS.resource_types, rule.name
        assert rule.letters == "".join(letter for letter in "cruds" if letter in rule.letters), rule.name
        assert rule.name.startswith("R-"), rule.name
        assert rule.elements is None or set(rule.types) <= rule.elements.keys(), rule.name
    assert len({rule.name for rule in POLICY}) == len(POLICY)


def test_every_element_and_search_parameter_that_the_policy_names_exists() -> None:
    """A misspelt parameter in a row filter would silently let nothing, or under `not` everything, through."""
    for type_, elements in PUBLIC.items():
        known = {element.name for element in DEFINITIONS.types[type_].children(type_)}
        assert elements - {"resourceType"} <= known, type_
    for role in ROLES:
        for surface in ("", "website"):
            for type_, grants in access(role, surface=surface).grants.items():
                for test in (test for grant in grants for test in _tests(grant.rows)):
                    parameter = REGISTRY.parameter(type_, test.param)
                    assert parameter is not None, (type_, test.param)
                    assert test.shape in parameter.shapes, (type_, test.param)


def _tests(node: Node) -> list[Test]:
    match node:
        case Test():
            return [node]
        case All(nodes) | Any_(nodes):
            return [test for each in nodes for test in _tests(each)]
        case Not(inner):
            return _tests(inner)
    return []


@pytest.mark.requirement("R-10.8", "R-6.4")
@pytest.mark.parametrize("role", ROLES)
def test_nobody_changes_the_audit_log(role: str) -> None:
    """Surfaces add events of their own (ITI-20); what is there stays as it is."""
    expected = {"auditor": "rs", "administrator": "rs", "website": "c", "service": "c"}
    assert letters(access(role), "AuditEvent") == expected.get(role, "")


# Anybody, and the website.


@pytest.mark.requirement("R-4.1", "R-6.2", "R-7.4", "R-7.7", "R-7.10", "R-7.13", "R-7.16", "R-7.19")
def test_anonymous_callers_read_public_configuration_and_propose_and_nothing_else() -> None:
    who = POLICIES.access_for(ANONYMOUS)
    granted = {type_: letters(who, type_) for type_ in DEFINITIONS.resource_types if letters(who, type_)}
    assert granted == dict.fromkeys(PUBLIC, "rs") | {"Appointment": "c"}
    assert allows(who, "c", appointment())
    for status in ("pending", "booked", "arrived", "fulfilled", "cancelled", "waitlist"):
        assert not allows(who, "c", appointment(status=status))


@pytest.mark.requirement("R-7.13", "R-7.16")
def test_the_public_part_has_no_contact_of_practitioners_and_no_comment_of_slots() -> None:
    who = POLICIES.access_for(ANONYMOUS)
    (practitioner,), (slot,) = who.of("Practitioner", "r"), who.of("Slot", "s")
    assert practitioner.elements == {
        "resourceType", "id", "meta", "active", "name", "photo", "qualification", "communication",
    }  # fmt: skip
    assert slot.elements is not None
    assert "comment" not in slot.elements
    assert all(grant.elements is not None for grants in who.grants.values() for grant in grants)


@pytest.mark.parametrize(
    ("resource", "is_shown"),
    [
        ({"resourceType": "HealthcareService", "active": True}, True),
        ({"resourceType": "HealthcareService"}, True),
        ({"resourceType": "HealthcareService", "active": False}, False),
        ({"resourceType": "Practitioner", "active": False}, False),
        ({"resourceType": "Location", "status": "active"}, True),
        ({"resourceType": "Location", "status": "inactive"}, False),
        ({"resourceType": "Slot", "status": "free"}, True),
        ({"resourceType": "Slot", "status": "busy"}, True),
        ({"resourceType": "Slot", "status": "entered-in-error"}, False),
        ({"resourceType": "Schedule", "active": False}, False),
    ],
)
def test_what_is_switched_off_is_not_public(resource: dict[str, Any], is_shown: bool) -> None:
    assert allows(POLICIES.access_for(ANONYMOUS), "r", {"id": "1", **resource}) is is_shown


@pytest.mark.requirement("R-7.1", "R-7.4")
def test_the_website_reads_open_proposals_that_it_submitted_and_no_appointment() -> None:
    who = access("website", "system/Appointment.cr", client_id="website-builder")
    assert letters(who, "Appointment") == "cr"
    assert letters(who, "Slot") == ""
    assert allows(who, "r", appointment(submitter="website-builder"))
    assert allows(who, "r", appointment(status="pending", submitter="website-builder"))
    for status in ("booked", "arrived", "fulfilled", "cancelled", "noshow"):
        assert not allows(who, "r", appointment(status=status, submitter="website-builder"))
        assert not allows(who, "c", appointment(status=status, submitter="website-builder"))
    assert not allows(who, "r", appointment(submitter="other-website"))
    assert not allows(who, "r", appointment())
    assert all(grant.elements and "participant" not in grant.elements for grant in who.grants["Appointment"])


def test_a_tag_of_another_system_makes_no_submitter() -> None:
    forged = appointment()
    forged["meta"]["tag"] = [{"system": "https://evil.example", "code": "app"}, {"code": "app"}]
    assert not allows(access("website"), "r", forged)


def test_a_website_without_a_client_id_reads_no_proposal() -> None:
    assert letters(access("website", client_id=""), "Appointment") == "c"


# Patients.


@pytest.mark.requirement("R-6.2", "R-7.2", "R-7.5", "R-8.3")
@pytest.mark.parametrize("role", ["patient", "proxy"])
def test_a_patient_sees_own_appointments_in_any_status(role: str) -> None:
    who = access(role)
    for status in ("proposed", "booked", "fulfilled", "cancelled"):
        assert allows(who, "r", appointment(status=status))
        assert not allows(who, "r", appointment("ben", status))
    assert allows(who, "c", appointment())
    assert not allows(who, "c", appointment(status="booked"))
    assert not allows(who, "c", appointment("ben"))
    assert not who.of("Appointment", "d")


@pytest.mark.requirement("R-7.8")
def test_a_patient_reads_the_own_identity_only() -> None:
    who = access("patient")
    assert letters(who, "Patient") == "rus"
    assert allows(who, "r", {"resourceType": "Patient", "id": "anna"})
    assert not allows(who, "r", {"resourceType": "Patient", "id": "ben"})


@pytest.mark.requirement("R-7.11", "R-7.22")
def test_a_patient_reads_own_final_unrestricted_records_of_named_types() -> None:
    who = access("patient")
    assert allows(who, "r", observation())
    assert allows(who, "r", observation(label="N"))
    assert not allows(who, "r", observation("ben"))
    for status in ("preliminary", "registered", "entered-in-error"):
        assert not allows(who, "r", observation(status=status))
    for label in ("R", "V"):
        assert not allows(who, "r", observation(label=label))
    assert {type_ for type_ in LIMITED if letters(who, type_) != "rs"} == set()
    for type_ in ("Group", "AuditEvent", "List", "Composition", "Practitioner2"):
        assert letters(who, type_) == ""


@pytest.mark.requirement("R-7.22")
def test_a_condition_without_a_status_counts_as_final_and_a_provisional_one_does_not() -> None:
    system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    condition = {"resourceType": "Condition", "id": "1", "subject": {"reference": "Patient/anna"}}
    assert allows(access("patient"), "r", condition)
    for code, is_shown in (("confirmed", True), ("provisional", False), ("entered-in-error", False)):
        status = {"coding": [{"system": system, "code": code}]}
        assert allows(access("patient"), "r", {**condition, "verificationStatus": status}) is is_shown


@pytest.mark.requirement("R-7.22")
def test_a_communication_is_the_patients_when_sent_to_or_by_the_patient() -> None:
    base = {"resourceType": "Communication", "id": "1", "status": "completed"}
    reference = {"reference": "Patient/anna"}
    assert allows(access("patient"), "r", {**base, "sender": reference})
    assert allows(access("patient"), "r", {**base, "recipient": [reference]})
    assert not allows(access("patient"), "r", {**base, "subject": reference})


@pytest.mark.parametrize(
    ("role", "about"),
    [
        ("patient", {"fhir_user": "Practitioner/anna"}),
        ("patient", {"patient": "ben"}),
        ("proxy", {"patient": ""}),
    ],
)
def test_a_patient_without_a_clear_identity_owns_nothing(role: str, about: dict[str, str]) -> None:
    who = access(role, **about)
    for type_ in ("Appointment", "Patient", "Observation", "QuestionnaireResponse"):
        assert letters(who, type_) == ""


@pytest.mark.requirement("R-4.3", "R-7.4")
def test_a_patient_on_the_website_sees_own_proposals_until_they_are_decided() -> None:
    who = access("patient", surface="website")
    assert allows(who, "c", appointment())
    assert allows(who, "r", appointment())
    assert not allows(who, "r", appointment(status="booked"))
    assert not allows(who, "r", appointment("ben"))
    assert letters(who, "Observation") == ""


# Providers and staff.


@pytest.mark.requirement("R-7.3", "R-7.6", "R-7.9", "R-7.12", "R-7.15", "R-7.18", "R-5.1")
def test_a_practitioner_manages_bookings_availability_and_records() -> None:
    who = access("practitioner")
    expected = {"Appointment": "crus", "Slot": "cruds", "Schedule": "cruds", "Patient": "rs", "Observation": "cruds",
                "Organization": "rs", "Location": "rs", "AuditEvent": "", "Subscription": ""}  # fmt: skip
    assert {type_: letters(who, type_) for type_ in expected} == expected


@pytest.mark.requirement("R-6.4")
def test_the_front_desk_has_nothing_clinical() -> None:
    who = access("front-desk")
    expected = {"Appointment": "crus", "Slot": "cruds", "Patient": "rs", "Organization": "rs"}
    assert {type_: letters(who, type_) for type_ in expected} == expected
    for type_ in (*LIMITED, "QuestionnaireResponse", "Composition"):
        assert letters(who, type_) == ""


def test_a_launch_context_narrows_a_practitioner_to_its_patient() -> None:
    """SMART: patient/ scopes are about the patient in context, whoever the user is."""
    who = access("practitioner", "patient/*.rs", patient="anna")
    assert allows(who, "r", observation())
    assert allows(who, "r", observation(status="preliminary"))
    assert not allows(who, "r", observation("ben"))
    general = [{"reference": "Practitioner/lee"}]
    assert allows(who, "r", {"resourceType": "Patient", "id": "anna", "generalPractitioner": general})
    assert not allows(who, "r", {"resourceType": "Patient", "id": "ben", "generalPractitioner": general})
    assert allows(who, "r", {"resourceType": "Organization", "id": "1"})
    assert access("practitioner", "patient/*.rs").grants == {}


def test_user_and_patient_scopes_add_up_letter_by_letter() -> None:
    who = access("practitioner", "patient/Observation.cru", "user/Observation.r", patient="anna")
    assert allows(who, "r", observation("ben"))
    assert not allows(who, "u", observation("ben"))
    assert allows(who, "u", observation("anna"))


@pytest.mark.requirement("R-7.9", "R-C.3")
def test_auditors_administrators_and_services() -> None:
    assert {t: letters(access("auditor"), t) for t in DEFINITIONS.resource_types if letters(access("auditor"), t)} == {
        "AuditEvent": "rs"
    }
    administrator = access("administrator")
    assert {letters(administrator, type_) for type_ in DEFINITIONS.resource_types - {"AuditEvent"}} == {"cruds"}
    service = access("service", "system/*.rs")
    assert (letters(service, "Observation"), letters(service, "AuditEvent")) == ("rs", "")


# Scopes.


@pytest.mark.requirement("R-6.3")
@pytest.mark.parametrize(
    ("role", "scope"),
    [
        ("administrator", "user/*.cruds"),
        ("administrator", "patient/*.cruds"),
        ("practitioner", "system/*.cruds"),
        ("patient", "system/*.cruds"),
        ("administrator", "system/*.rs?_id=1"),
        ("administrator", "system/Observation.sr"),
        ("administrator", "openid"),
        ("administrator", "garbage"),
    ],
)
def test_a_scope_that_does_not_fit_grants_nothing(role: str, scope: str) -> None:
    assert access(role, scope).grants == {}


@pytest.mark.requirement("R-6.3")
def test_scopes_and_policy_intersect() -> None:
    who = access("administrator", "system/Observation.rs", "system/Slot.c", "system/Slot.write")
    assert {type_: letters(who, type_) for type_ in who.grants} == {"Observation": "rs", "Slot": "cud"}
    assert letters(access("website", "system/*.cruds"), "Patient") == "r"


def test_grants_are_named_by_their_rule() -> None:
    names = {rule.name for rule in POLICY}
    assert all(g.rule in names for role in ROLES for grants in access(role).grants.values() for g in grants)


def test_types_that_the_server_does_not_have_are_not_granted() -> None:
    few = Policies({"Slot"}, {})
    agent = Agent("administrator", "admin", scopes=("system/*.cruds",))
    assert few.access_for(agent).grants.keys() == {"Slot"}


def test_resolving_an_access_costs_less_than_a_few_milliseconds() -> None:
    """Once a token; the widest one there is."""
    agent = Agent("administrator", "admin", scopes=("system/*.cruds",))
    assert min(timeit.repeat(lambda: POLICIES.access_for(agent), number=10, repeat=3)) / 10 < 10e-3
