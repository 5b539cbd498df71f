"""The names that are this project's own: systems of tags and codes, and extensions on clinic configuration.

Tags of these systems are the server's: a client cannot set, change or remove one.
"""

from typing import Any

ROOT = "https://fhir-server.dev"
TAGS = f"{ROOT}/tags/"
SUBMITTER = f"{TAGS}submitter"  # who submitted a proposal: a client's id
IDENTITY = f"{TAGS}identity"  # `provisional` on a Patient whose identity nobody has verified
ORIGIN = f"{TAGS}origin"  # `foreign` on an imported AuditEvent
CARE = f"{TAGS}care"  # practitioners to whom somebody else tied the patients of a resource
BREAK_GLASS = f"{TAGS}break-glass"  # the practitioner for whom a Flag opens a patient's record
BOOKING = f"{TAGS}booking"  # `contested`, `held`, `offered`, `overdue`, `override`, `place-free`: what the server knows
CODES = f"{ROOT}/CodeSystem/"
BOOKING_RULES = f"{ROOT}/StructureDefinition/booking-rules"
EXPIRES = f"{ROOT}/StructureDefinition/proposal-expires"  # when a proposal that nobody decided on ends
REVIEW_DUE = f"{ROOT}/StructureDefinition/review-due"  # until when the clinic wants a proposal decided on
BUFFERS = f"{ROOT}/StructureDefinition/booking-buffers"  # minutes kept free around a booked appointment
OVERRIDE = f"{ROOT}/StructureDefinition/conflict-override"  # why a provider books in spite of a conflict
OCCUPIES = f"{ROOT}/StructureDefinition/occupied-actors"  # whose time an import takes beside its participants'
INTAKE = f"{ROOT}/StructureDefinition/intake-questionnaire"  # on a service: a form to fill in before the visit
REASON = f"{ROOT}/StructureDefinition/service-reason"  # on a service: what it is for
PREPARATION = f"{ROOT}/StructureDefinition/preparation"  # on a service: how to prepare for the visit
_SERVERS_EXTENSIONS = (EXPIRES, REVIEW_DUE, BUFFERS, OCCUPIES)


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


def extension(resource: dict[str, Any], url: str) -> dict[str, Any] | None:
    """The first extension of a resource by its URL."""
    return next((each for each in resource.get("extension", ()) if each.get("url") == url), None)


def set_extension(resource: dict[str, Any], url: str, value: dict[str, Any] | None) -> None:
    """Make a resource's one extension of this URL `value`, without it when that is None."""
    kept = [each for each in resource.get("extension", ()) if each.get("url") != url]
    kept += [{"url": url, **value}] if value is not None else []
    if kept:
        resource["extension"] = kept
    else:
        resource.pop("extension", None)


def keep_extensions(resource: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Make the server's extensions those that the resource had before, whatever a client sent."""
    for url in _SERVERS_EXTENSIONS:
        had = extension(before or {}, url)
        if had is not None or extension(resource, url) is not None:
            value = {name: part for name, part in had.items() if name != "url"} if had is not None else None
            set_extension(resource, url, value)


def tag(resource: dict[str, Any], system: str, code: str, *, on: bool = True) -> None:
    """Set or remove one of the server's tags."""
    tags = [each for each in own_tags(resource) if (each.get("system"), each.get("code")) != (system, code)]
    set_tags(resource, [*tags, {"system": system, "code": code}] if on else tags)


def set_tags(resource: dict[str, Any], tags: list[dict[str, Any]]) -> None:
    """Make `tags` the server's tags on a resource, keeping those that are the clients'."""
    meta = resource.setdefault("meta", {})
    kept = [tag for tag in meta.get("tag", []) if not is_own_tag(tag)] + tags
    if kept:
        meta["tag"] = kept
    else:
        meta.pop("tag", None)
