"""From an agent's scopes and the policy to its Access: resolved once a token and cached with it (R-6.3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Forbidden
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions import visibility
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.search.parse import Parser
from fhir_server.search.plan import EVERYTHING, NOTHING, Node, Test, Token
from smart_auth import constraints
from smart_auth.errors import InvalidScope
from smart_auth.scopes import URI_FORM, PlainScope, Scope, parse
from smart_auth.surfaces import rows
from smart_auth.surfaces.policy import ALL_TYPES, POLICY, Rule, Who
from smart_auth.surfaces.rows import Context

ANONYMOUS_SURFACE = ""


class Policies:
    """The policy over the resource types that this server has.

    `compartment` is the Patient CompartmentDefinition: type -> search parameters that place it there.
    """

    def __init__(
        self, types: Iterable[str], compartment: Mapping[str, Sequence[str]], policy: Sequence[Rule] = POLICY
    ) -> None:
        self.types = frozenset(types)
        self._compartment = compartment
        self._by_type: dict[Who, dict[str, list[Rule]]] = {}
        for rule in policy:
            for who in rule.who:
                for type_ in self._types_of(rule):
                    self._by_type.setdefault(who, {}).setdefault(type_, []).append(rule)

    def access_for(
        self, agent: Agent, surface: str = ANONYMOUS_SURFACE, parser: Parser | None = None, now: Micros = 0
    ) -> Access:
        """Scopes ∩ policy. Anonymous agents have the policy alone.

        `parser` reads the search constraints of scopes; without one, a constrained scope grants nothing.
        """
        allowed = _allowed(agent, parser, now)
        grants: dict[str, tuple[Grant, ...]] = {}
        for type_, rules in self._by_type.get(who_is(agent, surface), {}).items():
            context = Context(agent, type_, self._compartment, now)
            on_type = _merged(one for one in allowed if one.type in ("*", type_))
            made = [
                grant
                for rule in rules
                for one in on_type
                for grant in _grants(rule, context, _within(one, rule, rules, context, parser))
            ]
            if made:
                grants[type_] = tuple(made)
        return Access(agent, grants)

    def rules(self, agent: Agent, surface: str, type_: str, letter: str) -> list[Rule]:
        """The rules that give an agent on a surface a letter on a type, whatever their rows."""
        found = self._by_type.get(who_is(agent, surface), {}).get(type_, ())
        return [rule for rule in found if letter in rule.letters]

    def _types_of(self, rule: Rule) -> Iterable[str]:
        named = self.types if ALL_TYPES in rule.types else self.types.intersection(rule.types)
        return sorted(named.difference(rule.but))


def who_is(agent: Agent, surface: str) -> Who:
    """The policy's word for the agent; its role, but for people who came through the website."""
    return "website-patient" if surface == "website" and agent.role in ("patient", "proxy") else agent.role


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What one scope allows: letters of a type, on all that the policy lets through or the patient in context only."""

    type: str
    letters: frozenset[str]
    is_patients: bool = False
    rows: Node = EVERYTHING


def _allowed(agent: Agent, parser: Parser | None, now: Micros) -> list[_Allowed]:
    """What the agent's scopes allow; system/ only without a person, patient/ and user/ only with one."""
    if agent.role == "public":
        return [_Allowed("*", frozenset("cruds"))]
    found = []
    for text in agent.scopes:
        try:
            scope = parse(text)
        except InvalidScope:  # never issued by this server; it grants nothing
            continue
        if isinstance(scope, Scope) and agent.is_human == (scope.level != "system"):
            rows = constraints.plan(parser, scope, now)
            found.append(_Allowed(scope.type, scope.letters, scope.level == "patient", rows))
        elif isinstance(scope, PlainScope) and scope.text.removeprefix(URI_FORM) == "fhirUser":
            found += _fhir_user(agent)
    return found


def _fhir_user(agent: Agent) -> list[_Allowed]:
    """The scope fhirUser lets an app read the resource of the person who signed in, and no other."""
    who = local_reference(agent.fhir_user)
    return [] if who is None else [_Allowed(who.type, frozenset("r"), rows=Test("_id", "token", Token(who.id, "")))]


def _merged(allowed: Iterable[_Allowed]) -> list[_Allowed]:
    """Scopes of one type add up: one entry for each set of rows, without what a wider one allows already."""
    letters: dict[tuple[bool, Node], frozenset[str]] = {}
    for one in allowed:
        letters[one.is_patients, one.rows] = letters.get((one.is_patients, one.rows), frozenset()) | one.letters
    whole = letters.get((False, EVERYTHING), frozenset())
    patient = letters.get((True, EVERYTHING), frozenset()) | whole
    wider: dict[tuple[bool, Node], frozenset[str]] = {(False, EVERYTHING): frozenset(), (True, EVERYTHING): whole}
    return [
        _Allowed("", found - wider.get((is_patients, node), patient if is_patients else whole), is_patients, node)
        for (is_patients, node), found in letters.items()
    ]


def _within(allowed: _Allowed, rule: Rule, rules: Iterable[Rule], context: Context, parser: Parser | None) -> _Allowed:
    """What a scope allows where its constraint looks at nothing hidden, as a search would; nothing where it does."""
    if parser is None or allowed.rows in (EVERYTHING, NOTHING):
        return allowed
    seen, type_ = _seen(rule, rules, context), context.type
    try:
        return replace(allowed, rows=visibility.within(type_, allowed.rows, (), seen, parser.registry))
    except Forbidden:
        return replace(allowed, rows=NOTHING)


def _seen(rule: Rule, rules: Iterable[Rule], context: Context) -> Access:
    """What the caller may look at in a rule's rows: what it shows of them, and what rules to read the same show."""
    alike = [each for each in rules if each is rule or (each.rows is rule.rows and "r" in each.letters)]
    shown = visibility.shown_by(Grant(frozenset("s"), elements=_elements(each, context)) for each in alike)
    others = rows.patient_of(context.agent) if any(each.is_shared for each in alike) else ""
    return Access(context.agent, {context.type: (Grant(frozenset("s"), elements=shown, but_others=others),)})


def _elements(rule: Rule, context: Context) -> frozenset[str] | None:
    return None if rule.elements is None else rule.elements[context.type]


def _grants(rule: Rule, context: Context, allowed: _Allowed) -> Iterable[Grant]:
    letters = frozenset(rule.letters) & allowed.letters
    node = rule.rows(context)
    # Rows of patients and their proxies are their patient's already.
    is_own = context.agent.role in ("patient", "proxy") and rows.patient_of(context.agent) != ""
    if allowed.is_patients and not is_own:
        node = rows.both(node, rows.in_compartment(context))
    node = rows.both(node, allowed.rows)
    if letters and node != NOTHING:
        others = rows.patient_of(context.agent) if rule.is_shared else ""
        yield Grant(letters, node, _elements(rule, context), rule.name, rule.purpose, others)
