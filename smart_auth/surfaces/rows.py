"""Row filters of the access policy: plans that a resource must match. Each is named for what it lets through.

A filter that cannot be made (no patient behind the agent, no compartment for the type) lets nothing through.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.booking import care
from fhir_server.booking.index import WANTED_ACTOR
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.own import IDENTITY
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.access import Agent
from fhir_server.search.plan import (
    EVERYTHING,
    NOTHING,
    Box,
    Chain,
    Has,
    Interval,
    Node,
    Not,
    Target,
    Test,
    Token,
    all_of,
    any_of,
)
from smart_auth.surfaces.tags import SUBMITTER
from smart_auth.surfaces.types import (
    ABOUT,
    ABOUT_NOBODY,
    CONFIDENTIALITY,
    LIMITED,
    LIMITED_WITH_PATIENT,
    MAY_BE_ABOUT_NOBODY,
    RESTRICTED,
)


@dataclass(frozen=True, slots=True)
class Context:
    """What a row filter may look at, and when.

    `compartment` is type -> the params that place it in the Patient compartment.
    """

    agent: Agent
    type: str
    compartment: Mapping[str, Sequence[str]]
    now: Micros = 0


RowFilter = Callable[[Context], Node]

_UNRESTRICTED = Not(any_of(*(Test("_security", "token", Token(code, CONFIDENTIALITY)) for code in RESTRICTED)))


def everything(_: Context) -> Node:
    """All rows."""
    return EVERYTHING


def in_use(context: Context) -> Node:
    """Configuration that is not switched off."""
    return Not(_code("status", "inactive") if context.type == "Location" else _code("active", "false"))


def not_mistaken(_: Context) -> Node:
    """All but what was entered in error."""
    return Not(_code("status", "entered-in-error"))


def published(_: Context) -> Node:
    """Definitions in force."""
    return _code("status", "active")


def proposed(_: Context) -> Node:
    """Appointments that are only proposed."""
    return _code("status", "proposed")


def submitted(context: Context) -> Node:
    """Open proposals that this client submitted; once booked they are gone from its sight (R-7.4)."""
    if not context.agent.client_id:
        return NOTHING
    own = Test("_tag", "token", Token(context.agent.client_id, SUBMITTER))
    return all_of(own, any_of(_code("status", "proposed"), _code("status", "pending")))


def made_person(context: Context) -> Node:
    """People whom this client's proposals brought, until somebody verifies who they are."""
    if not context.agent.client_id:
        return NOTHING
    made = Test("_tag", "token", Token(context.agent.client_id, SUBMITTER))
    return all_of(made, Test("_tag", "token", Token("provisional", IDENTITY)))


def own(context: Context) -> Node:
    """What names the agent's patient as its patient."""
    patient = patient_of(context.agent)
    return Test("patient", "reference", Target(patient, "Patient")) if patient else NOTHING


def own_unrestricted(context: Context) -> Node:
    """What names the agent's patient as its patient and carries no restricted label (R-7.22)."""
    return both(own(context), _UNRESTRICTED)


def own_answers(context: Context) -> Node:
    """Of that, answers that the patient or their proxy gave, or nobody is named for (R-7.20)."""
    people = [local_reference(context.agent.fhir_user), LocalReference("Patient", patient_of(context.agent))]
    named = [Target(who.id, who.type) for who in people if who is not None]
    by = [
        any_of(*(Test(param, "reference", target) for target in named), Not(Test(param, "reference", None)))
        for param in ("author", "source")
    ]
    return both(own_unrestricted(context), *by)


def both(*nodes: Node) -> Node:
    """All of the nodes; NOTHING as soon as one of them is, so that the grant falls away (403, not an empty 200)."""
    return NOTHING if NOTHING in nodes else all_of(*nodes)


def own_proposed(context: Context) -> Node:
    """The agent's patient's own appointments that are only proposed."""
    return both(own(context), proposed(context))


def own_open_proposals(context: Context) -> Node:
    """The agent's patient's own proposals, until they are decided."""
    return both(own(context), any_of(_code("status", "proposed"), _code("status", "pending")))


def own_self(context: Context) -> Node:
    """The agent's patient itself."""
    patient = patient_of(context.agent)
    return Test("_id", "token", Token(patient, "")) if patient else NOTHING


def own_limited(context: Context) -> Node:
    """The agent's patient's records that are final and carry no restricted label (R-7.22)."""
    patient = patient_of(context.agent)
    if not patient:
        return NOTHING
    params = ("sender", "recipient") if context.type == "Communication" else context.compartment.get(context.type, ())
    mine = any_of(*(Test(param, "reference", Target(patient, "Patient")) for param in params))
    return both(mine, _final(context.type), _UNRESTRICTED)


def under_care(context: Context) -> Node:
    """What is about a patient under the practitioner's care: by general practice, or by a tie that somebody else
    stands behind (`booking.care`). Of some types also what is about nobody.
    """
    me = _practitioner(context.agent)
    if not me:
        return NOTHING
    tied = Test(care.PRACTITIONER, "reference", Target(me, "Practitioner"))
    ties = [Has(type_, care.PATIENT, tied) for type_ in care.COUNTS]
    return _about(context, any_of(Test("general-practitioner", "reference", Target(me, "Practitioner")), *ties))


def under_glass(context: Context) -> Node:
    """What is about a patient for whom the practitioner has broken the glass a short while ago."""
    me = _practitioner(context.agent)
    if not me:
        return NOTHING
    mine = Test(care.GLASS_PRACTITIONER, "reference", Target(me, "Practitioner"))
    lasts = Test(care.GLASS_TIME, "date", Interval(Box(lo_below=context.now + 1, hi_above=context.now)))
    return _about(context, Has("Flag", care.GLASS_PATIENT, all_of(mine, lasts)), or_nobody=False)


def intake(_: Context) -> Node:
    """People whom nobody has verified yet, while a proposal of theirs is open: whoever reviews it sees who they are."""
    return all_of(Test("_tag", "token", Token("provisional", IDENTITY)), Has("Appointment", WANTED_ACTOR, EVERYTHING))


def _practitioner(agent: Agent) -> str:
    who = local_reference(agent.fhir_user)
    return who.id if agent.role == "practitioner" and who is not None and who.type == "Practitioner" else ""


def _about(context: Context, patient: Node, *, or_nobody: bool = True) -> Node:
    """The plan on Patient, at what a type's resources are about."""
    if context.type == "Patient":
        return patient
    if context.type in ABOUT_NOBODY:
        return EVERYTHING if or_nobody else NOTHING
    if context.type == "Provenance":
        targets = [Chain("target", type_, Chain("patient", "Patient", patient)) for type_ in LIMITED_WITH_PATIENT]
        return any_of(Chain("patient", "Patient", patient), *targets)
    param = ABOUT.get(context.type, "patient")
    about = Chain(param, "Patient", patient)
    if not or_nobody or context.type not in MAY_BE_ABOUT_NOBODY:
        return about
    return any_of(about, Not(Test(param, "reference", None)))


def in_compartment(context: Context) -> Node:
    """What the launch context's patient compartment holds; a type outside of every compartment is left whole."""
    patient = context.agent.patient
    if not patient:
        return NOTHING
    if context.type == "Patient":
        return Test("_id", "token", Token(patient, ""))
    params = context.compartment.get(context.type, ())
    tests = [Test(param, "reference", Target(patient, "Patient")) for param in params]
    return any_of(*tests) if tests else EVERYTHING


def patient_of(agent: Agent) -> str:
    """The id of the patient whom the agent is, or acts for; '' when there is none, or two that differ."""
    if agent.role == "proxy":
        return agent.patient
    who = local_reference(agent.fhir_user)
    if agent.role != "patient" or who is None or who.type != "Patient":
        return ""
    return who.id if agent.patient in ("", who.id) else ""


def _final(type_: str) -> Node:
    limited = LIMITED[type_]
    if not limited.param:
        return EVERYTHING
    codes = [_code(limited.param, code) for code in limited.codes]
    return any_of(*codes, Not(Test(limited.param, "token", None)))


def _code(param: str, code: str) -> Node:
    return Test(param, "token", Token(code, None))
