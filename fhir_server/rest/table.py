"""The table of interactions: everything that a caller can do with a clinic's FHIR base, a row each.

Routing, the CapabilityStatement, access, audit and the matrix of tests all read this one table.
A path's shape has `{type}`, `{id}` and `{version}` for what varies; a row with a type of its own goes before one
with `{type}`. `letter` is the SMART scope letter asked for (`` for none), `action` the audit's (`` for no audit).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.audit import log
from fhir_server.interactions import create, delete, history, patch, read, search_type, update, vread
from fhir_server.interactions.interaction import Interaction
from fhir_server.rest import capabilities

TABLE: tuple[Interaction, ...] = (
    Interaction("capabilities", "GET", "metadata", "", "", capabilities.handle, is_quick=True),
    Interaction("read", "GET", "AuditEvent/{id}", "r", "R", log.read),
    Interaction("search-type", "GET", "AuditEvent", "s", "E", log.search),
    Interaction("search-type", "POST", "AuditEvent/_search", "s", "E", log.search, "form"),
    Interaction("read", "GET", "{type}/{id}", "r", "R", read.handle, is_quick=True),
    Interaction("vread", "GET", "{type}/{id}/_history/{version}", "r", "R", vread.handle, is_quick=True),
    Interaction("create", "POST", "{type}", "c", "C", create.handle, "resource"),
    Interaction("update", "PUT", "{type}/{id}", "u", "U", update.handle, "resource"),
    Interaction("patch", "PATCH", "{type}/{id}", "u", "U", patch.handle, "patch"),
    Interaction("delete", "DELETE", "{type}/{id}", "d", "D", delete.handle),
    Interaction("search-type", "GET", "{type}", "s", "E", search_type.handle),
    Interaction("search-type", "POST", "{type}/_search", "s", "E", search_type.handle, "form"),
    Interaction("history-instance", "GET", "{type}/{id}/_history", "r", "R", history.handle),
    Interaction("history-type", "GET", "{type}/_history", "s", "R", history.handle),
    Interaction("history-system", "GET", "_history", "", "R", history.handle),
)

# Types that only the rows of their own serve.
OWN_ROWS = frozenset({"AuditEvent"})


@dataclass(frozen=True, slots=True)
class Found:
    """The row for a path, with what varies in it."""

    interaction: Interaction
    type: str = ""
    id: str = ""
    version: str = ""


class Router:
    """Finds the row for a method and the segments of a path below the base."""

    def __init__(self, table: Sequence[Interaction] = TABLE) -> None:
        self._rows: dict[tuple[str, str], Interaction] = {}
        self._methods: dict[str, list[str]] = {}
        for row in table:
            shape = row.path.replace("{type}", "{}").replace("{id}", "{}").replace("{version}", "{}")
            self._rows.setdefault((row.method, shape), row)
            self._methods.setdefault(shape, []).append(row.method)

    def find(self, method: str, segments: tuple[str, ...]) -> Found | None:
        """The row and its variables; None when the method has no row at this path."""
        for shape in _shapes(segments):
            row = self._rows.get((method, shape))
            if row is not None:
                has_type = row.path[:1] not in ("", "_", "$") and segments[0] != "metadata"
                return Found(row, segments[0] if has_type else "", *_variables(segments))
        return None

    def methods(self, segments: tuple[str, ...]) -> list[str]:
        """The methods that have a row at this path; none when the path means nothing."""
        return [method for shape in _shapes(segments) for method in self._methods.get(shape, [])]


def _shapes(segments: tuple[str, ...]) -> list[str]:
    """The path as the rows of a type of its own have it, then as the rows of any type do."""
    varying = ["{}" if part[:1] not in ("_", "$") else part for part in segments]
    if segments[:1] == ("metadata",):  # as an id it is one like any other
        varying[0] = "metadata"
    own = "/".join((*segments[:1], *varying[1:]))
    return [own] if segments and segments[0] in OWN_ROWS else [own, "/".join(varying)]


def _variables(segments: tuple[str, ...]) -> tuple[str, str]:
    id_ = segments[1] if len(segments) > 1 and segments[1][:1] not in ("_", "$") else ""
    return id_, segments[3] if len(segments) > 3 else ""
