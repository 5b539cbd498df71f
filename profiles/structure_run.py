"""One run of the structural check: where it stands, and what it found."""

import re
from typing import Any

from fhir_server.fhir.outcome import Issue
from profiles.references import Scope

# The place of an element: the place of its parent, its name, its index when it repeats.
Where = tuple[Any, str, int | None]

MAX_ISSUES = 100
_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")


class Run:
    """The issues found so far, and what references of the resource at hand can reach."""

    __slots__ = ("issues", "scope")

    def __init__(self, scope: Scope, issues: list[Issue] | None = None) -> None:
        self.scope = scope
        self.issues: list[Issue] = [] if issues is None else issues

    def within(self, scope: Scope) -> "Run":
        """The same run inside another resource."""
        return Run(scope, self.issues)

    def add(self, code: str, where: Where, diagnostics: str) -> None:
        """Notes an issue; past MAX_ISSUES only that there are more."""
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(code, diagnostics, path(where)))
        elif len(self.issues) == MAX_ISSUES:
            self.issues.append(Issue("too-costly", f"There are more than {MAX_ISSUES} issues.", severity="information"))


def path(where: Where) -> str:
    """The place as FHIRPath with indices."""
    parts: list[str] = []
    at: Where | None = where
    while at is not None:
        parent, name, index = at
        parts.append(name if index is None else f"{name}[{index}]")
        at = parent
    return ".".join(reversed(parts))


def shown(name: str) -> str:
    """A property name as it may be repeated to the caller: only when it looks like one."""
    return f"'{name}'" if _NAME.fullmatch(name) else "of another form than FHIR's names"


def kind(value: Any) -> str:
    """The JSON type of a value, for diagnostics."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return "a number"
