"""Every search parameter finds what fhirpathpy finds, over the official examples (FHIR R4 searchparameter.html)."""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from fhirpathpy import compile as compile_fhirpath
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from fhir_server.search.parameters import Registry
from fhir_server.search.paths import Compiler, Path, walk
from profiles.definitions import Definitions, load
from tests.data.examples import examples

Found = set[tuple[str, str]]

# Expression as published -> as fhirpathpy takes it, with the reason.
REWRITTEN: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"\((\w[\w.]*) as (\w+)\)"), r"\1.ofType(\2)", "R4 casts collections; FHIRPath casts single items"),
    (re.compile(r"^Resource\."), "", "fhirpathpy knows a resource by its own type's name only"),
)


def type_pointed_at(node: Any) -> str | None:
    """What a reference says of its target's type; contained targets count as none."""
    text = node if isinstance(node, str) else node.get("reference", "")
    named = re.search(r"(?:^|/)([A-Z]\w+)/[^/]+(?:/_history/.*)?$", text)
    if named and not text.startswith("#"):
        return named.group(1)
    return None if isinstance(node, str) else node.get("type")


def resolve(nodes: list[Any]) -> list[ResourceNode]:
    types = [type_pointed_at(node) for node in nodes]
    return [ResourceNode.create_node({"resourceType": type_}, type_) for type_ in types if type_]


def has_extension(nodes: list[Any], url: str) -> bool:
    return any(extension["url"] == url for node in nodes for extension in node.get("extension", ()))


OPTIONS = {
    "returnRawData": True,
    "userInvocationTable": {
        "resolve": {"fn": resolve, "arity": {0: []}},
        "hasExtension": {"fn": has_extension, "arity": {1: ["String"]}},
    },
}


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


class Oracle:
    def __init__(self) -> None:
        self._compiled: dict[str, Callable[..., list[Any]]] = {}

    def found(self, expression: str, resource: Any) -> Found:
        """(type or '', JSON) of what fhirpathpy finds."""
        for pattern, replacement, _ in REWRITTEN:
            expression = pattern.sub(replacement, expression)
        if expression not in self._compiled:
            self._compiled[expression] = compile_fhirpath(expression, models["r4"], OPTIONS)
        nodes = self._compiled[expression](resource, {"resource": resource})
        return {(type_name(node), as_text(getattr(node, "data", node))) for node in nodes}


def type_name(node: Any) -> str:
    info = node.get_type_info() if isinstance(node, ResourceNode) else None
    return info.name if info and info.namespace == "FHIR" else ""


def ours(paths: tuple[Path, ...], resource: Any) -> Found:
    return {
        (path.type, as_text(value))
        for path in paths
        for value in walk(path.steps, resource)
        if path.only is None or type_pointed_at(value) == path.only
    }


def agree(one: Found, other: Found) -> bool:
    """The same values, of the same types as far as fhirpathpy knows them."""
    types = dict.fromkeys(text for _, text in one)
    if {text for _, text in other} != set(types):
        return False
    known = {text: {type_ for type_, each in one if each == text} for text in types}
    return all(not type_ or type_ in known[text] or "Resource" in known[text] for type_, text in other)


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load()


def comparisons(definitions: Definitions) -> Iterator[tuple[str, str, str, Found, Found]]:
    """(example, type, parameter, ours, fhirpathpy's) for each example and each parameter of its type."""
    registry, compiler, oracle = Registry(definitions), Compiler(definitions), Oracle()
    expressions = {parameter.url: parameter.expression for parameter in definitions.search_parameters}
    for name, body in examples():
        resource = json.loads(body, parse_float=Decimal)
        type_ = resource["resourceType"]
        if type_ not in definitions.resource_types:
            continue
        for parameter in registry.parameters(type_).values():
            expression = expressions[parameter.url]
            if expression:
                found = ours(compiler.paths(type_, expression), resource)
                yield name, type_, parameter.code, found, oracle.found(expression, resource)


def test_paths_find_what_fhirpathpy_finds(definitions: Definitions) -> None:
    """All parameters with an expression, all examples; at least 1,100 parameters find something in some example."""
    differences, exercised = [], set()
    for name, type_, code, found, expected in comparisons(definitions):
        if found:
            exercised.add((type_, code))
        if not agree(found, expected):
            differences.append((name, code, sorted(found - expected)[:2], sorted(expected - found)[:2]))
    assert not differences, differences[:10]
    assert len(exercised) >= 1100


def test_no_parameter_of_r4_needs_the_fallback(definitions: Definitions) -> None:
    """Every expression of R4 is compiled, for every type that it speaks of, and finds typed values."""
    registry = Registry(definitions)
    untyped = [
        (type_, code)
        for type_ in definitions.resource_types
        for code, parameter in registry.parameters(type_).items()
        if any(path.type == "" for path in parameter.paths)
    ]
    assert untyped == []


# Parameters that have no index entries of their own, with the reason.
UNSEARCHABLE = {
    ("Resource", "_content"): "full text",
    ("Resource", "_filter"): "no expression",
    ("Resource", "_query"): "no expression",
    ("DomainResource", "_text"): "full text",
    ("Patient", "age"): "no expression",
    ("Patient", "birthOrderBoolean"): "no expression",
}


def test_every_parameter_is_searchable_or_listed(definitions: Definitions) -> None:
    registry = Registry(definitions)
    bases = {parameter.url: parameter.bases[0] for parameter in definitions.search_parameters}
    unsearchable = {
        (bases[parameter.url], code)
        for type_ in definitions.resource_types
        for code, parameter in registry.parameters(type_).items()
        if not parameter.is_searchable
    }
    assert unsearchable == set(UNSEARCHABLE)
