"""SMART scopes, v1 and v2: their grammar, and which scopes a registration covers.

Source: SMART App Launch 2.2.0 scopes-and-launch-context; RFC 6749 §3.3.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import parse_qsl

from smart_auth.errors import InvalidScope

Level = Literal["patient", "user", "system"]
LETTERS = "cruds"
V1 = {"read": "rs", "write": "cud", "*": "cruds"}
URI_FORM = "http://smarthealthit.org/fhir/scopes/"
PLAIN = frozenset({
    "openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access",
})  # fmt: skip
MAX_SCOPES = 200

_RESOURCE = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]*|\*)\.([a-z]+|\*)(?:\?(.+))?")
_LAUNCH = re.compile(r"launch/[a-z]+(?:\?role=[!-~]+)?")
_IN_ORDER = re.compile(r"(?=.)c?r?u?d?s?")
# RFC 6749 §3.3: printable ASCII but `"` and `\`.
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,512}")


@dataclass(frozen=True, slots=True)
class Scope:
    """A resource scope: `letters` of `type` ('*': every type), narrowed by `query` pairs. `text` is as written."""

    level: Level
    type: str
    letters: frozenset[str]
    query: tuple[tuple[str, str], ...]
    text: str


@dataclass(frozen=True, slots=True)
class PlainScope:
    """A scope that grants no resource: `openid`, `launch/patient`, …"""

    text: str


AnyScope = Scope | PlainScope


def parse(text: str) -> AnyScope:
    """One scope. Raises InvalidScope for what the grammar does not have, letters out of order among it."""
    if _SCOPE_TOKEN.fullmatch(text) is None:
        raise InvalidScope("A scope holds characters that RFC 6749 section 3.3 does not allow, or is too long.")
    bare = text.removeprefix(URI_FORM)
    if bare in PLAIN or _LAUNCH.fullmatch(bare):
        return PlainScope(text)
    match = _RESOURCE.fullmatch(bare)
    if match is None:
        raise InvalidScope(f"The scope '{text}' is none that this server knows.")
    level, type_, permissions, query = match.groups()
    return Scope(cast(Level, level), type_, _letters(permissions, text), _query(permissions, query, text), text)


def parse_all(text: str, types: Collection[str] | None = None) -> tuple[AnyScope, ...]:
    """The scopes of a space-separated list, each once, in order; of known resource `types` where they are given.

    Raises InvalidScope.
    """
    words = tuple(dict.fromkeys(word for word in text.split(" ") if word))
    if len(words) > MAX_SCOPES:
        raise InvalidScope(f"More than {MAX_SCOPES} scopes.")
    scopes = tuple(parse(word) for word in words)
    for scope in scopes:
        if isinstance(scope, Scope) and scope.type != "*" and types is not None and scope.type not in types:
            raise InvalidScope(f"The scope '{scope.text}' names a resource type that this server does not have.")
    return scopes


def covers(registered: Iterable[AnyScope], requested: AnyScope) -> bool:
    """Whether `registered` allows all of `requested`: the same level, its type, each letter, no wider query."""
    if isinstance(requested, PlainScope):
        return requested.text.removeprefix(URI_FORM) in {
            scope.text.removeprefix(URI_FORM) for scope in registered if isinstance(scope, PlainScope)
        }
    wanted = set(requested.query)
    allowed: set[str] = set()
    for scope in registered:
        if (
            isinstance(scope, Scope)
            and scope.level == requested.level
            and scope.type in ("*", requested.type)
            and wanted >= set(scope.query)
        ):
            allowed |= scope.letters
    return requested.letters <= allowed


def require_covered(registered: Sequence[AnyScope], requested: Iterable[AnyScope]) -> None:
    """Raises InvalidScope naming the first requested scope beyond the registered ones."""
    for scope in requested:
        if not covers(registered, scope):
            raise InvalidScope(f"The scope '{scope.text}' is beyond what this client is registered for.")


def _letters(permissions: str, text: str) -> frozenset[str]:
    if permissions in V1:
        return frozenset(V1[permissions])
    if _IN_ORDER.fullmatch(permissions) is None:
        raise InvalidScope(f"The permissions of '{text}' must be letters of '{LETTERS}', in that order, or "
                           "read, write or *.")  # fmt: skip
    return frozenset(permissions)


def _query(permissions: str, query: str | None, text: str) -> tuple[tuple[str, str], ...]:
    if query is None:
        return ()
    if permissions in V1:
        raise InvalidScope(f"The scope '{text}' joins version 1 permissions with a query; only version 2 has one.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError as error:
        raise InvalidScope(f"The query part of '{text}' must be param=value, joined by '&'.") from error
    if not all(name and value for name, value in pairs):
        raise InvalidScope(f"The query part of '{text}' must be param=value, joined by '&'.")
    return tuple(pairs)
