"""$access-explain: why a caller may or may not do a given thing, for administrators and auditors (R-6.4, R-6.5).

It takes the steps of a real decision (scope, surface rule, rows: compartment or care, elements) with the very grants
that the caller would have, and tells each. Whoever may read the audit log may ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.booking import care
from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Forbidden, Unprocessable
from fhir_server.fhir.reference import is_id
from fhir_server.interactions.access import ANONYMOUS, Agent, Grant
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.interactions.sight import Sight
from fhir_server.interactions.visibility import is_everything
from fhir_server.search.plan import Query, Target, Test, Token, all_of
from fhir_server.store.protocol import Stored
from smart_auth import accounts, clients, operator, patients
from smart_auth.errors import InvalidScope, OAuthError
from smart_auth.scopes import Scope, parse
from smart_auth.surfaces.access import ANONYMOUS_SURFACE, Policies

_KNOWN = frozenset({"client", "user", "scope", "patient", "interaction", "type", "id", "_format", "_pretty"})
_LETTERLESS = {"search-system": "s", "search-compartment": "s", "history-system": "s"}


@dataclass(frozen=True, slots=True)
class Question:
    """Whether an agent on a surface may do `letter` (of `interaction`) on a type, or on one resource of it."""

    agent: Agent
    surface: str
    interaction: str
    letter: str
    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the decision: what was looked at, whether it lets the caller through, and why."""

    name: str
    passes: bool
    why: str


async def handle(call: Call, repository: Repository) -> Answer:
    """Parameters: `decision` (permit or deny), `status` that the caller would get, and a `step` for each that decides.

    Raises Forbidden, BadRequest, Unprocessable.
    """
    repository.granted("AuditEvent", "r")
    question = await _question(call, repository)
    steps, status = await _steps(call, repository, question)
    decision = "permit" if all(step.passes for step in steps) else "deny"
    parts = [
        {"name": "decision", "valueCode": decision},
        {"name": "status", "valueInteger": status},
        *(_part(step) for step in steps),
    ]
    return Answer(200, json.serialise({"resourceType": "Parameters", "parameter": parts}))


def _part(step: Step) -> dict[str, Any]:
    return {
        "name": "step",
        "part": [
            {"name": "name", "valueCode": step.name},
            {"name": "passes", "valueBoolean": step.passes},
            {"name": "why", "valueString": step.why},
        ],
    }


async def _question(call: Call, repository: Repository) -> Question:
    given: dict[str, str] = {}
    for name, value in call.query:
        if name not in _KNOWN or name in given:
            raise BadRequest(
                f"$access-explain takes each of {', '.join(sorted(_KNOWN))} at most once.", expression=name[:64]
            )
        given[name] = value
    type_, id_ = given.get("type", ""), given.get("id", "")
    if type_ not in call.clinic.server.definitions.resource_types:
        raise BadRequest("'type' is a resource type of FHIR R4.", expression="type")
    if id_ and not is_id(id_):
        raise BadRequest("'id' is the id of a resource.", expression="id")
    letters = {row.name: row.letter for row in call.clinic.server.table if row.letter} | _LETTERLESS
    interaction = given.get("interaction", "")
    if interaction not in letters:
        raise BadRequest(f"'interaction' is one of {', '.join(sorted(letters))}.", expression="interaction")
    agent, surface = await _agent(repository, given)
    if given.get("scope"):
        _check_constraints(agent, repository)
    return Question(agent, surface, interaction, letters[interaction], type_, id_)


def _check_constraints(agent: Agent, repository: Repository) -> None:
    """The constraint of a scope is a search: raises Forbidden where whoever asks may not search all of its type."""
    for scope in map(parse, agent.scopes):
        if isinstance(scope, Scope) and scope.query and not repository.access.shows_all(scope.type, "s"):
            raise Forbidden(f"This caller may not search {scope.type} by a scope's constraint.", expression="scope")


async def _agent(repository: Repository, given: dict[str, str]) -> tuple[Agent, str]:
    """Who it is about: nobody, a client by itself, or a person through a client."""
    if not given.get("client"):
        if given.get("user"):
            raise BadRequest("A person comes through a client; name it.", expression="client", code="required")
        return ANONYMOUS, ANONYMOUS_SURFACE
    client = await clients.load(repository.unit, given["client"])
    account = await accounts.load(repository.unit, given["user"]) if given.get("user") else None
    try:
        if client is None or (given.get("user") and account is None):
            raise Unprocessable("There is no such client or user.", expression="client")
        scope = given.get("scope") or " ".join(client.scopes)
        agent = operator.agent_of(client, account, given.get("patient", ""), scope)
        return await patients.in_relation(repository.unit, agent, repository.clinic.server.clock()), client.surface
    except OAuthError as error:
        raise Unprocessable(str(error), expression="user") from error


async def _steps(call: Call, repository: Repository, question: Question) -> tuple[list[Step], int]:
    """The steps as far as they pass, and the status of the answer."""
    definitions = call.clinic.server.definitions
    policies = Policies(definitions.resource_types, definitions.compartments["Patient"])
    now = call.clinic.server.clock()
    access = policies.access_for(question.agent, question.surface, call.clinic.parser, now)
    rules = policies.rules(question.agent, question.surface, question.type, question.letter)
    steps = [_tenant(call, question), _scope(question), _rule(question, [rule.name for rule in rules])]
    grants = access.of(question.type, question.letter)
    if not grants or not all(step.passes for step in steps):
        if all(step.passes for step in steps):
            steps.append(Step("rows", False, "no row filter of the rules can be made for this caller and scope"))
        return steps, 401 if not steps[0].passes else 403
    if question.id and question.interaction != "create":
        sight = Sight(repository.unit, call.clinic, access)
        step, grant = await _rows(repository, question, grants, sight)
        steps.append(step)
        if question.agent.role == "practitioner":
            steps.append(Step("care", grant is not None, await _care(repository, question)))
        if grant is None:
            return steps, 404
        grants = (grant,)
    steps.append(_elements(grants))
    return steps, 200


def _tenant(call: Call, question: Question) -> Step:
    who = question.agent.fhir_user or question.agent.client_id or "anybody"
    return Step("caller", True, f"{who} as {question.agent.role} in the clinic {call.clinic.name}")


def _scope(question: Question) -> Step:
    agent = question.agent
    if agent.role == "public":
        return Step("scope", True, "nobody asks for scopes without a token")
    found = []
    for text in agent.scopes:
        try:
            scope = parse(text)
        except InvalidScope:  # of a registration that is older than the grammar
            continue
        is_level = isinstance(scope, Scope) and agent.is_human == (scope.level != "system")
        if (
            isinstance(scope, Scope)
            and is_level
            and scope.type in ("*", question.type)
            and question.letter in scope.letters
        ):
            found.append(text)
    why = ", ".join(found) or f"no scope has '{question.letter}' on {question.type}: {' '.join(agent.scopes)}"
    return Step("scope", bool(found), why)


def _rule(question: Question, names: Sequence[str]) -> Step:
    none = f"no rule gives a {question.agent.role} '{question.letter}' on {question.type}"
    return Step("surface-rule", bool(names), "; ".join(names) or none)


async def _rows(
    repository: Repository, question: Question, grants: Sequence[Grant], sight: Sight
) -> tuple[Step, Grant | None]:
    grant = await sight.of_id(question.type, question.id, question.letter)
    if await repository.unit.read(question.type, question.id) is None:
        return Step("rows", False, "there is no such resource"), None
    if grant is None:
        return Step("rows", False, f"outside of: {'; '.join(grant.rule for grant in grants)}"), None
    return Step("rows", True, f"{'all of' if is_everything(grant) else 'within'}: {grant.rule}"), grant


async def _care(repository: Repository, question: Question) -> str:
    """How the patients of the resource are under the practitioner's care, or that they are not."""
    stored = await repository.unit.read(question.type, question.id)
    me = question.agent.fhir_user.rpartition("/")[2]
    found: list[str] = []
    for patient in stored.patients if stored is not None else ():
        general = Test("general-practitioner", "reference", Target(me, "Practitioner"))
        body = await repository.unit.search(Query("Patient", all_of(_of_id(patient), general), count=1))
        found += [f"general practitioner of Patient/{each.id}" for each in body.matches]
        for type_ in care.COUNTS:
            found += [f"{each.type}/{each.id}" for each in await _tied(repository, type_, care.TIE, me, patient)]
        glass = await _tied(repository, "Flag", care.GLASS, me, patient)
        found += [f"broken glass Flag/{each.id}" for each in glass]
    return "; ".join(found) or "no patient of it is under the practitioner's care"


async def _tied(
    repository: Repository, type_: str, codes: tuple[str, str], practitioner: str, patient: str
) -> Sequence[Stored]:
    by = Test(codes[0], "reference", Target(practitioner, "Practitioner"))
    of = Test(codes[1], "reference", Target(patient, "Patient"))
    return (await repository.unit.search(Query(type_, all_of(by, of), count=5))).matches


def _of_id(id_: str) -> Test:
    return Test("_id", "token", Token(id_, ""), single=True)


def _elements(grants: Sequence[Grant]) -> Step:
    if any(grant.elements is None for grant in grants):
        return Step("elements", True, "all")
    return Step("elements", True, ", ".join(sorted(frozenset().union(*(grant.elements or () for grant in grants)))))
