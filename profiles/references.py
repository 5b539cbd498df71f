"""The text of `Reference.reference` and what it may point at (FHIR R4 references.html#literal)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.fhir.reference import local_reference

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?\S+")


@dataclass(frozen=True, slots=True)
class Scope:
    """What references in one resource can reach.

    `contained`: id -> type of the resources that the outermost one contains. `is_contained`: `#` means the container.
    `is_transaction`: inside a transaction Bundle, where a search may stand for a reference (http.html#trules).
    """

    resource_types: frozenset[str]
    contained: Mapping[str, str]
    is_contained: bool = False
    is_transaction: bool = False


def fault(text: str, targets: frozenset[str], scope: Scope) -> str | None:
    """What is wrong with a reference, without quoting it; None when nothing is. No targets: any type will do."""
    if text.startswith("#"):
        return _contained_fault(text[1:], targets, scope)
    if local := local_reference(text):
        return _type_fault(local.type, targets, scope)
    if _ABSOLUTE.fullmatch(text):
        return None
    if scope.is_transaction and (conditional := _CONDITIONAL.fullmatch(text)):
        return _type_fault(conditional[1], targets, scope)
    return "write it as Type/id, as an absolute URL or urn:, or as # and the id of a contained resource"


def _contained_fault(id_: str, targets: frozenset[str], scope: Scope) -> str | None:
    if not id_:
        return None if scope.is_contained else "'#' alone is only for contained resources"
    if id_ not in scope.contained:
        return "there is no contained resource of that id"
    return _type_fault(scope.contained[id_], targets, scope)


def _type_fault(type_: str, targets: frozenset[str], scope: Scope) -> str | None:
    if type_ not in scope.resource_types:
        return "its type is not a resource type of R4"
    if targets and type_ not in targets:
        return f"it may point at {', '.join(sorted(targets))}, not at {type_}"
    return None
