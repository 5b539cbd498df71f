"""The resources in a Bundle, ready to be stored one by one (FHIR R4 bundle.html, http.html#trules).

An entry under a `urn:uuid:` or `urn:oid:` gets that UUID as its id where it has none, and what refers to it by the URN
refers to it by type and id from then on. Bundles of type document and message are whole as they are.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fhir_server.fhir.reference import is_id

UNPACKED = frozenset({"transaction", "batch", "collection", "searchset", "history"})
Resource = dict[str, Any]


def is_unpacked(resource: Any) -> bool:
    """Whether a resource is a Bundle that only carries others."""
    return isinstance(resource, dict) and resource.get("resourceType") == "Bundle" and resource.get("type") in UNPACKED


def entries(bundle: Resource) -> Iterator[tuple[int, Resource | None]]:
    """(number of the entry from 0, its resource), a history's oldest first; None where an entry carries none."""
    found = [(number, entry) for number, entry in enumerate(bundle.get("entry", ())) if isinstance(entry, dict)]
    targets = _targets(entry for _, entry in found)
    is_history = bundle.get("type") == "history"
    for number, entry in reversed(found) if is_history else found:
        resource = entry.get("resource")
        if isinstance(resource, dict):
            yield number, _pointed(resource, targets)
        elif not is_history:  # a deletion in a history has no resource
            yield number, None


def _targets(found: Iterable[Resource]) -> dict[str, str]:
    """URN -> type and id of the entry under it; gives ids to the resources that have none."""
    targets = {}
    for entry in found:
        urn, resource = entry.get("fullUrl"), entry.get("resource")
        if not isinstance(urn, str) or not urn.startswith("urn:") or not isinstance(resource, dict):
            continue
        tail = urn.rpartition(":")[2]
        if "id" not in resource and is_id(tail):
            resource["id"] = tail
        if isinstance(resource.get("id"), str) and isinstance(resource.get("resourceType"), str):
            targets[urn] = f"{resource['resourceType']}/{resource['id']}"
    return targets


def _pointed(value: Any, targets: dict[str, str]) -> Any:
    """A copy in which every URN of the Bundle is the type and id that it stands for."""
    match value:
        case dict():
            return {name: _pointed(child, targets) for name, child in value.items()}
        case list():
            return [_pointed(child, targets) for child in value]
        case str() if value.startswith("urn:"):
            head, mark, fragment = value.partition("#")
            return targets[head] + mark + fragment if head in targets else value
        case _:
            return value
