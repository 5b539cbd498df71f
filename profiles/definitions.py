"""The R4 definitions that `compile_r4` wrote: types and their elements, search parameters, compartments, codes.

`load` reads what a server needs at its start; element tables, codes and invariants are read at first use.
Source: FHIR R4 4.0.1, structuredefinition.html, searchparameter.html, compartmentdefinition.html.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson

_TABLES = Path(__file__).parent / "r4"


@dataclass(frozen=True, slots=True)
class TypeRef:
    """One permitted type. `targets`: for Reference and canonical the types they may point at, () or Resource: any."""

    code: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set (its URL without a version) that a coded element draws on."""

    strength: Literal["required", "extensible", "preferred", "example"]
    value_set: str


@dataclass(frozen=True, slots=True)
class ElementDefinition:
    """One element of a type.

    `path` as published (`Observation.value[x]`), `name` its last part without `[x]`; `max` None means `*`.
    `content_reference` is the path of the element whose content it has; then `types` is empty.
    """

    path: str
    name: str
    types: tuple[TypeRef, ...]
    min: int
    max: int | None
    binding: Binding | None
    content_reference: str | None
    is_modifier: bool
    is_summary: bool

    @property
    def is_choice(self) -> bool:
        """Whether its property names carry the type (`valueQuantity`)."""
        return self.path.endswith("[x]")

    @property
    def properties(self) -> tuple[str, ...]:
        """The JSON property names, in the order of `types`."""
        if not self.is_choice:
            return (self.name,)
        return tuple(self.name + ref.code[0].upper() + ref.code[1:] for ref in self.types)


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A resource type or complex datatype with all its elements, inherited ones included, in published order."""

    name: str
    kind: Literal["resource", "complex-type"]
    is_abstract: bool
    base: str
    elements: tuple[ElementDefinition, ...]

    def children(self, path: str) -> tuple[ElementDefinition, ...]:
        """The elements right below `path`."""
        return tuple(e for e in self.elements if e.path.rpartition(".")[0] == path)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite search parameter: the parameter's URL, and a path from the composite's expression."""

    definition: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter. `comparators` and `modifiers` are as published: empty means not said."""

    url: str
    code: str
    bases: tuple[str, ...]
    type: str
    expression: str | None = None
    targets: tuple[str, ...] = ()
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive type: the one it specialises, and the published regex of its text form (None for xhtml)."""

    base: str
    regex: str | None


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule (FHIRPath) that holds at each element of `path`. Severity `warning` marks advice."""

    path: str
    key: str
    severity: Literal["error", "warning"]
    expression: str


class Types(Mapping[str, TypeDefinition]):
    """Type name -> definition, each made when it is first asked for."""

    def __init__(self, lines: bytes) -> None:
        self._lines = {line[2 : line.index(b'"', 2)].decode(): line for line in lines.split(b"\n")}
        self._made: dict[str, TypeDefinition] = {}

    def __getitem__(self, name: str) -> TypeDefinition:
        if name not in self._made:
            self._made[name] = _type(orjson.loads(self._lines[name]))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def concrete_resources(self) -> frozenset[str]:
        """The resource types that have instances, without parsing any elements."""
        return frozenset(name for name, line in self._lines.items() if b',"resource",false,' in line[:99])


class Definitions:
    """The R4 definitions. Hold one: each carries its own tables."""

    def __init__(self, tables: Path) -> None:
        self._tables = tables
        self.types = Types(self._read("types.ndjson"))
        self.resource_types = self.types.concrete_resources()
        self.search_parameters = tuple(map(_search_parameter, orjson.loads(self._read("search_parameters.json"))))
        meta = orjson.loads(self._read("meta.json"))
        self.primitives: Mapping[str, Primitive] = {name: Primitive(*row) for name, row in meta["primitives"].items()}
        self.compartments: Mapping[str, Mapping[str, tuple[str, ...]]] = {
            compartment: {type_: tuple(codes) for type_, codes in rows.items()}
            for compartment, rows in meta["compartments"].items()
        }

    def codes(self, value_set: str) -> frozenset[tuple[str, str]] | None:
        """(system, code) of a required binding's value set, with or without a version; None: cannot be enumerated.

        Raises KeyError for a value set that no required binding names.
        """
        systems = self._codes[value_set.partition("|")[0]]
        if systems is None:
            return None
        return frozenset((system, code) for system, codes in systems.items() for code in codes)

    def parents(self, system: str) -> Mapping[str, list[str]] | None:
        """Code -> the codes right above it, of a code system that R4 publishes whole; None for another system."""
        return self._parents.get(system)

    def code_systems(self) -> tuple[str, ...]:
        """The URLs of the code systems that R4 publishes whole."""
        return tuple(self._parents)

    def invariants(self, type_: str) -> tuple[Invariant, ...]:
        """The type's own invariants and, at its root, those of its bases (without ele-1, which `Structure` checks)."""
        own = tuple(Invariant(*row) for row in self._invariants[type_])
        base = self.types[type_].base
        if base in ("", "Element", "BackboneElement"):
            return own
        inherited = (i for i in self.invariants(base) if i.path == base)
        return (*(Invariant(type_, i.key, i.severity, i.expression) for i in inherited), *own)

    def summary_elements(self, type_: str) -> frozenset[str]:
        """Paths of the elements that `_summary=true` keeps (`Appointment.participant.status`)."""
        return frozenset(e.path for e in self.types[type_].elements if e.is_summary)

    def mandatory_elements(self, type_: str) -> frozenset[str]:
        """Names of the top-level elements with a minimum above zero, which every subset must keep."""
        return frozenset(e.name for e in self.types[type_].children(type_) if e.min > 0)

    @cached_property
    def _codes(self) -> dict[str, dict[str, list[str]] | None]:
        codes: dict[str, dict[str, list[str]] | None] = orjson.loads(self._read("codes.json"))
        return codes

    @cached_property
    def _parents(self) -> dict[str, dict[str, list[str]]]:
        parents: dict[str, dict[str, list[str]]] = orjson.loads(self._read("parents.json"))
        return parents

    @cached_property
    def _invariants(self) -> dict[str, list[Any]]:
        invariants: dict[str, list[Any]] = orjson.loads(self._read("invariants.json"))
        return invariants

    def _read(self, name: str) -> bytes:
        return gzip.decompress((self._tables / f"{name}.gz").read_bytes())


def load(tables: Path = _TABLES) -> Definitions:
    """The definitions; call it once, where the server is composed."""
    return Definitions(tables)


def _type(row: list[Any]) -> TypeDefinition:
    name, kind, is_abstract, base, elements = row
    return TypeDefinition(name, kind, is_abstract, base, tuple(map(_element, elements)))


def _element(row: list[Any]) -> ElementDefinition:
    path, types, least, most, binding, content_reference, is_modifier, is_summary = row
    return ElementDefinition(
        path,
        path.rpartition(".")[2].removesuffix("[x]"),
        tuple(TypeRef(code, tuple(targets)) for code, *targets in types),
        least,
        most,
        Binding(*binding) if binding else None,
        content_reference,
        bool(is_modifier),
        bool(is_summary),
    )


def _search_parameter(row: list[Any]) -> SearchParameter:
    url, code, bases, type_, expression, targets, comparators, modifiers, components = row
    parts = tuple(Component(*part) for part in components)
    return SearchParameter(
        url, code, tuple(bases), type_, expression, tuple(targets), tuple(comparators), tuple(modifiers), parts
    )
