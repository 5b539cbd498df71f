"""Ids and references: their grammar and how they are read (FHIR R4 references.html, datatypes.html#id)."""

import re
from dataclasses import dataclass
from functools import lru_cache

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?")


@dataclass(frozen=True, slots=True)
class LocalReference:
    """A reference to a resource of this server: `Type/id`, with a version where one is given."""

    type: str
    id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


def is_id(text: str) -> bool:
    """Whether `text` is a FHIR id."""
    return ID.fullmatch(text) is not None


@lru_cache(maxsize=8_192)
def local_reference(text: str, base_url: str = "") -> LocalReference | None:
    """The local target of a literal reference; None when it is contained, a URN, or of another server.

    `base_url` without a trailing slash: an absolute URL below it counts as local.
    """
    if base_url and text.startswith(base_url + "/"):
        text = text[len(base_url) + 1 :]
    match = _LOCAL.fullmatch(text)
    return LocalReference(*match.groups()) if match else None
