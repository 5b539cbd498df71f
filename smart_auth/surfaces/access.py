"""From an agent's scopes and the policy to its Access: resolved once a token and cached with it (R-6.3)."""

from collections.abc import Iterable, Mapping, Sequence

from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.search.plan import NOTHING, Node
from smart_auth.errors import InvalidScope
from smart_auth.scopes import Scope, parse
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

    def access_for(self, agent: Agent, surface: str = ANONYMOUS_SURFACE) -> Access:
        """Scopes ∩ policy. Anonymous agents have the policy alone; a scope with a query part grants nothing."""
        scopes = _usable(agent)
        grants: dict[str, tuple[Grant, ...]] = {}
        for type_, rules in self._by_type.get(who_is(agent, surface), {}).items():
            whole, patient = _letters(agent, scopes, type_)
            context = Context(agent, type_, self._compartment)
            made = [grant for rule in rules for grant in _grants(rule, context, whole, patient)]
            if made:
                grants[type_] = tuple(made)
        return Access(agent, grants)

    def _types_of(self, rule: Rule) -> Iterable[str]:
        named = self.types if ALL_TYPES in rule.types else self.types.intersection(rule.types)
        return sorted(named.difference(rule.but))


def who_is(agent: Agent, surface: str) -> Who:
    """The policy's word for the agent; its role, but for people who came through the website."""
    return "website-patient" if surface == "website" and agent.role in ("patient", "proxy") else agent.role


def _usable(agent: Agent) -> tuple[Scope, ...]:
    """The agent's resource scopes; system/ only without a person, patient/ and user/ only with one."""
    found = []
    for text in agent.scopes:
        try:
            scope = parse(text)
        except InvalidScope:  # never issued by this server; it grants nothing
            continue
        if isinstance(scope, Scope) and not scope.query and agent.is_human == (scope.level != "system"):
            found.append(scope)
    return tuple(found)


def _letters(agent: Agent, scopes: Iterable[Scope], type_: str) -> tuple[frozenset[str], frozenset[str]]:
    """The letters on a type: those on all that the policy allows, and those on the patient in context only."""
    if agent.role == "public":
        return frozenset("cruds"), frozenset()
    whole: frozenset[str] = frozenset()
    patient: frozenset[str] = frozenset()
    for scope in scopes:
        if scope.type in ("*", type_):
            if scope.level == "patient":
                patient |= scope.letters
            else:
                whole |= scope.letters
    return whole, patient - whole


def _grants(rule: Rule, context: Context, whole: frozenset[str], patient: frozenset[str]) -> Iterable[Grant]:
    allowed = frozenset(rule.letters)
    elements = None if rule.elements is None else rule.elements[context.type]
    filtered = rule.rows(context)
    # Rows of patients and their proxies are their patient's already.
    is_own = context.agent.role in ("patient", "proxy") and rows.patient_of(context.agent) != ""
    narrowed: Node = filtered if is_own else rows.both(filtered, rows.in_compartment(context))
    for letters, node in ((allowed & whole, filtered), (allowed & patient, narrowed)):
        if letters and node != NOTHING:
            yield Grant(letters, node, elements, rule.name)
