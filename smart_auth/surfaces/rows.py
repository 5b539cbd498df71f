"""Row filters of the access policy: plans that a resource must match. Each is named for what it lets through.

A filter that cannot be made (no patient behind the agent, no compartment for the type) lets nothing through.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.access import Agent
from fhir_server.search.plan import EVERYTHING, NOTHING, Node, Not, Target, Test, Token, all_of, any_of
from smart_auth.surfaces.tags import SUBMITTER
from smart_auth.surfaces.types import CONFIDENTIALITY, LIMITED, RESTRICTED


@dataclass(frozen=True, slots=True)
class Context:
    """What a row filter may look at. `compartment` is type -> the params that place it in the Patient compartment."""

    agent: Agent
    type: str
    compartment: Mapping[str, Sequence[str]]


RowFilter = Callable[[Context], Node]


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


def own(context: Context) -> Node:
    """What names the agent's patient as its patient."""
    patient = patient_of(context.agent)
    return Test("patient", "reference", Target(patient, "Patient")) if patient else NOTHING


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
    restricted = any_of(*(Test("_security", "token", Token(code, CONFIDENTIALITY)) for code in RESTRICTED))
    return both(mine, _final(context.type), Not(restricted))


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
