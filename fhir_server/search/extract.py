"""The index entries of a resource: all parameters of its type in one walk (FHIR R4 search.html)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

from fhir_server.search import composite, fulltext, pointers, spanned
from fhir_server.search.collected import Collected, Convert, presence
from fhir_server.search.parameters import Parameter, Registry, systems_of
from fhir_server.search.paths import Function, Path
from fhir_server.search.plan import Entries
from fhir_server.search.values import converter

# The parameter under which every reference of a resource is entered, where referential integrity is kept.
REFERS = "_refers"


class Extractor:
    """Makes index entries, reading dates without a zone in `zone` and URLs below `base_url` as local.

    `texts` enters the texts of codes as well, for `:text`; `content` every word, for `_content`; `refers` every
    reference under REFERS. Walks are compiled once a type and kept in `walks`, which extractors of other tenants may
    share as long as they share the registry.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        zone: tzinfo = UTC,
        base_url: str = "",
        texts: bool = False,
        content: bool = False,
        refers: bool = False,
        walks: "dict[str, Walk] | None" = None,
    ) -> None:
        self._registry = registry
        self._zone = zone
        self._base_url = base_url
        self._texts = texts
        self._content = content
        self._refers = refers
        self._walks = {} if walks is None else walks

    def entries(self, resource: Mapping[str, Any]) -> Entries:
        """All entries of a resource of a known type; duplicates left out, the order fixed by definitions and data."""
        type_ = resource["resourceType"]
        if type_ not in self._walks:
            self._walks[type_] = self._compile(type_)
        collected = Collected(self._zone, self._base_url, self._texts)
        if "contained" in resource:
            collected.contained = {each["id"]: each["resourceType"] for each in resource["contained"] if "id" in each}
        _visit(self._walks[type_], resource, collected)
        collected.token |= {(presence(param), "", ""): None for param in collected.unentered}
        if "text" in resource:
            collected.token |= {(fulltext.TEXT, word, ""): None for word in fulltext.narrative(resource)}
        if self._content:
            collected.token |= {(fulltext.CONTENT, word, ""): None for word in fulltext.content(resource)}
        if self._refers:
            collected.reference |= {(REFERS, *found): None for found in pointers.all_targets(resource, self._base_url)}
        return collected.entries()

    def _compile(self, type_: str) -> "Walk":
        branch = _Branch()
        for parameter in self._registry.parameters(type_).values():
            for path in parameter.paths:
                branch.add(path.steps, self._end(parameter, path))
        return branch.walk()

    def _end(self, parameter: Parameter, path: Path) -> "End":
        if parameter.type == "composite":
            return (spanned if parameter.span else composite).convert, parameter.code, path.only
        convert = converter(parameter.type, path.type)
        if convert is None:
            raise TypeError(f"{parameter.code}: no entries from {path.type}")
        return convert, parameter.code, path.only or systems_of(self._registry.definitions, path)


End = tuple[Convert, str, Any]
# The ends here, the properties with their walks, the functions with theirs.
Walk = tuple[tuple[End, ...], tuple[tuple[str, "Walk"], ...], tuple[tuple[Function, "Walk"], ...]]


@dataclass(slots=True)
class _Branch:
    """A walk under construction: paths that begin alike share their beginning."""

    ends: list[End] = field(default_factory=list)
    properties: "dict[str, _Branch]" = field(default_factory=dict)
    functions: "list[tuple[Function, _Branch]]" = field(default_factory=list)

    def add(self, steps: Iterable[Any], end: End) -> None:
        branch = self
        for step in steps:
            if isinstance(step, str):
                branch = branch.properties.setdefault(step, _Branch())
            else:
                child = _Branch()
                branch.functions.append((step, child))
                branch = child
        branch.ends.append(end)

    def walk(self) -> Walk:
        return (
            tuple(self.ends),
            tuple((name, branch.walk()) for name, branch in self.properties.items()),
            tuple((function, branch.walk()) for function, branch in self.functions),
        )


def _visit(walk: Walk, value: Any, out: Collected) -> None:
    ends, properties, functions = walk
    for convert, param, note in ends:
        convert(value, param, note, out)
    for name, below in properties:
        held = value.get(name)
        if held is None:
            continue
        if held.__class__ is list:
            for item in held:
                if item is not None:
                    _visit(below, item, out)
        else:
            _visit(below, held, out)
    for function, below in functions:
        for item in function(value):
            _visit(below, item, out)
