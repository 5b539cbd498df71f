"""A clinic's own search parameters: what a SearchParameter resource must be, and the form in which they are kept.

Only an `active` one is in use; one with the URL of R4's own says what is so anyway. `stale` are the (type, code) under
which the index may hold what another definition entered: they are not searched until the type is indexed anew.
Source: FHIR R4 searchparameter.html.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import orjson

from fhir_server.fhir.outcome import Issue
from fhir_server.search.expressions import UnsupportedExpression
from fhir_server.search.parameters import Registry
from fhir_server.search.paths import Compiler
from fhir_server.search.values import converter
from profiles.definitions import Component, SearchParameter

# Each costs every write of its types something.
MOST = 200
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{0,63}")
_LONGEST_EXPRESSION = 1_000
_MOST_BRACKETS = 40
_TYPES = ("token", "string", "date", "number", "quantity", "reference", "uri", "composite")
_NOT_INDEXED = frozenset({"AuditEvent"})


@dataclass(frozen=True, slots=True)
class Custom:
    """The parameters in use by the id of their resource, and what is stale."""

    parameters: Mapping[str, SearchParameter] = field(default_factory=dict)
    stale: frozenset[tuple[str, str]] = frozenset()

    def changed(self, id_: str, parameter: SearchParameter | None) -> "Custom":
        """With another definition under an id (None: with none); what the former one entered is stale."""
        before = self.parameters.get(id_)
        if before == parameter:
            return self
        kept = {name: each for name, each in self.parameters.items() if name != id_}
        if parameter is not None:
            kept[id_] = parameter
        left = {(base, before.code) for base in before.bases} if before is not None else set()
        return Custom(dict(sorted(kept.items())), self.stale | left)

    def indexed(self, types: frozenset[str]) -> "Custom":
        """After the types were indexed anew."""
        return replace(self, stale=frozenset(pair for pair in self.stale if pair[0] not in types))

    def written(self) -> bytes:
        """The form in which it is kept; nothing when there is nothing to keep."""
        if not self.parameters and not self.stale:
            return b""
        rows = {id_: astuple(parameter) for id_, parameter in self.parameters.items()}
        return orjson.dumps({"parameters": rows, "stale": sorted(self.stale)})


def read(kept: bytes) -> Custom:
    """What was kept."""
    if not kept:
        return Custom()
    value = orjson.loads(kept)
    parameters = {id_: _parameter(row) for id_, row in value["parameters"].items()}
    return Custom(parameters, frozenset((type_, code) for type_, code in value["stale"]))


def registry_with(registry: Registry, kept: bytes) -> Registry:
    """The registry with what was kept."""
    custom = read(kept)
    return registry.extended(custom.parameters.values(), custom.stale)


def of_resource(resource: Mapping[str, Any]) -> SearchParameter:
    """The definition that a SearchParameter resource gives."""
    components = [Component(each["definition"], each["expression"]) for each in resource.get("component", ())]
    return SearchParameter(
        resource["url"],
        resource["code"],
        tuple(dict.fromkeys(resource["base"])),
        resource["type"],
        resource.get("expression"),
        tuple(resource.get("target", ())),
        components=tuple(components),
    )


def faults(wanted: SearchParameter, registry: Registry) -> Iterator[Issue]:
    """Why a definition cannot be used, element by element. `registry` has all parameters but this one."""
    if _CODE.fullmatch(wanted.code) is None:
        yield _fault("code", "The code is a letter, then letters, digits, - and _; 64 in all.")
    if wanted.type not in _TYPES:
        yield _fault("type", f"This server indexes parameters of the types {', '.join(_TYPES)}.")
    for other in registry.urls():
        if other == wanted.url:
            yield _fault("url", "There is a search parameter of this URL already.", "duplicate")
    for n, target in enumerate(wanted.targets):
        if target not in registry.definitions.resource_types:
            yield _fault(f"target[{n}]", f"'{target[:64]}' is no resource type of FHIR R4.")
    if not wanted.expression or len(wanted.expression) > _LONGEST_EXPRESSION:
        yield _fault("expression", f"Give an expression, of at most {_LONGEST_EXPRESSION} characters.")
        return
    for n, base in enumerate(wanted.bases):
        yield from _base_faults(wanted, registry, f"base[{n}]", base)


def _base_faults(wanted: SearchParameter, registry: Registry, at: str, base: str) -> Iterator[Issue]:
    if base not in registry.definitions.resource_types - _NOT_INDEXED:
        yield _fault(at, f"'{base[:64]}' is no resource type that this server indexes; name each type by itself.")
    elif registry.parameter(base, wanted.code) is not None:
        yield _fault("code", f"{base} has a search parameter '{wanted.code}' already.", "duplicate")
    elif wanted.type in _TYPES and not _is_evaluated(wanted, registry, base):
        yield _fault(
            "expression",
            f"On {base} this expression finds nothing that can be indexed as {wanted.type}. Expressions are made of "
            "paths, |, as, ofType(), where(x = 'y'), where(resolve() is T), extension('url') and exists().",
        )


def _is_evaluated(wanted: SearchParameter, registry: Registry, base: str) -> bool:
    """Whether the expression, and each component's, is within what the compiler takes and finds indexable values."""
    expressions = [wanted.expression or "", *(each.expression for each in wanted.components)]
    if any(len(e) > _LONGEST_EXPRESSION or e.count("(") + e.count("[") > _MOST_BRACKETS for e in expressions):
        return False
    try:
        paths = Compiler(registry.definitions).compiled(base, expressions[0])
    except UnsupportedExpression:
        return False
    if wanted.type != "composite":
        return any(path.type and converter(wanted.type, path.type) is not None for path in paths)
    made = registry.extended([replace(wanted, bases=(base,))]).parameter(base, wanted.code)
    return made is not None and made.is_searchable


def _fault(element: str, diagnostics: str, code: str = "value") -> Issue:
    return Issue(code, diagnostics, f"SearchParameter.{element}")


def _parameter(row: list[Any]) -> SearchParameter:
    url, code, bases, type_, expression, targets, comparators, modifiers, components = row
    parts = tuple(Component(*part) for part in components)
    return SearchParameter(
        url, code, tuple(bases), type_, expression, tuple(targets), tuple(comparators), tuple(modifiers), parts
    )
