"""One criterion of a query, `name=value`, to a plan node: modifiers, alternatives, chains and `_has`.

Source: FHIR R4 search.html#modifiers, #chaining, #has.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.reference import is_id
from fhir_server.search import compared, filters, fulltext, sought, terminology
from fhir_server.search.escapes import split, unescape
from fhir_server.search.filters import Compared
from fhir_server.search.parameters import Parameter, Registry
from fhir_server.search.plan import Chain, Has, Node, Not, Test, Token, all_of, any_of
from fhir_server.search.sought import Read, Reading

# What each type of parameter takes: without a modifier (''), and with. `:missing`, `:not` and `:[type]` are apart.
_READERS: dict[str, dict[str, Read]] = {
    "token": {"": sought.token, "of-type": sought.of_type, "text": sought.token_text},
    "string": {"": sought.starts, "exact": sought.exact, "contains": sought.contains},
    "date": {"": sought.date},
    "number": {"": sought.number},
    "quantity": {"": sought.quantity},
    "reference": {"": sought.reference, "identifier": sought.identifier},
    "uri": {"": sought.uri, "below": sought.uri_below, "above": sought.uri_above},
    "special": {"": sought.place},
}
_READERS["composite"] = {"": sought.together(_READERS)}

# Parameters of FHIR that have no SearchParameter with an expression.
_UNSERVED = frozenset({"_type"})
_REFUSED = {
    "_query": "This server has no named queries.",
}
_OF_CODES = ("in", "not-in", "above", "below")
_WITHOUT_MISSING = frozenset({"composite", "special"})


class UnknownParameter(BadRequest):
    """A parameter that the type does not have, or that cannot be searched here: lenient handling may drop it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one query may ask.

    Matches a page, links of a chain, types that one link may lead to, alternatives of a criterion, criteria.
    """

    count: int = 1000
    depth: int = 5
    fan_out: int = 16
    alternatives: int = 500
    criteria: int = 100


@dataclass(frozen=True, slots=True)
class Criteria:
    """Reads criteria by a registry. `texts`, `content`: the extractor enters what `:text` and `_content` look at."""

    registry: Registry
    reading: Reading
    limits: Limits = field(default_factory=Limits)
    texts: bool = False
    content: bool = False

    def node(self, type_: str, name: str, value: str) -> Node | None:
        """The node of one criterion; None when the value is empty. Raises BadRequest."""
        return self._node(type_, name, name, value, self.limits.depth)

    def _node(self, type_: str, name: str, whole: str, value: "str | Compared", depth: int) -> Node | None:
        if name.startswith("_has:"):
            return self._has(type_, name, whole, value, _deeper(whole, depth))
        link, dot, rest = name.partition(".")
        if dot:
            return self._chain(type_, link, rest, whole, value, _deeper(whole, depth))
        if isinstance(value, Compared):
            return self._compared(type_, name, whole, value)
        if name in _REFUSED:
            _refuse(name, whole, value)
            return None
        if name == "_filter":
            return self._filter(type_, whole, value, depth)
        if name in (fulltext.TEXT, fulltext.CONTENT):
            return self._full_text(name, whole, value)
        if name == "_list":
            return self._list(whole, value)
        code, _, modifier = name.partition(":")
        parameter = self._parameter(type_, code, whole)
        if modifier == "missing" and parameter.type not in _WITHOUT_MISSING:
            return _missing(parameter, whole, value)
        if modifier in _OF_CODES and parameter.type == "token" and value:
            return self._of_codes(parameter, whole, value, modifier)
        read = self._reader(parameter, modifier, whole)
        alternatives = self._alternatives(whole, value)
        if not alternatives:
            return None
        node = any_of(*(read(parameter, whole, part, self.reading) for part in alternatives))
        return Not(node) if modifier == "not" else node

    def _full_text(self, name: str, whole: str, value: str) -> Node | None:
        if name == fulltext.CONTENT and not self.content:
            raise UnknownParameter("'_content' is not indexed on this server.", expression=whole, code="not-supported")
        parts = [unescape(part) for part in split(value, ",") if part]
        return any_of(*(fulltext.node(name, part) for part in parts)) if parts else None

    def _list(self, whole: str, value: str) -> Node | None:
        """The members of a List (FHIR R4 search.html#list)."""
        if value and not is_id(value):
            raise BadRequest(f"'{whole}' takes the id of a List.", expression=whole, code="not-supported")
        return Has("List", "item", Test("_id", "token", Token(value, None), single=True)) if value else None

    def _filter(self, type_: str, whole: str, value: str, depth: int) -> Node | None:
        """A filter expression (FHIR R4 search_filter.html)."""
        if not value:
            return None
        found = filters.parse(whole, value)
        if sum(1 for _ in filters.leaves(found)) > self.limits.criteria:
            raise BadRequest(
                f"'{whole}' has more than {self.limits.criteria} comparisons.", expression=whole, code="too-costly"
            )
        return self._filtered(type_, whole, found, depth)

    def _filtered(self, type_: str, whole: str, filter_: filters.Filter, depth: int) -> Node:
        if isinstance(filter_, filters.Leaf):
            node = self._node(type_, filter_.path, whole, filter_.compared, depth)
            assert node is not None
            return node
        nodes = [self._filtered(type_, whole, each, depth) for each in filter_.filters]
        if filter_.word == "not":
            return Not(nodes[0])
        return all_of(*nodes) if filter_.word == "and" else any_of(*nodes)

    def _compared(self, type_: str, name: str, whole: str, value: Compared) -> Node:
        parameter = self._parameter(type_, name, whole)
        definitions = self.registry.definitions
        return compared.node(definitions, parameter, whole, value, self.reading, self.limits.alternatives)

    def _of_codes(self, parameter: Parameter, whole: str, value: str, modifier: str) -> Node:
        """By what is known of the codes: their value sets, their concepts (FHIR R4 search.html#token)."""
        definitions, most = self.registry.definitions, self.limits.alternatives
        if modifier in ("in", "not-in"):
            node = terminology.in_value_set(definitions, parameter, whole, value, most)
            return Not(node) if modifier == "not-in" else node
        concepts = self._alternatives(whole, value)
        above = modifier == "above"
        return any_of(*(terminology.subsumed(definitions, parameter, whole, c, most, above=above) for c in concepts))

    def _alternatives(self, whole: str, value: str) -> list[str]:
        found = [part for part in split(value, ",") if part]
        if len(found) > self.limits.alternatives:
            raise BadRequest(
                f"'{whole}' has more than {self.limits.alternatives} alternatives.", expression=whole, code="too-costly"
            )
        return found

    def _has(self, aim: str, name: str, whole: str, value: "str | Compared", depth: int) -> Node | None:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts):
            raise BadRequest(f"'{whole}' is written _has:Type:reference:parameter.", expression=whole)
        _, type_, code, rest = parts
        self._known_type(type_, whole)
        if not points_at(self._reference(type_, code, whole), aim):
            raise BadRequest(f"'{code}' of {type_} does not refer to {aim}, as '{whole}' has it.", expression=whole)
        node = self._node(type_, rest, whole, value, depth)
        return None if node is None else Has(type_, code, node)

    def _chain(self, type_: str, link: str, rest: str, whole: str, value: "str | Compared", depth: int) -> Node | None:
        code, _, only = link.partition(":")
        parameter = self._reference(type_, code, whole)
        if only:
            self._known_type(only, whole)
            if not points_at(parameter, only):
                raise BadRequest(f"'{code}' does not refer to {only}, as '{whole}' has it.", expression=whole)
            targets: tuple[str, ...] = (only,)
        else:
            targets = self._targets(parameter, rest, whole)
        nodes = [(target, self._node(target, rest, whole, value, depth)) for target in targets]
        found = [Chain(code, target, node) for target, node in nodes if node is not None]
        return any_of(*found) if found else None

    def _targets(self, parameter: Parameter, rest: str, whole: str) -> tuple[str, ...]:
        """The types that an untyped chain may go on to: those that know its next parameter."""
        following = rest.partition(".")[0].partition(":")[0]
        types = [target for target in parameter.targets if target in self.registry.definitions.resource_types]
        if not types:
            raise BadRequest(
                f"'{parameter.code}' refers to any type; name one, as in {parameter.code}:Patient.{rest}.",
                expression=whole,
            )
        known = tuple(
            target for target in types if following == "_has" or following in self.registry.parameters(target)
        )
        if not known:
            raise UnknownParameter(
                f"'{whole}': {' and '.join(types)} have no search parameter '{following}'.", expression=whole
            )
        if len(known) > self.limits.fan_out:
            raise BadRequest(
                f"'{whole}' leads to {len(known)} types; name one, as in {parameter.code}:{known[0]}.{rest}.",
                expression=whole,
                code="too-costly",
            )
        return known

    def _parameter(self, type_: str, code: str, whole: str) -> Parameter:
        known = self.registry.parameters(type_)
        parameter = known.get(code)
        if parameter is None and code not in _UNSERVED:
            some = sorted(each.code for each in known.values() if each.is_searchable)
            raise UnknownParameter(
                f"{type_} has no search parameter '{code}'. It has {_few(some, code)}.", expression=whole
            )
        if parameter is not None and not parameter.is_searchable and parameter.paths:
            raise UnknownParameter(
                f"'{code}' was defined anew, and the index is still that of its former definition: an administrator "
                "runs $reindex.",
                expression=whole,
                code="not-supported",
            )
        if parameter is None or not parameter.is_searchable:
            raise UnknownParameter(
                f"'{code}' cannot be searched on this server.", expression=whole, code="not-supported"
            )
        return parameter

    def _reference(self, type_: str, code: str, whole: str) -> Parameter:
        parameter = self._parameter(type_, code, whole)
        if "reference" not in parameter.shapes:
            raise BadRequest(f"'{code}' of {type_} is no reference that can be followed.", expression=whole)
        return parameter

    def _known_type(self, type_: str, whole: str) -> None:
        if type_ not in self.registry.definitions.resource_types:
            raise BadRequest(f"'{type_}' in '{whole}' is no resource type of FHIR R4.", expression=whole)

    def _reader(self, parameter: Parameter, modifier: str, whole: str) -> Read:
        readers = _READERS[parameter.type]
        if modifier in readers and self._applies(parameter, modifier) and not whole.endswith(":"):
            return readers[modifier]
        if parameter.type == "token" and modifier == "not":
            return readers[""]
        if parameter.type == "reference" and modifier in self.registry.definitions.resource_types:
            if points_at(parameter, modifier) and "reference" in parameter.shapes:
                return sought.reference_of(modifier)
            raise BadRequest(f"'{parameter.code}' does not refer to {modifier}.", expression=whole)
        raise BadRequest(
            f"'{parameter.code}' does not take the modifier '{modifier}'. It takes {self._modifiers(parameter)}.",
            expression=whole,
        )

    def _applies(self, parameter: Parameter, modifier: str) -> bool:
        """Whether a modifier that readers of the type have is one for this parameter."""
        if modifier == "of-type":
            return any(path.type == "Identifier" for path in parameter.paths)
        return modifier != "text" or self.texts

    def _modifiers(self, parameter: Parameter) -> str:
        names = ["missing", *(n for n in _READERS[parameter.type] if n and self._applies(parameter, n))]
        if parameter.type in _WITHOUT_MISSING:
            names.remove("missing")
        if parameter.type == "token":
            names += ["not", *_OF_CODES]
        if parameter.type == "reference":
            names += parameter.targets[:5]
        return ", ".join(f":{name}" for name in names)


def points_at(parameter: Parameter, type_: str) -> bool:
    """Whether a reference parameter may point at a type."""
    return not parameter.targets or type_ in parameter.targets or "Resource" in parameter.targets


def _refuse(name: str, whole: str, value: str) -> None:
    """What R4 has and this server has not: not even lenient handling drops it, for it says what is sought."""
    if value:
        raise BadRequest(_REFUSED[name], expression=whole, code="not-supported")


def _missing(parameter: Parameter, whole: str, value: str) -> Node | None:
    if not value:
        return None
    if value not in ("true", "false"):
        raise BadRequest(f"'{whole}' takes true or false.", expression=whole)
    there = sought.present(parameter)
    return Not(there) if value == "true" else there


def _deeper(whole: str, depth: int) -> int:
    if depth == 0:
        raise BadRequest(
            f"'{whole}' follows more references than this server allows.", expression=whole, code="too-costly"
        )
    return depth - 1


def _few(codes: list[str], wanted: str) -> str:
    """Some of the codes, those that begin like the wanted one first."""
    alike: Callable[[str], bool] = lambda code: code[:1] != wanted[:1]  # noqa: E731 - a sort key
    chosen = sorted(codes, key=alike)[:12]
    return ", ".join(chosen) + (", …" if len(codes) > len(chosen) else "")
