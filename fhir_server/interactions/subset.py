"""_summary and _elements: a resource with some of its elements (FHIR R4 search.html#summary, #elements)."""

from collections.abc import Iterable
from typing import Any

from fhir_server.interactions.visibility import narrow
from fhir_server.search.parse import SearchRequest
from profiles.definitions import Definitions


def of(resource: dict[str, Any], request: SearchRequest, definitions: Definitions) -> dict[str, Any]:
    """What the request asks to see of a resource, marked as a subset; mandatory elements are always there."""
    match request.summary:
        case "true":
            return narrow(resource, _properties(resource, _summarised(resource, definitions), definitions))
        case "text":
            return narrow(resource, _properties(resource, {"text"}, definitions))
        case "data":
            return narrow(resource, frozenset(resource) - {"text"})
        case _:
            return narrow(resource, _properties(resource, request.elements, definitions))


def _summarised(resource: dict[str, Any], definitions: Definitions) -> set[str]:
    type_ = resource["resourceType"]
    return {element.name for element in definitions.types[type_].children(type_) if element.is_summary}


def _properties(resource: dict[str, Any], names: Iterable[str], definitions: Definitions) -> frozenset[str]:
    """The properties of the named elements and of the mandatory ones; a choice's property carries its type."""
    type_ = resource["resourceType"]
    wanted = definitions.mandatory_elements(type_).union(names)
    choices = tuple(
        element.name
        for element in definitions.types[type_].children(type_)
        if element.path.endswith("[x]") and element.name in wanted
    )
    chosen = (
        name
        for name in resource
        if any(name.startswith(choice) and name[len(choice) : len(choice) + 1].isupper() for choice in choices)
    )
    return wanted.union(chosen)
