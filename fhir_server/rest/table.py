"""The table of interactions: everything that a caller can do with a clinic's FHIR base, a row each.

Routing, the CapabilityStatement, access, audit and the matrix of tests all read this one table.
A path's shape has `{type}`, `{id}`, `{version}` and `{other}` for what varies; a row with a type of its own goes before
one with `{type}`. `letter` is the SMART scope letter asked for (`` for none), `action` the audit's (`` for no audit).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.audit import disclosures, log, proof
from fhir_server.booking.operations import table as operations
from fhir_server.interactions import (
    batch,
    conditional,
    create,
    delete,
    history,
    patch,
    read,
    search_many,
    search_type,
    transaction,
    update,
    vread,
)
from fhir_server.interactions.interaction import Interaction
from fhir_server.interactions.operations import convert, everything, explain, jobs, meta, reindex, validate
from fhir_server.rest import capabilities
from smart_auth.surfaces import explain as access_explain

TABLE: tuple[Interaction, ...] = (
    Interaction("capabilities", "GET", "metadata", "", "E", capabilities.handle, is_quick=True),
    Interaction("read", "GET", "AuditEvent/{id}", "r", "R", log.read),
    Interaction("operation", "GET", "AuditEvent/{id}/$proof", "r", "E", proof.handle),
    Interaction("operation", "GET", "Patient/{id}/$accounting-of-disclosures", "", "E", disclosures.accounting),
    Interaction("operation", "GET", "Patient/{id}/$who-looked", "", "E", disclosures.page, format="text/html"),
    Interaction("create", "POST", "AuditEvent", "c", "C", create.handle, "resource"),
    Interaction("search-type", "GET", "AuditEvent", "s", "E", log.search),
    Interaction("search-type", "POST", "AuditEvent/_search", "s", "E", log.search, "form"),
    Interaction("read", "GET", "{type}/{id}", "r", "R", read.handle, is_quick=True),
    Interaction("vread", "GET", "{type}/{id}/_history/{version}", "r", "R", vread.handle, is_quick=True),
    Interaction("create", "POST", "{type}", "c", "C", create.handle, "resource"),
    Interaction("update", "PUT", "{type}/{id}", "u", "U", update.handle, "resource"),
    Interaction("patch", "PATCH", "{type}/{id}", "u", "U", patch.handle, "patch"),
    Interaction("delete", "DELETE", "{type}/{id}", "d", "D", delete.handle),
    Interaction("update", "PUT", "{type}", "u", "U", conditional.update, "resource"),
    Interaction("patch", "PATCH", "{type}", "u", "U", conditional.patch, "patch"),
    Interaction("delete", "DELETE", "{type}", "d", "D", conditional.delete),
    Interaction("search-type", "GET", "{type}", "s", "E", search_type.handle),
    Interaction("search-type", "POST", "{type}/_search", "s", "E", search_type.handle, "form"),
    Interaction("search-system", "GET", "", "", "E", search_many.system),
    Interaction("search-system", "POST", "_search", "", "E", search_many.system, "form"),
    Interaction("search-compartment", "GET", "{type}/{id}/{other}", "", "E", search_many.compartment),
    Interaction("search-compartment", "POST", "{type}/{id}/{other}/_search", "", "E", search_many.compartment, "form"),
    Interaction("history-instance", "GET", "{type}/{id}/_history", "r", "R", history.handle),
    Interaction("history-type", "GET", "{type}/_history", "s", "R", history.handle),
    Interaction("history-system", "GET", "_history", "", "R", history.handle),
    Interaction("operation", "GET", "{type}/{id}/$meta", "r", "R", meta.read, is_quick=True),
    Interaction("operation", "GET", "{type}/{id}/_history/{version}/$meta", "r", "R", meta.read, is_quick=True),
    Interaction("operation", "POST", "{type}/{id}/$meta", "r", "R", meta.read, "parameters"),
    Interaction("operation", "POST", "{type}/{id}/_history/{version}/$meta", "r", "R", meta.read, "parameters"),
    Interaction("operation", "POST", "{type}/{id}/$meta-add", "u", "U", meta.add, "parameters"),
    Interaction("operation", "POST", "{type}/{id}/$meta-delete", "u", "U", meta.delete, "parameters"),
    Interaction("operation", "GET", "Patient/{id}/$everything", "r", "R", everything.handle),
    Interaction("operation", "GET", "Encounter/{id}/$everything", "r", "R", everything.handle),
    Interaction("operation", "POST", "Patient/{id}/$everything", "r", "R", everything.handle, "parameters"),
    Interaction("operation", "POST", "Encounter/{id}/$everything", "r", "R", everything.handle, "parameters"),
    Interaction("operation", "POST", "{type}/$validate", "r", "E", validate.handle, "any"),
    Interaction("operation", "POST", "{type}/{id}/$validate", "r", "E", validate.handle, "any"),
    Interaction("operation", "GET", "{type}/$explain", "", "E", explain.handle),
    Interaction("operation", "POST", "$convert", "", "E", convert.handle, "any"),
    Interaction("operation", "GET", "$access-explain", "", "E", access_explain.handle),
    Interaction("operation", "POST", "$reindex", "", "E", None, "parameters", outside=reindex.handle),
    Interaction("operation", "GET", "_async/{id}", "", "E", jobs.poll, is_quick=True),
    Interaction("operation", "DELETE", "_async/{id}", "", "D", jobs.cancel),
    Interaction("transaction", "POST", "", "", "", transaction.handle, "bundle", prepare=transaction.prepare),
    Interaction("batch", "POST", "", "", "", None, "bundle", outside=batch.handle),
    *operations.ROWS,
)

# Types that only the rows of their own serve.
OWN_ROWS = frozenset({"AuditEvent"})


@dataclass(slots=True, unsafe_hash=True)  # made for every request: frozen ones take long to make
class Found:
    """The row for a path, with what varies in it."""

    interaction: Interaction
    type: str = ""
    id: str = ""
    version: str = ""
    other: str = ""


# What a part of a path begins with that is no id and no type.
_FIXED = ("_", "$")
_MOST_KNOWN = 4_096


class Router:
    """Finds the row for a method and the segments of a path below the base."""

    def __init__(self, table: Sequence[Interaction] = TABLE) -> None:
        self._rows: dict[tuple[str, str], tuple[Interaction, tuple[int, ...]]] = {}
        self._methods: dict[str, list[str]] = {}
        self._table = table
        self._known: dict[tuple[str, ...], tuple[Interaction, tuple[int, ...]]] = {}
        for row in table:
            parts = tuple(row.path.split("/")) if row.path else ()
            shape = "/".join("{}" if part[0] == "{" else part for part in parts)
            self._rows.setdefault((row.method, shape), (row, _places(parts)))
            self._methods.setdefault(shape, []).append(row.method)

    def find(self, method: str, segments: tuple[str, ...]) -> Found | None:
        """The row and its variables; None when the method has no row at this path."""
        # Paths that differ in what varies alone have one row: it is looked for once.
        alike = (method, *segments[:1], *[part if part[:1] in _FIXED else "" for part in segments[1:]])
        entry = self._known.get(alike)
        if entry is None:
            entries = (self._rows.get((method, shape)) for shape in _shapes(segments))
            entry = next((each for each in entries if each is not None), None)
            if entry is None:
                return None
            if len(self._known) < _MOST_KNOWN:
                self._known[alike] = entry
        row, (type_, id_, version, other) = entry
        parts = (*segments, "")
        return Found(row, parts[type_], parts[id_], parts[version], parts[other])

    def methods(self, segments: tuple[str, ...]) -> list[str]:
        """The methods that have a row at this path; none when the path means nothing."""
        return [method for shape in _shapes(segments) for method in self._methods.get(shape, [])]

    def named(self, name: str, path: str) -> Interaction | None:
        """The row of a name at a path."""
        return next((row for row in self._table if (row.name, row.path) == (name, path)), None)


def _places(parts: tuple[str, ...]) -> tuple[int, ...]:
    """Where in a path's segments what varies stands; -1 for what does not."""
    names = [part[1:-1] if part[0] == "{" else "type" if part[0].isupper() else "" for part in parts]
    return tuple(names.index(name) if name in names else -1 for name in ("type", "id", "version", "other"))


def _shapes(segments: tuple[str, ...]) -> list[str]:
    """The path as the rows of a type of its own have it, then as the rows of any type do."""
    varying = ["{}" if part[:1] not in _FIXED else part for part in segments]
    if segments[:1] == ("metadata",):  # as an id it is one like any other
        varying[0] = "metadata"
    own = "/".join((*segments[:1], *varying[1:]))
    return [own] if segments and segments[0] in OWN_ROWS else [own, "/".join(varying)]
