"""The search parameters of every type, each with the paths that its expression means (FHIR R4 searchparameter.html)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhir_server.search import values
from fhir_server.search.paths import Compiler, Path
from fhir_server.search.plan import Shape
from profiles.definitions import Component, Definitions, SearchParameter

# Parameters with an expression here apply to every type.
_EVERY_TYPE = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one type.

    `shapes` are the shapes of its index entries, the main one first; without any it cannot be searched on this
    server. `single` says that a resource has at most one entry of each shape (and unit). `targets` are the types
    that a reference may point at; empty or Resource: any.
    """

    code: str
    type: str
    url: str
    shapes: tuple[Shape, ...]
    paths: tuple[Path, ...] = field(repr=False)
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    single: bool = False

    @property
    def is_searchable(self) -> bool:
        """Whether it has index entries."""
        return bool(self.shapes)


class Registry:
    """The parameters by type and code: R4's own and custom ones, which never replace R4's."""

    def __init__(self, definitions: Definitions, custom: Iterable[SearchParameter] = ()) -> None:
        self.definitions = definitions
        self._compiler = Compiler(definitions)
        self._by_base: dict[str, list[SearchParameter]] = {}
        for parameter in (*definitions.search_parameters, *custom):
            for base in parameter.bases:
                self._by_base.setdefault(base, []).append(parameter)
        self._made: dict[str, Mapping[str, Parameter]] = {}

    def parameters(self, type_: str) -> Mapping[str, Parameter]:
        """Code -> parameter of a resource type, those of every type included. Raises KeyError for another name."""
        if type_ not in self._made:
            if type_ not in self.definitions.resource_types:
                raise KeyError(type_)
            made: dict[str, Parameter] = {}
            for base in ("Resource", "DomainResource", type_):
                for source in self._by_base.get(base, ()):
                    made.setdefault(source.code, self._parameter(type_, source))
            self._made[type_] = made
        return self._made[type_]

    def parameter(self, type_: str, code: str) -> Parameter | None:
        """One parameter of a type."""
        return self.parameters(type_).get(code)

    def _parameter(self, type_: str, source: SearchParameter) -> Parameter:
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
        )


def _targets(source: SearchParameter, paths: tuple[Path, ...]) -> tuple[str, ...]:
    """The targets as published, narrowed where every path demands one type."""
    demanded = dict.fromkeys(path.only for path in paths if path.only)
    if paths and all(path.only for path in paths):
        return tuple(name for name in demanded if name)
    return source.targets


def _is_single(paths: tuple[Path, ...]) -> bool:
    one_element = len({path.element for path in paths}) == 1
    return one_element and all(values.is_entered_once(path.type) and not path.many for path in paths)
