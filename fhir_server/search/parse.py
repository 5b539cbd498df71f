"""A query's name-value pairs to what is asked: the plan of one type, and how its results are to come.

Source: FHIR R4 search.html.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qsl

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.outcome import Issue
from fhir_server.search.criteria import Criteria, Limits, UnknownParameter, points_at
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import EVERYTHING, Node, Sort, all_of
from fhir_server.search.plan_rules import optimise
from fhir_server.search.sought import Reading

Summary = Literal["true", "text", "data", "count", "false"]
Total = Literal["none", "estimate", "accurate"]
ContainedSought = Literal["false", "true", "both"]
ContainedType = Literal["container", "contained"]
Pairs = tuple[tuple[str, str], ...]
# A type, a query on it, whether it is read leniently, the types that are searched with it.
Name = tuple[str, Pairs, bool, tuple[str, ...]]
# Requests that are remembered, since callers ask the same again and again.
_MOST_KNOWN = 1_024
# Types that a refusal names.
_MOST_TOLD = 5
# Longer query strings are not remembered.
_SHORT = 500


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: the references `param` (`*`: all) of resources of `source` (`*`: of all).

    `target` limits it to references to one type; `iterate` follows what was included as well.
    """

    source: str
    param: str
    target: str | None = None
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What a query asks of one type. `count`, `summary` and `total` are None when the query does not say.

    `applied` are the pairs that were obeyed, as the self link states them; `ignored` those that lenient handling left
    out, and `dropped` says so. `_format` and `_pretty` are in neither.
    """

    type: str
    where: Node = EVERYTHING
    sort: tuple[Sort, ...] = ()
    count: int | None = None
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    contained: ContainedSought = "false"
    contained_type: ContainedType = "container"
    total: Total | None = None
    applied: Pairs = ()
    ignored: Pairs = ()
    dropped: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Parser:
    """Reads queries by a registry; dates without a zone in `zone`, URLs below `base_url` as local."""

    registry: Registry
    zone: tzinfo = UTC
    base_url: str = ""
    limits: Limits = field(default_factory=Limits)
    texts: bool = False
    content: bool = False
    known: dict[Name, SearchRequest] = field(default_factory=dict, repr=False, compare=False)

    def parse(
        self,
        type_: str,
        pairs: Iterable[tuple[str, str]],
        now: Micros,
        *,
        lenient: bool = False,
        among: tuple[str, ...] = (),
    ) -> SearchRequest:
        """The request of a query on a known type, which may be one `among` several that are searched together.

        Raises BadRequest for what is not understood; unknown parameters are dropped instead when `lenient`.
        """
        given = tuple(pairs)
        name = (type_, given, lenient, among)
        known = self.known.get(name)
        if known is not None:
            return known
        made = self._made(type_, given, now, among or (type_,), lenient=lenient)
        if not any("ap" in value for _, value in given):  # the prefix depends on the present
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known[name] = made
        return made

    def _made(self, type_: str, pairs: Pairs, now: Micros, matched: tuple[str, ...], *, lenient: bool) -> SearchRequest:
        reading = Reading(now, self.registry.definitions.resource_types, self.zone, self.base_url)
        criteria = Criteria(self.registry, reading, self.limits, self.texts, self.content)
        made = _Request(criteria, SearchRequest(type_), matched)
        for name, value in pairs:
            try:
                made.add(name, value)
            except UnknownParameter as error:
                if not lenient:
                    raise
                made.ignored.append((name, value))
                made.dropped += [replace(issue, severity="warning") for issue in error.issues]
        return made.finished()


def pairs(query: str) -> list[tuple[str, str]]:
    """The pairs of a query string, decoded; empty values are kept. Raises BadRequest."""
    return list(_known_pairs(query) if len(query) <= _SHORT else _read_pairs(query))


@lru_cache(maxsize=_MOST_KNOWN)
def _known_pairs(query: str) -> Pairs:
    return tuple(_read_pairs(query))


def _read_pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise BadRequest("The query is not UTF-8.", code="structure") from error


@dataclass(slots=True)
class _Request:
    """A request under construction; `matched` are the types that the matches may be of."""

    criteria: Criteria
    request: SearchRequest
    matched: tuple[str, ...]
    nodes: list[Node] = field(default_factory=list)
    applied: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[Issue] = field(default_factory=list)
    once: set[str] = field(default_factory=set)

    def add(self, name: str, value: str) -> None:
        if name in ("_format", "_pretty") or not value:
            self._check_name(name)
            return
        code, _, modifier = name.partition(":")
        control = _CONTROLS.get(code)
        if control:
            if name != code and (code not in ("_include", "_revinclude") or modifier != "iterate"):
                raise BadRequest(f"'{code}' does not take the modifier '{modifier}'.", expression=name)
            self.request, applied = control(self, name, value)
            self.applied.append((name, applied))
            return
        if len(self.nodes) >= self.criteria.limits.criteria:
            raise BadRequest(f"A query has at most {self.criteria.limits.criteria} criteria.", code="too-costly")
        node = self.criteria.node(self.request.type, name, value)
        if node is not None:
            self.nodes.append(node)
            self.applied.append((name, value))

    def finished(self) -> SearchRequest:
        asked = self.request
        if asked.contained != "false" and (asked.includes or asked.revincludes):
            raise BadRequest(
                "A search of contained resources takes no _include and no _revinclude.",
                expression="_contained",
                code="not-supported",
            )
        where = optimise(all_of(*self.nodes)) if self.nodes else EVERYTHING
        applied, ignored, dropped = tuple(self.applied), tuple(self.ignored), tuple(self.dropped)
        return replace(self.request, where=where, applied=applied, ignored=ignored, dropped=dropped)

    def only_once(self, name: str) -> None:
        if name in self.once:
            raise BadRequest(f"'{name}' can be given once.", expression=name)
        self.once.add(name)

    def reference_parameter(self, name: str, source: str, code: str) -> None:
        """Checks that an include names a reference of a type."""
        if source not in self.criteria.registry.definitions.resource_types:
            raise BadRequest(f"'{source}' in '{name}' is no resource type of FHIR R4.", expression=name)
        parameter = self.criteria.registry.parameter(source, code)
        if code != "*" and (parameter is None or parameter.type != "reference"):
            raise BadRequest(f"{source} has no reference parameter '{code}' for '{name}'.", expression=name)
        if parameter is not None and "reference" not in parameter.shapes:
            raise BadRequest(
                f"'{code}' of {source} holds canonical URLs, which '{name}' does not follow: search by url.",
                expression=name,
                code="not-supported",
            )

    def _check_name(self, name: str) -> None:
        """An empty value is ignored, but not an unknown name."""
        if name not in ("_format", "_pretty") and name.partition(":")[0] not in _CONTROLS:
            self.criteria.node(self.request.type, name, "")


Control = Callable[[_Request, str, str], tuple[SearchRequest, str]]


def _count(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    made.only_once(name)
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadRequest(f"'{name}' takes a whole number from 0.", expression=name)
    count = min(int(value), made.criteria.limits.count)
    return replace(made.request, count=count), str(count)


def _sort(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    known = made.criteria.registry.parameters(made.request.type)
    sorts = []
    for key in filter(None, value.split(",")):
        parameter = known.get(key.removeprefix("-"))
        if parameter is None or not parameter.is_searchable or parameter.type in ("composite", "special"):
            raise UnknownParameter(
                f"{made.request.type} cannot be sorted by '{key.removeprefix('-')}'; name one of its search "
                "parameters, with - before it for descending.",
                expression=name,
            )
        sorts.append(Sort(parameter.code, parameter.shapes[0], key.startswith("-")))
    return replace(made.request, sort=(*made.request.sort, *sorts)), value


def _include(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    include = _read_include(made, name, value, made.request.type)
    if not include.iterate and include.source not in ("*", *made.matched):
        raise BadRequest(
            f"'{name}={value}': the matches are of type {_either(made.matched)}; use _include:iterate to include from "
            "what is included.",
            expression=name,
        )
    return replace(made.request, includes=(*made.request.includes, include)), value


def _revinclude(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    include = _read_include(made, name, value, "*")
    parameter = made.criteria.registry.parameters(include.source).get(include.param) if include.source != "*" else None
    aims = (include.target,) if include.target else made.matched
    if parameter and not include.iterate and not any(points_at(parameter, aim) for aim in aims):
        raise BadRequest(f"'{include.param}' of {include.source} does not refer to {_either(aims)}.", expression=name)
    return replace(made.request, revincludes=(*made.request.revincludes, include)), value


def _either(types: tuple[str, ...]) -> str:
    """The types in words, some of them where there are many."""
    return " or ".join(types[:_MOST_TOLD]) + (", …" if len(types) > _MOST_TOLD else "")


def _read_include(made: _Request, name: str, value: str, everything: str) -> Include:
    iterate = name.endswith(":iterate")
    if value == "*":
        return Include(everything, "*", None, iterate)
    source, code, target, *rest = (*value.split(":"), "", "")
    if any(rest) or not code:
        raise BadRequest(f"'{name}' takes Type:parameter, Type:parameter:TargetType, Type:* or *.", expression=name)
    made.reference_parameter(name, source, code)
    if target and target not in made.criteria.registry.definitions.resource_types:
        raise BadRequest(f"'{target}' in '{name}' is no resource type of FHIR R4.", expression=name)
    return Include(source, code, target or None, iterate)


def _summary(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    made.only_once(name)
    match value:
        case "true" | "text" | "data" | "count" | "false":
            return replace(made.request, summary=value), value
    raise BadRequest(f"'{name}' takes true, text, data, count or false.", expression=name)


def _total(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    made.only_once(name)
    match value:
        case "none" | "estimate" | "accurate":
            return replace(made.request, total=value), value
    raise BadRequest(f"'{name}' takes none, estimate or accurate.", expression=name)


def _contained(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    made.only_once(name)
    match value:
        case "false" | "true" | "both":
            return replace(made.request, contained=value), value
    raise BadRequest(f"'{name}' takes false, true or both.", expression=name)


def _contained_type(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    made.only_once(name)
    match value:
        case "container" | "contained":
            return replace(made.request, contained_type=value), value
    raise BadRequest(f"'{name}' takes container or contained.", expression=name)


def _elements(made: _Request, name: str, value: str) -> tuple[SearchRequest, str]:
    type_ = made.request.type
    known = {element.name for element in made.criteria.registry.definitions.types[type_].children(type_)}
    asked = tuple(filter(None, (part.strip() for part in value.split(","))))
    unknown = [element for element in asked if element not in known]
    if unknown:
        raise BadRequest(f"'{name}': {type_} has no element '{unknown[0]}' at its top.", expression=name)
    return replace(made.request, elements=tuple(dict.fromkeys((*made.request.elements, *asked)))), value


_CONTROLS: dict[str, Control] = {
    "_count": _count,
    "_sort": _sort,
    "_include": _include,
    "_revinclude": _revinclude,
    "_summary": _summary,
    "_total": _total,
    "_elements": _elements,
    "_contained": _contained,
    "_containedType": _contained_type,
}
