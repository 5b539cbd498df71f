"""References, canonicals and URIs as index entries (FHIR R4 search.html#reference, #uri)."""

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.search.collected import Collected


def target(text: str, base_url: str = "") -> tuple[str, str] | None:
    """(type, id) of a literal reference: ('', URL) when it is not local, None when it points at nothing outside."""
    if text.startswith("#"):
        return None
    local = local_reference(text, base_url)
    if local:
        return local.type, local.id
    return ("", text.partition("/_history/")[0]) if ":" in text else None


def all_targets(resource: Any, base_url: str) -> Iterator[tuple[str, str]]:
    """(type, id) of every local resource that a resource refers to, wherever it does."""
    open_ = [resource]
    while open_:
        value = open_.pop()
        if isinstance(value, dict):
            text = value.get("reference")
            local = local_reference(text, base_url) if isinstance(text, str) else None
            if local is not None:
                yield local.type, local.id
            open_ += [held for held in value.values() if isinstance(held, dict | list)]
        elif isinstance(value, list):
            open_ += value


def reference(value: dict[str, Any], param: str, only: str | None, out: Collected) -> None:
    """A reference by its target, and by its identifier; skipped when it must point at another type."""
    text = value.get("reference")
    found = target(text, out.base_url) if text else None
    if only is not None and only != (_type_of(text, out.contained) if text else None) and value.get("type") != only:
        return
    if found:
        out.reference[(param, *found)] = None
    if "identifier" in value:
        identifier = value["identifier"]
        out.token[(param, identifier.get("value", ""), identifier.get("system", ""))] = None
    elif not found:
        out.unentered[param] = None


def _type_of(text: str, contained: Mapping[str, str]) -> str | None:
    """The type that a literal reference's text names, of this server or of another, or has within the resource."""
    if text[0] == "#":
        return contained.get(text[1:])
    parts = text.partition("/_history/")[0].rsplit("/", 2)
    return parts[-2] if len(parts) > 1 else None


def inlined(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A resource inside another, as if it were referred to."""
    if "id" in value and isinstance(value.get("resourceType"), str):
        local = LocalReference(value["resourceType"], value["id"])
        out.reference[(param, local.type, local.id)] = None
    else:
        out.unentered[param] = None


def uri(value: str, param: str, _: Any, out: Collected) -> None:
    """A URI as it is."""
    out.uri[(param, value)] = None


def canonical(value: str, param: str, only: str | None, out: Collected) -> None:
    """A canonical URL with and without its version."""
    url, bar, _ = value.partition("|")
    if only is not None and _type_of(url, out.contained) != only:
        return
    if value.startswith("#"):
        out.unentered[param] = None
        return
    out.uri[(param, value)] = None
    if bar:
        out.uri[(param, url)] = None
