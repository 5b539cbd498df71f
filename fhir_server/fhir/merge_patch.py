"""JSON Merge Patch: an object laid over another; null takes a member away (RFC 7396)."""

from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest


def check(patch: Any) -> None:
    """Refuse what is no merge patch of a resource. Raises BadRequest."""
    if not isinstance(patch, dict):
        raise BadRequest("A JSON Merge Patch of a resource is an object.", code="structure")


def apply(patch: Any, value: Any) -> Any:
    """The value with the patch laid over it; `value` itself is left as it is (RFC 7396 §2)."""
    if not isinstance(patch, dict):
        return json.copy(patch)
    made = dict(value) if isinstance(value, dict) else {}
    for name, held in patch.items():
        if held is None:
            made.pop(name, None)
        else:
            made[name] = apply(held, made.get(name))
    return made
