"""The search parameters of every type, each with the paths that its expression means (FHIR R4 searchparameter.html)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.search import values
from fhir_server.search.composite import Ends, Pair
from fhir_server.search.paths import Compiler, Path
from fhir_server.search.plan import Shape
from fhir_server.search.spanned import Span
from profiles.definitions import Component, Definitions, SearchParameter

# Parameters with an expression here apply to every type.
_EVERY_TYPE = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one type.

    `shapes` are the shapes of its index entries, the main one first; without any it cannot be searched on this
    server. `single` says that a resource has at most one entry of each shape (and unit), `brief` that all are instants.
    `targets` are the types that a reference may point at; empty or Resource: any. `whole` are the parameters of a
    composite's token and other component where the element that holds both may be the resource itself: their entries
    tell, and `paths` lead to other elements only.
    """

    code: str
    type: str
    url: str
    shapes: tuple[Shape, ...]
    paths: tuple[Path, ...] = field(repr=False)
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    single: bool = False
    pair: Pair | None = field(default=None, repr=False)
    brief: bool = False
    span: Span | None = field(default=None, repr=False)
    whole: "tuple[Parameter, Parameter] | None" = field(default=None, repr=False)

    @property
    def is_searchable(self) -> bool:
        """Whether it has index entries."""
        return bool(self.shapes)

    @property
    def is_always_entered(self) -> bool:
        """Whether every value makes an entry."""
        return all(values.is_always_entered(self.type, path.type) for path in self.paths)


class Registry:
    """The parameters by type and code: R4's own and custom ones, which never replace R4's.

    One `below` another adds to it; its `stale` (type, code) are indexed and cannot be searched.
    """

    def __init__(
        self,
        definitions: Definitions,
        custom: Iterable[SearchParameter] = (),
        *,
        below: "Registry | None" = None,
        stale: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.definitions = definitions
        self._compiler = Compiler(definitions)
        self._below, self._stale = below, stale
        self._by_base: dict[str, list[SearchParameter]] = {}
        own = (*(definitions.search_parameters if below is None else ()), *custom)
        for parameter in own:
            for base in parameter.bases:
                self._by_base.setdefault(base, []).append(parameter)
        self._made: dict[str, Mapping[str, Parameter]] = {}
        self._types: dict[str, str] = dict(below._types) if below is not None else {}
        self._types |= {each.url: each.type for each in own}

    def extended(
        self, custom: Iterable[SearchParameter], stale: frozenset[tuple[str, str]] = frozenset()
    ) -> "Registry":
        """This registry with a clinic's own parameters as well."""
        return Registry(self.definitions, custom, below=self, stale=stale)

    def urls(self) -> Iterable[str]:
        """The URLs of all parameters."""
        return self._types.keys()

    def parameters(self, type_: str) -> Mapping[str, Parameter]:
        """Code -> parameter of a resource type, those of every type included. Raises KeyError for another name."""
        if type_ not in self._made:
            if type_ not in self.definitions.resource_types:
                raise KeyError(type_)
            made = dict(self._below.parameters(type_)) if self._below is not None else {}
            for base in ("Resource", "DomainResource", type_):
                for source in self._by_base.get(base, ()):
                    if source.code not in made:
                        made[source.code] = self._parameter(type_, source)
            for code in (code for other, code in self._stale if other == type_ and code in made):
                made[code] = replace(made[code], shapes=())
            self._made[type_] = made
        return self._made[type_]

    def parameter(self, type_: str, code: str) -> Parameter | None:
        """One parameter of a type."""
        return self.parameters(type_).get(code)

    def _parameter(self, type_: str, source: SearchParameter) -> Parameter:
        if source.type == "composite":
            return self._composite(type_, source)
        found = self._compiler.paths(type_, source.expression) if source.expression else ()
        paths = tuple(path for path in found if values.converter(source.type, path.type))
        shapes = dict.fromkeys(shape for path in paths for shape in values.shapes(source.type, path.type))
        return Parameter(
            source.code,
            source.type,
            source.url,
            tuple(shapes),
            paths,
            _targets(source, paths),
            source.components,
            _is_single(paths),
            brief=bool(paths) and all(path.type == "instant" for path in paths),
        )

    def _composite(self, type_: str, source: SearchParameter) -> Parameter:
        """A composite of a token and one or two others; one of more has no shapes, and cannot be searched."""
        types = [self._types.get(component.definition, "") for component in source.components]
        without = Parameter(source.code, source.type, source.url, (), (), (), source.components)
        if types == ["token", "number", "number"] and source.expression:
            return replace(without, shapes=("number",), **self._spanned(type_, source))
        if len(types) != 2 or "token" not in types or not source.expression:
            return without
        bases = self._compiler.paths(type_, source.expression)
        first, at = (True, 0) if types[0] == "token" else (False, 1)
        value_type = types[1 - at]
        # DocumentReference.relationship has the expressions of its components the wrong way round.
        expressions = [component.expression for component in source.components]
        ends: list[list[Ends]] = []
        for base in bases:
            found = [
                (self._ends(type_, base, expressions[at], "token"), self._ends(type_, base, other, value_type))
                for at, other in ((at, expressions[1 - at]), (1 - at, expressions[at]))
            ]
            ends.append(list(next((pair for pair in found if all(pair)), ((), ()))))
        pairs = [Pair(tokens, held, value_type, first) for tokens, held in ends]
        shapes = dict.fromkeys(
            shape for pair in pairs for path, _, _ in pair.values for shape in values.shapes(value_type, path.type)
        )
        whole = next(
            (self._whole(type_, pair) for base, pair in zip(bases, pairs, strict=True) if not base.steps), None
        )
        paths = tuple(
            replace(base, only=pair)  # type: ignore[arg-type]
            for base, pair in zip(bases, pairs, strict=True)
            if base.steps or whole is None
        )
        return Parameter(
            source.code, source.type, source.url, tuple(shapes), paths, (), source.components, False,
            pairs[0] if pairs else None, whole=whole,
        )  # fmt: skip

    def _whole(self, type_: str, pair: Pair) -> tuple[Parameter, Parameter] | None:
        """The parameters that enter just what the components of a whole resource would be entered with."""
        token = self._entering(type_, "token", pair.tokens)
        other = self._entering(type_, pair.value_type, pair.values)
        return (token, other) if token is not None and other is not None else None

    def _entering(self, type_: str, parameter_type: str, ends: Ends) -> Parameter | None:
        wanted = {_end_of(path) for path, _, _ in ends}
        sources = (source for source in self._by_base.get(type_, ()) if source.type == parameter_type)
        made = (self._parameter(type_, source) for source in sources)
        return next((each for each in made if {_end_of(path) for path in each.paths} == wanted), None)

    def _spanned(self, type_: str, source: SearchParameter) -> dict[str, Any]:
        """The paths and the span of a composite of a token and two numbers; its elements are found from the root."""
        token, first, second = (component.expression for component in source.components)
        (base,) = self._compiler.paths(type_, source.expression or "")
        tokens = self._ends(type_, base, token, "token")
        root = Path((), type_, (type_, type_))
        apart = () if tokens else self._ends(type_, root, token.replace("%resource", type_), "token")
        ((low,), (high,)) = (self._compiler.below(type_, base, each) for each in (first, second))
        span = Span(base.steps, tokens, apart, low.steps, high.steps)
        return {"paths": (replace(root, only=span),), "span": span}  # type: ignore[arg-type]

    def _ends(self, type_: str, base: Path, expression: str, parameter_type: str) -> Ends:
        found = self._compiler.below(type_, base, expression)
        return tuple(
            (path, convert, systems_of(self.definitions, path) or path.only)
            for path in found
            if (convert := values.converter(parameter_type, path.type)) is not None
        )


def _end_of(path: Path) -> tuple[object, ...]:
    return path.steps, path.type, path.only, path.value_set


def systems_of(definitions: Definitions, path: Path) -> dict[str, str] | None:
    """The system of each code of a path's required binding."""
    codes = definitions.codes(path.value_set) if path.value_set else None
    if not codes:
        return None
    systems: dict[str, str] = {}
    for system, code in sorted(codes):
        systems[code] = "" if code in systems else system  # a code of two systems has none
    return systems


def _targets(source: SearchParameter, paths: tuple[Path, ...]) -> tuple[str, ...]:
    """The targets as published, narrowed where every path demands one type."""
    demanded = dict.fromkeys(path.only for path in paths if path.only)
    if paths and all(path.only for path in paths):
        return tuple(name for name in demanded if name)
    return source.targets


def _is_single(paths: tuple[Path, ...]) -> bool:
    one_element = len({path.element for path in paths}) == 1
    return one_element and all(values.is_entered_once(path.type) and not path.many for path in paths)
