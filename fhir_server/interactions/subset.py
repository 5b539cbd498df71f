"""_summary and _elements: a resource with some of its elements (FHIR R4 search.html#summary, #elements)."""

from typing import Any

from fhir_server.interactions.visibility import narrow
from fhir_server.search.parse import SearchRequest
from profiles.definitions import Definitions


def of(resource: dict[str, Any], request: SearchRequest, definitions: Definitions) -> dict[str, Any]:
    """What the request asks to see of a resource, marked as a subset; mandatory elements are always there."""
    type_ = resource["resourceType"]
    mandatory = definitions.mandatory_elements(type_)
    match request.summary:
        case "true":
            return narrow(resource, definitions.summary_elements(type_) | mandatory)
        case "text":
            return narrow(resource, mandatory | {"text"})
        case "data":
            return narrow(resource, frozenset(resource) - {"text"})
        case _:
            return narrow(resource, frozenset(request.elements) | mandatory)
