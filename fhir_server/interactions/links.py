"""Links between the entries of a transaction, rewritten to the identities that the entries get.

What is replaced: references, and elements of type uri, url, oid and uuid, that are the fullUrl of an entry, and links
and images of narratives; canonicals are not (FHIR R4 http.html#trules). A relative reference is read against the
fullUrl of the entry that it stands in (bundle.html#references).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiles.elements import Elements

_RESTFUL = re.compile(r"(https?://.+?)/([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/.+)?")
_NARRATIVE_LINK = re.compile(r"""(\b(?:href|src)\s*=\s*)(["'])(.*?)\2""")
_REWRITTEN = frozenset({"uri", "url", "oid", "uuid"})


@dataclass(slots=True)
class Links:
    """`targets`: absolute fullUrl -> `Type/id`; `roots`: base of RESTful fullUrls -> relative URL -> `Type/id`."""

    elements: Elements
    targets: dict[str, str] = field(default_factory=dict)
    roots: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, full_url: str, target: str) -> None:
        """Have `full_url` lead to `target`."""
        self.targets[full_url] = target
        match = _RESTFUL.fullmatch(full_url)
        if match is not None:
            self.roots.setdefault(match[1], {})[match[2]] = target

    def rewritten(self, resource: dict[str, Any], full_url: str) -> dict[str, Any]:
        """A copy of the resource of an entry with its links replaced."""
        match = _RESTFUL.fullmatch(full_url)
        relative = self.roots.get(match[1], {}) if match is not None else {}
        return rewritten(resource, {**relative, **self.targets} if relative else self.targets, self.elements)


def rewritten(resource: dict[str, Any], replaced: Mapping[str, str], elements: Elements) -> dict[str, Any]:
    """A copy of a resource, whole as it was but for the links that are replaced."""
    rewriter = _Rewriter(replaced, elements)
    made: dict[str, Any] = rewriter.resource(resource)
    return made


class _Rewriter:
    def __init__(self, replaced: Mapping[str, str], elements: Elements) -> None:
        self._replaced, self._elements = replaced, elements

    def resource(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._object(value, str(value.get("resourceType")), ())

    def _object(self, value: dict[str, Any], type_: str, path: tuple[str, ...]) -> dict[str, Any]:
        return {name: self._value(name, held, type_, path) for name, held in value.items()}

    def _value(self, name: str, held: Any, type_: str, path: tuple[str, ...]) -> Any:
        kind = held.__class__
        if kind is str:
            if held in self._replaced and self._is_link(name, type_, path):
                return self._replaced[held]
            return self._narrative(held) if name == "div" else held
        if kind is dict:
            return self.resource(held) if "resourceType" in held else self._object(held, type_, (*path, name))
        if kind is list:
            return [self._value(name, item, type_, path) for item in held]
        return held

    def _is_link(self, name: str, type_: str, path: tuple[str, ...]) -> bool:
        if name == "reference":
            return True
        try:
            return self._elements.type_at(type_, (*path, name)) in _REWRITTEN
        except KeyError:  # of a type that there is not; the structural check says so
            return False

    def _narrative(self, div: str) -> str:
        if "href" not in div and "src" not in div:
            return div
        return _NARRATIVE_LINK.sub(lambda m: f"{m[1]}{m[2]}{self._replaced.get(m[3], m[3])}{m[2]}", div)


def conditional_references(resource: Any) -> set[str]:
    """The references in a resource that are searches, such as `Patient?identifier=1`."""
    found: set[str] = set()
    open_ = [resource]
    while open_:
        value = open_.pop()
        if value.__class__ is dict:
            text = value.get("reference")
            if text.__class__ is str and "?" in text and text[:1].isupper() and ":" not in text.partition("?")[0]:
                found.add(text)
            open_ += [held for held in value.values() if held.__class__ in (dict, list)]
        elif value.__class__ is list:
            open_ += [held for held in value if held.__class__ in (dict, list)]
    return found
