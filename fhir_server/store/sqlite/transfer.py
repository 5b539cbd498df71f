"""One side of a migration in files: a clinic's tables as the rows that every store has (`store/migrate.py`).

A chain of the audit log is a file: `c` in the clinic's own, every other, `r…`, in `audit-….db`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from fhir_server.store.migrate import Order, Part, Row
from fhir_server.store.sqlite.chain import chained
from fhir_server.store.sqlite.entries import INSERT, insert, row_of
from fhir_server.store.sqlite.found import BLOCK_BITS, MOVED, id_of, recent, widen
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import pack
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
    "seal": "SELECT number, body, signature, marks FROM audit_seal WHERE number > ? ORDER BY number LIMIT ?",
}
_FIRST: dict[str, Order] = {"resource": ("", ""), "history": ("", "", 0), "kept": ("", ""), "seal": (0,)}
_TABLES: dict[Part, str] = {"writer": "audit_writer", "seal": "audit_seal"}
# The parts of which each chain's own file has its share.
_OF_CHAINS = ("writer", "audit")


class SqliteSide:
    """A data folder to copy from or to; the store over it is closed by whoever opened it."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self._folder, self._store = folder, store

    async def tenants(self) -> Sequence[str]:
        """The clinics that it has."""
        return await self._store.tenants()

    async def make_tenant(self, tenant: str) -> None:
        """Make a clinic, unless it is there."""
        if not await self._store.has(tenant):
            await self._store.create_tenant(tenant)

    async def count(self, tenant: str, part: Part) -> int:
        """How many rows a part has."""
        total = 0
        for chain in self._chains(tenant) if part == "audit" else ("c",):
            with self._open(tenant, chain) as connection:
                [(rows,)] = connection.execute(f"SELECT count(*) FROM {_TABLES.get(part, part)}")
                total += rows
        return total

    async def rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        """The next rows of a part in its order."""
        if part == "writer":
            return self._writer_rows(tenant, str(after[0]) if after else "", count)
        if part == "audit":
            return self._audit_rows(tenant, after or ("", 0), count)
        with self._open(tenant, "c") as connection:
            found = connection.execute(_SELECT[part], (*(after or _FIRST[part]), count)).fetchall()
            return [_row(connection, part, each) for each in found]

    async def replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        """Remove some rows and write others, in one transaction of each file."""
        chains = sorted({str(row.order[0]) for row in (*gone, *rows)}) if part in _OF_CHAINS else ["c"]
        for chain in chains:
            if part == "writer":
                with self._open(tenant, "c") as connection:
                    connection.execute("INSERT OR IGNORE INTO audit_writer (chain) VALUES (?)", (chain,))
            with self._open(tenant, chain) as connection, connection:
                names = Names(connection)
                names.begin()
                here = part not in _OF_CHAINS
                for row in gone:
                    if here or row.order[0] == chain:
                        _remove(connection, part, row)
                for row in rows:
                    if here or row.order[0] == chain:
                        _remove(connection, part, row)
                        _write(connection, part, row, names)

    def _writer_rows(self, tenant: str, after: str, count: int) -> list[Row]:
        with self._open(tenant, "c") as connection:
            sql = "SELECT chain FROM audit_writer WHERE chain > ? ORDER BY chain"
            chains = [str(chain) for (chain,) in connection.execute(sql, (after,))]
        rows = []
        for chain in chains:
            with self._open(tenant, chain) as connection:
                purged = connection.execute("SELECT number, hash FROM audit_purged").fetchone()
                used = connection.execute("SELECT 1 FROM audit LIMIT 1").fetchone() is not None
            if chain == "c" and not used and purged is None:
                continue  # every clinic has this chain here; where nothing was written to it, it is nobody's
            rows.append(Row((chain,), tuple(purged) if purged is not None else (0, b"")))
            if len(rows) == count:
                break
        return rows

    def _audit_rows(self, tenant: str, after: Order, count: int) -> list[Row]:
        rows: list[Row] = []
        for chain in self._chains(tenant):
            if chain < after[0] or len(rows) >= count:
                continue
            number = after[1] if chain == after[0] else 0
            with self._open(tenant, chain) as connection:
                entries = chained(connection, Names(connection), number, count - len(rows))
                found = _found(connection, number, entries[-1].number) if entries else {}
                for each in entries:
                    id_ = id_of(connection, chain, each.number)
                    values = (id_, each.recorded, each.body, each.hash, tuple(sorted(found.get(each.number, ()))))
                    rows.append(Row((chain, each.number), values))
        return rows

    def _chains(self, tenant: str) -> list[str]:
        names = [f"r{path.stem.removeprefix('audit-')}" for path in self._path(tenant).glob("audit-*.db")]
        return sorted(("c", *names))

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
        case "seal":
            return Row(tuple(found[:1]), tuple(found[1:]))
    return Row(tuple(found[:2]), tuple(found[2:]))


def _found(connection: apsw.Connection, above: int, last: int) -> dict[int, list[int]]:
    """What the entries numbered above `above`, up to `last`, are found by: one scan for them all."""
    found: dict[int, list[int]] = {}
    blocks = (above >> BLOCK_BITS, last >> BLOCK_BITS)
    filed = "SELECT number, what FROM audit_found WHERE block BETWEEN ? AND ? AND number > ? AND number <= ?"
    for number, what in connection.execute(filed, (*blocks, above, last)):
        found.setdefault(number, []).append(what)
    for number, _, what in recent(connection, above, last):
        found.setdefault(number, []).append(what)
    return found


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
        case "writer":
            connection.execute("DELETE FROM audit_purged")
        case "audit":
            number = row.order[1]
            for table in ("audit", "audit_id", "audit_recent"):
                connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))
            where = "block = ? AND number = ?"
            connection.execute(f"DELETE FROM audit_found WHERE {where}", (number >> BLOCK_BITS, number))
        case "seal":
            connection.execute("DELETE FROM audit_seal WHERE number = ?", row.order)


def _write(connection: apsw.Connection, part: Part, row: Row, names: Names) -> None:
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
        case "writer":
            if row.values[0]:
                connection.execute("INSERT INTO audit_purged (number, hash) VALUES (?, ?)", row.values)
        case "audit":
            _write_entry(connection, row, names)
        case "seal":
            sql = "INSERT INTO audit_seal (number, body, signature, marks) VALUES (?, ?, ?, ?)"
            connection.execute(sql, (*row.order, *row.values))


def _write_entry(connection: apsw.Connection, row: Row, names: Names) -> None:
    (chain, number), (id_, recorded, body, hash_, found) = row.order, row.values
    sql = "INSERT INTO audit (number, recorded, body, hash) VALUES (?, ?, ?, ?)"
    connection.execute(sql, (number, recorded, pack(body, names), hash_))
    connection.executemany(
        "INSERT INTO audit_found (block, what, recorded, number) VALUES (?, ?, ?, ?)",
        [(number >> BLOCK_BITS, what, recorded, number) for what in found],
    )
    widen(connection, number, [recorded])
    if chain == MOVED:
        connection.execute("INSERT INTO audit_id (number, id) VALUES (?, ?)", (number, id_))
