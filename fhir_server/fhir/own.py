"""The names that are this project's own: systems of tags and codes, and extensions on clinic configuration.

Tags of these systems are the server's: a client cannot set, change or remove one.
"""

from typing import Any

ROOT = "https://fhir-server.dev"
TAGS = f"{ROOT}/tags/"
SUBMITTER = f"{TAGS}submitter"  # who submitted a proposal: a client's id
IDENTITY = f"{TAGS}identity"  # `provisional` on a Patient whose identity nobody has verified
ORIGIN = f"{TAGS}origin"  # `foreign` on an imported AuditEvent
BOOKING = f"{TAGS}booking"  # `contested`, `held`: what the server knows of a proposal
CODES = f"{ROOT}/CodeSystem/"
BOOKING_RULES = f"{ROOT}/StructureDefinition/booking-rules"


def is_own_tag(coding: Any) -> bool:
    """Whether a tag is of a system that only the server writes."""
    return isinstance(coding, dict) and str(coding.get("system", "")).startswith(TAGS)


def own_tags(resource: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The server's tags on a resource."""
    tags = (resource or {}).get("meta", {}).get("tag", [])
    return [tag for tag in tags if is_own_tag(tag)]


def has_tag(resource: dict[str, Any] | None, system: str, code: str) -> bool:
    """Whether a resource carries a tag."""
    return any(tag.get("system") == system and tag.get("code") == code for tag in own_tags(resource))


def set_tags(resource: dict[str, Any], tags: list[dict[str, Any]]) -> None:
    """Make `tags` the server's tags on a resource, keeping those that are the clients'."""
    meta = resource.setdefault("meta", {})
    kept = [tag for tag in meta.get("tag", []) if not is_own_tag(tag)] + tags
    if kept:
        meta["tag"] = kept
    else:
        meta.pop("tag", None)
