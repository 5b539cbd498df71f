"""What an expression finds in resources of one type: paths through the JSON with the type at each end.

The definitions tell every element's type, so a choice (`value`) opens into one path for each of its properties and an
expression becomes a flat list of paths. What the grammar or this module does not take, fhirpathpy evaluates.
Source: FHIR R4 searchparameter.html, FHIRPath N1.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.search.expressions import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Name,
    Tree,
    Typed,
    UnsupportedExpression,
    parse,
)
from profiles.definitions import Definitions, ElementDefinition

Function = Callable[[Any], Iterable[Any]]
# A property's name, or a function from a value to what it leads to.
Step = str | Function


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from a resource to values of `type`.

    `container` is (type, element path) below which the values' elements are defined; `element` names the elements
    passed, without types, so that the paths of one choice have one `element`; `only` is the type that a reference
    must point at; `value_set` a code's required binding.
    """

    steps: tuple[Step, ...]
    type: str
    container: tuple[str, str]
    element: str = ""
    many: bool = False
    only: str | None = None
    value_set: str | None = None


@dataclass(slots=True)
class Compiler:
    """Expressions to paths, over one set of definitions."""

    definitions: Definitions
    _children: dict[str, Mapping[str, Mapping[str, ElementDefinition]]] = field(default_factory=dict)

    def paths(self, type_: str, expression: str) -> tuple[Path, ...]:
        """The paths of an expression in a type; none when it speaks of other types only."""
        try:
            return self.compiled(type_, expression)
        except UnsupportedExpression:
            return (Path((_evaluated(expression),), "", ("", ""), many=True),)

    def compiled(self, type_: str, expression: str) -> tuple[Path, ...]:
        """The paths of an expression within what is compiled. Raises UnsupportedExpression."""
        root = Path((), type_, (type_, type_))
        return tuple(self._find(parse(expression), root, root))

    def below(self, type_: str, base: Path, expression: str) -> tuple[Path, ...]:
        """The paths of an expression from where `base` leads, without its steps."""
        root = Path((), type_, (type_, type_))
        try:
            found = self._find(parse(expression), base, root)
        except UnsupportedExpression:
            return ()
        return tuple(
            replace(path, steps=path.steps[len(base.steps) :])
            for path in found
            if path.steps[: len(base.steps)] == base.steps
        )

    def _find(self, tree: Tree, here: Path, root: Path) -> list[Path]:
        match tree:
            case Name("%resource"):
                return [root]
            case Name(name) if name[0].isupper():
                return self._of_type(name, here)
            case Name(name):
                return self._child(here, name)
            case Member(base, name):
                return [path for found in self._find(base, here, root) for path in self._child(found, name)]
            case Binary("|", left, right):
                return [*self._find(left, here, root), *self._find(right, here, root)]
            case Typed(base, "as", type_):
                return self._cast(self._find(base, here, root), type_)
            case Call(base, name, arguments):
                return self._call(self._find(base, here, root) if base else [here], name, arguments, tree, here)
            case Index(Member(base, name), place):
                return [self._item(path, name, place) for path in self._find(base, here, root)]
            case Binary():
                return [_applied(here, self._truth(tree, here), "boolean")]
        raise UnsupportedExpression(repr(tree))

    def _of_type(self, name: str, here: Path) -> list[Path]:
        if name == here.type or name in ("Resource", "DomainResource"):
            return [here]
        if name in self.definitions.resource_types:
            return []
        raise UnsupportedExpression(name)

    def _call(self, bases: list[Path], name: str, arguments: tuple[Tree, ...], tree: Tree, here: Path) -> list[Path]:
        match name, arguments:
            case (("as" | "ofType"), (Name(type_),)):
                return self._cast(bases, type_)
            case "where", (Typed(Call(None, "resolve", ()), "is", type_),):
                return [replace(base, only=type_) for base in bases if base.type in ("Reference", "canonical")]
            case "where", (condition,):
                return [_applied(base, self._filter(condition, base), base.type) for base in bases]
            case "extension", (Literal(str(url)),):
                found = [path for base in bases for path in self._child(base, "extension")]
                return [_applied(path, _extensions(url), "Extension") for path in found]
            case (("exists" | "empty" | "hasExtension"), _):
                return [_applied(here, self._truth(tree, here), "boolean")]
        raise UnsupportedExpression(name)

    def _child(self, parent: Path, name: str) -> list[Path]:
        element = self._elements(parent.container[0]).get(parent.container[1], {}).get(name)
        if element is None:
            raise UnsupportedExpression(f"{parent.container[1]}.{name}")
        many = parent.many or element.max != 1
        label = f"{parent.element}.{name}"
        if element.content_reference:
            container = (parent.container[0], element.content_reference.lstrip("#"))
            return [Path((*parent.steps, name), "BackboneElement", container, label, many)]
        required = element.binding.value_set if element.binding and element.binding.strength == "required" else None
        return [
            Path(
                (*parent.steps, prop),
                ref.code,
                (parent.container[0], element.path) if ref.code in ("BackboneElement", "Element") else (ref.code,) * 2,
                label,
                many,
                value_set=required if ref.code == "code" else None,
            )
            for ref, prop in zip(element.types, element.properties * len(element.types), strict=False)
        ]

    def _item(self, parent: Path, name: str, place: int) -> Path:
        path, *others = self._child(parent, name)
        if others or self._elements(parent.container[0])[parent.container[1]][name].max == 1:
            raise UnsupportedExpression(f"{name}[{place}]")  # only what is an array has places
        pick: Function = lambda value: value.get(name, ())[place : place + 1]  # noqa: E731 - a step is a function
        return replace(path, steps=(*parent.steps, pick), many=parent.many)

    def _cast(self, paths: list[Path], type_: str) -> list[Path]:
        # R4 has `as(DateTime)` where it means dateTime.
        found = [path for path in paths if path.type in (type_, type_[0].lower() + type_[1:])]
        if found:
            return found
        return [path for path in paths if self._specialises(path.type, type_)]

    def _specialises(self, type_: str, base: str) -> bool:
        while type_ in self.definitions.types and type_ != base:
            type_ = self.definitions.types[type_].base
        return type_ == base

    def _elements(self, type_: str) -> Mapping[str, Mapping[str, ElementDefinition]]:
        if type_ not in self._children:
            below: dict[str, dict[str, ElementDefinition]] = {}
            if type_ in self.definitions.types:
                for element in self.definitions.types[type_].elements:
                    below.setdefault(element.path.rpartition(".")[0], {})[element.name] = element
            self._children[type_] = below
        return self._children[type_]

    def _filter(self, condition: Tree, here: Path) -> Function:
        holds = self._truth(condition, replace(here, steps=()))
        return lambda value: (value,) if True in holds(value) else ()

    def _truth(self, tree: Tree, here: Path) -> Function:
        """A function from a value at `here` to one boolean, or to nothing where FHIRPath says empty."""
        local = replace(here, steps=())
        match tree:
            case Binary(("and" | "or") as operator, left, right):
                return _logic(operator, self._truth(left, local), self._truth(right, local))
            case Binary(("=" | "!=") as operator, left, right):
                return _comparison(operator == "=", self._values(left, local), self._values(right, local))
            case Call(base, ("exists" | "empty") as name, ()):
                values = self._values(base, local) if base else _itself
                return lambda value: (bool(list(values(value))) == (name == "exists"),)
            case Call(base, "hasExtension", (Literal(str(url)),)):
                values = self._values(base, local) if base else _itself
                has = _extensions(url)
                return lambda value: (
                    any(has(e) for item in values(value) if isinstance(item, dict) for e in item.get("extension", ())),
                )
        raise UnsupportedExpression(repr(tree))

    def _values(self, tree: Tree, here: Path) -> Function:
        if isinstance(tree, Literal):
            constant = (tree.value,)
            return lambda _: constant
        found = self._find(tree, here, here)
        return lambda value: [item for path in found for item in walk(path.steps, value)]


def walk(steps: tuple[Step, ...], value: Any) -> list[Any]:
    """The values at the end of the steps."""
    values = [value]
    for step in steps:
        if isinstance(step, str):
            found = [item[step] for item in values if step in item]
            values = [v for f in found for v in (f if isinstance(f, list) else (f,)) if v is not None]
        else:
            values = [v for item in values for v in step(item)]
    return values


def _applied(path: Path, function: Function, type_: str) -> Path:
    return replace(path, steps=(*path.steps, function), type=type_)


def _itself(value: Any) -> Iterable[Any]:
    return (value,)


def _extensions(url: str) -> Function:
    return lambda value: (value,) if value.get("url") == url else ()


def _comparison(equal: bool, left: Function, right: Function) -> Function:
    def compare(value: Any) -> Iterable[Any]:
        these, those = list(left(value)), list(right(value))
        return ((these == those) == equal,) if these and those else ()

    return compare


def _logic(operator: str, left: Function, right: Function) -> Function:
    decisive = operator == "or"

    def decide(value: Any) -> Iterable[Any]:
        results = [*(tuple(left(value)) or (None,)), *(tuple(right(value)) or (None,))]
        if decisive in results:
            return (decisive,)
        return () if None in results else (not decisive,)

    return decide


def _evaluated(expression: str) -> Function:
    """The expression by fhirpathpy, which is loaded and told of it at first use."""
    compiled: list[Any] = []

    def evaluate(resource: Any) -> Iterable[Any]:
        if not compiled:
            from fhirpathpy import compile as compile_fhirpath
            from fhirpathpy.models import models

            compiled.append(compile_fhirpath(expression, models["r4"]))
        found: Iterable[Any] = compiled[0](resource)
        return found

    return evaluate
