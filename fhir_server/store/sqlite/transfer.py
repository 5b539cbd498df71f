"""One side of a migration in files: a clinic's tables as the rows that every store has (`store/migrate.py`).

A chain of the audit log is a file: `c` in the clinic's own, every other, `r…`, in `audit-….db`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from fhir_server.store.migrate import Order, Part, Row
from fhir_server.store.sqlite.entries import INSERT, insert, row_of
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, CLINIC_MIGRATIONS, connect
from fhir_server.store.sqlite.store import SqliteStore

# The values of each shape as entries have them, as columns of its table.
_VALUES = {
    "token": "code, system",
    "string": "folded, exact",
    "date": "lo, hi",
    "number": "lo, hi",
    "quantity": "unit, lo, hi",
    "reference": "type, id",
    "uri": "value",
}
_SELECT = {
    "resource": "SELECT type, id, key, version, updated, patients, body FROM resource "
    "WHERE (type, id) > (?, ?) ORDER BY type, id LIMIT ?",
    "history": "SELECT type, id, version, key, updated, method, patients, body FROM history "
    "WHERE (type, id, version) > (?, ?, ?) ORDER BY type, id, version LIMIT ?",
    "kept": "SELECT kind, name, value, expires FROM kept WHERE (kind, name) > (?, ?) ORDER BY kind, name LIMIT ?",
}
_FIRST: dict[str, Order] = {"resource": ("", ""), "history": ("", "", 0), "kept": ("", "")}


class SqliteSide:
    """A data folder to copy from or to; the store over it is closed by whoever opened it."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self._folder, self._store = folder, store

    async def tenants(self) -> Sequence[str]:
        """The clinics that it has."""
        return await self._store.tenants()

    async def make_tenant(self, tenant: str) -> None:
        """Make a clinic, unless it is there."""
        if not self._store.has(tenant):
            await self._store.create_tenant(tenant)

    async def rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        """The next rows of a part in its order."""
        if part == "audit":
            return self._audit_rows(tenant, after or ("", 0), count)
        with self._open(tenant, "c") as connection:
            found = connection.execute(_SELECT[part], (*(after or _FIRST[part]), count)).fetchall()
            return [_row(connection, part, each) for each in found]

    async def replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        """Remove some rows and write others, in one transaction of each file."""
        chains = sorted({str(row.order[0]) for row in (*gone, *rows)}) if part == "audit" else ["c"]
        for chain in chains:
            with self._open(tenant, chain) as connection, connection:
                for row in gone:
                    if part != "audit" or row.order[0] == chain:
                        _remove(connection, part, row)
                for row in rows:
                    if part != "audit" or row.order[0] == chain:
                        _remove(connection, part, row)
                        _write(connection, part, row)

    def _audit_rows(self, tenant: str, after: Order, count: int) -> list[Row]:
        names = [f"r{path.stem.removeprefix('audit-')}" for path in (self._path(tenant)).glob("audit-*.db")]
        rows: list[Row] = []
        for chain in sorted(("c", *names)):
            if chain < after[0] or len(rows) >= count:
                continue
            number = after[1] if chain == after[0] else 0
            with self._open(tenant, chain) as connection:
                sql = "SELECT number, recorded, body, hash FROM audit WHERE number > ? ORDER BY number LIMIT ?"
                for entry, *values in connection.execute(sql, (number, count - len(rows))).fetchall():
                    query = "SELECT kind, value FROM audit_found WHERE recorded = ? AND number = ?"
                    found = sorted(connection.execute(query, (values[0], entry)).fetchall())
                    rows.append(Row((chain, entry), (*values, tuple(found))))
        return rows

    def _path(self, tenant: str) -> Path:
        return self._folder / "tenants" / tenant

    @contextmanager
    def _open(self, tenant: str, chain: str) -> Iterator[apsw.Connection]:
        name, migrations = ("clinic.db", CLINIC_MIGRATIONS)
        if chain != "c":
            name, migrations = (f"audit-{chain.removeprefix('r')}.db", AUDIT_MIGRATIONS)
        connection = connect(self._path(tenant) / name, migrations)
        try:
            yield connection
        finally:
            connection.close()


def _row(connection: apsw.Connection, part: Part, found: Any) -> Row:
    match part:
        case "resource":
            type_, id_, key, *head, patients, body = found
            return Row((type_, id_), (key, *head, tuple(patients.split()), body, tuple(_entries(connection, key))))
        case "history":
            *order, key, updated, method, patients, body = found
            return Row(tuple(order), (key, updated, method, tuple(patients.split()), body))
    return Row(tuple(found[:2]), tuple(found[2:]))


def _entries(connection: apsw.Connection, key: int) -> list[tuple[str, tuple[Any, ...]]]:
    return sorted(
        (shape, tuple(values))
        for shape, columns in _VALUES.items()
        for values in connection.execute(f"SELECT param, {columns} FROM {shape} WHERE key = ?", (key,)).fetchall()
    )


def _remove(connection: apsw.Connection, part: Part, row: Row) -> None:
    match part:
        case "resource":
            key = "(SELECT key FROM resource WHERE type = ? AND id = ?)"
            for table in (*_VALUES, "resource"):
                connection.execute(f"DELETE FROM {table} WHERE key = {key}", row.order)
        case "history":
            connection.execute("DELETE FROM history WHERE (type, id, version) = (?, ?, ?)", row.order)
        case "kept":
            connection.execute("DELETE FROM kept WHERE (kind, name) = (?, ?)", row.order)
        case "audit":
            number = row.order[1]
            connection.execute("DELETE FROM audit WHERE number = ?", (number,))
            connection.execute("DELETE FROM audit_found WHERE recorded = ? AND number = ?", (row.values[0], number))


def _write(connection: apsw.Connection, part: Part, row: Row) -> None:
    match part:
        case "resource":
            (type_, id_), (key, version, updated, patients, body, entries) = row.order, row.values
            head = "INSERT INTO resource (key, type, id, version, updated, patients, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
            connection.execute(head, (key, type_, id_, version, updated, " ".join(patients), body))
            for shape, (param, *values) in entries:
                insert(connection, INSERT[shape], [row_of(shape, param, key, ("", *values))])
        case "history":
            key, updated, method, patients, body = row.values
            connection.execute(
                "INSERT INTO history (type, id, version, key, updated, method, patients, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row.order, key, updated, method, " ".join(patients), body),
            )
        case "kept":
            connection.execute(
                "INSERT INTO kept (kind, name, value, expires) VALUES (?, ?, ?, ?)", (*row.order, *row.values)
            )
        case "audit":
            (_, number), (recorded, body, hash_, found) = row.order, row.values
            connection.execute(
                "INSERT INTO audit (number, recorded, body, hash) VALUES (?, ?, ?, ?)", (number, recorded, body, hash_)
            )
            connection.executemany(
                "INSERT INTO audit_found (kind, value, recorded, number) VALUES (?, ?, ?, ?)",
                [(*each, recorded, number) for each in found],
            )
