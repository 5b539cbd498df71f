"""A Unit on an SQLite connection whose transaction is already open.

Its methods are coroutines, as the protocol asks, but none ever suspends: the writer drives a piece of work to its
end in one go while it holds the lock, and no other work comes between. What a Unit stores waits in `pending`, which a
look-up by id knows of; every other statement has it written first.
"""

from collections.abc import Coroutine, Sequence
from typing import TypeVar

from fhir_server.fhir.clock import Clock, Ids, Micros
from fhir_server.search.plan import Entries, Position, Query
from fhir_server.store.protocol import (
    AuditEntry,
    AuditQuery,
    Chained,
    Contained,
    Explained,
    Head,
    HistoryQuery,
    Page,
    Put,
    Recorded,
    Sealed,
    Stored,
    VersionConflict,
    Work,
)
from fhir_server.store.sqlite import search
from fhir_server.store.sqlite.compile import Sql, join
from fhir_server.store.sqlite.estimate import Estimates
from fhir_server.store.sqlite.explained import explain
from fhir_server.store.sqlite.pending import Writing, index
from fhir_server.store.sqlite.reader import Reader

T = TypeVar("T")

_CURRENT = "SELECT version, updated, body, key, patients FROM resource WHERE type = ? AND id = ?"


class SqliteUnit:
    """Atomic work on one tenant's file; without `writing` it only reads."""

    def __init__(
        self, reader: Reader, clock: Clock, ids: Ids, estimates: Estimates, writing: Writing | None = None
    ) -> None:
        self._connection = reader.clinic
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._estimates = estimates
        self._writing = writing

    async def read(self, type_: str, id_: str) -> Stored | None:
        """The current version, a deletion included; None when there never was one."""
        return self._read(type_, id_)

    def _read(self, type_: str, id_: str) -> Stored | None:
        pending = self._writing.current(type_, id_) if self._writing is not None else None
        if pending is not None:
            return pending
        row = self._connection.execute(_CURRENT, (type_, id_)).fetchone()
        return _stored(type_, id_, *row) if row is not None else None

    async def vread(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version, a deletion included."""
        pending = self._writing.version(type_, id_, version) if self._writing is not None else None
        if pending is not None:
            return pending
        row = self._connection.execute(
            "SELECT version, updated, body, key, patients, method FROM history "
            "WHERE type = ? AND id = ? AND version = ?",
            (type_, id_, version),
        ).fetchone()
        return _stored(type_, id_, *row) if row is not None else None

    async def search(self, query: Query) -> Page:
        """One page of the current resources for which the plan holds."""
        self._settle()
        return search.run(self._connection, self._estimates, query, self._reader.totals)

    async def explain(self, query: Query) -> Explained:
        """How that page is found."""
        self._settle()
        return explain(self._connection, self._estimates, query)

    async def history(self, query: HistoryQuery) -> Page:
        """One page of versions, newest first."""
        self._settle()
        where = _history_conditions(query)
        sql = Sql("SELECT type, id, version, updated, body, key, patients, method FROM history WHERE ") + where
        if query.count == 0:
            return Page((), None, self._count(where))
        sql += Sql(" ORDER BY updated DESC, key DESC, version DESC LIMIT ?", (query.count + 1,))
        found = [_stored(*row) for row in self._connection.execute(sql.text, sql.args)]
        page, rest = found[: query.count], found[query.count :]
        following: Position | None = (page[-1].updated, page[-1].key, page[-1].version) if rest else None
        return Page(page, following, self._count(_history_conditions(query, paging=False)))

    def _count(self, where: Sql) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM history WHERE {where.text}", where.args).fetchone()
        return int(row[0]) if row is not None else 0

    async def put(self, put: Put) -> Stored:
        """Store a version with its index entries and a change for the outbox. Raises VersionConflict."""
        writing = self._for_writing
        is_trusted = put.expected == 0 and not writing.looks_first
        before = writing.current(put.type, put.id) if is_trusted else self._read(put.type, put.id)
        current = before.version if before is not None else 0
        if current != put.expected:
            raise VersionConflict(current)
        key = before.key if before is not None else self._ids.creation_key()
        stored = Stored(put.type, put.id, current + 1, put.updated, put.body, key, put.patients, put.method)
        writing.put(stored, put.entries, is_new=before is None)
        return stored

    async def reindex(self, stored: Stored, entries: Entries) -> None:
        """Replace the index entries of a current version. Raises VersionConflict."""
        current = self._read(stored.type, stored.id)
        if current is None or current.version != stored.version:
            raise VersionConflict(current.version if current is not None else 0)
        self._for_writing.reindex(stored.type, current.key, entries)

    @property
    def _for_writing(self) -> Writing:
        if self._writing is None:
            raise RuntimeError("a Unit for reading stores nothing; use Store.record")
        return self._writing

    def _settle(self) -> None:
        """Have statements see what this Unit and those before it have stored."""
        if self._writing is not None:
            self._writing.settle()

    async def contain(self, container: Stored, contained: Sequence[Contained], gone: Sequence[tuple[str, str]]) -> None:
        """Have what a current version contains found by search, and what is gone no more."""
        self._for_writing.open()
        execute, patients = self._connection.execute, " ".join(container.patients)
        for type_, id_ in gone:
            row = execute(_CURRENT, (type_, id_)).fetchone()
            if row is not None:
                index(self._connection, type_, row[3], {})
                execute("DELETE FROM resource WHERE key = ?", (row[3],))
        for each in contained:
            row = execute(_CURRENT, (each.type, each.id)).fetchone()
            key = row[3] if row is not None else self._ids.creation_key()
            execute(
                "INSERT INTO resource (key, type, id, version, updated, patients, body) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET version = excluded.version, updated = excluded.updated, "
                "patients = excluded.patients, body = excluded.body",
                (key, each.type, each.id, container.version, container.updated, patients, each.body),
            )
            index(self._connection, each.type, key, each.entries)

    async def audit(self, entry: AuditEntry) -> None:
        """Record what this Unit does."""
        self._for_writing.audit(entry)

    async def audited(self, query: AuditQuery) -> Sequence[Recorded]:
        """Audit entries, in the order that the query asks for."""
        self._settle()
        return self._reader.audited(query)

    async def placed(self, id_: str) -> tuple[str, int] | None:
        """The chain of an audit entry, and its number there."""
        self._settle()
        return self._reader.placed(id_)

    async def heads(self) -> Sequence[Head]:
        """The chains of all writers that are registered, by name."""
        self._settle()
        return self._reader.heads()

    async def strays(self, count: int) -> Sequence[str]:
        """Entries that the chain of no registered writer has."""
        self._settle()
        return self._reader.strays(count)

    async def chained(self, chain: str, after: int | None, count: int) -> Sequence[Chained]:
        """Entries of a chain after a number, or all, in its order."""
        self._settle()
        return self._reader.chained(chain, after, count)

    async def hashes(self, chain: str, after: int, upto: int) -> Sequence[bytes]:
        """The hashes of a chain's entries after a number, up to another."""
        self._settle()
        return self._reader.hashes(chain, after, upto)

    async def seal(self, sealed: Sealed) -> None:
        """Keep a checkpoint, or another form of it."""
        self._for_writing.open()
        self._connection.execute(
            "INSERT INTO audit_seal (number, body, signature, marks) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (number) DO UPDATE SET marks = excluded.marks",
            (sealed.number, sealed.body, sealed.signature, sealed.marks),
        )

    async def sealed(self, after: int, count: int) -> Sequence[Sealed]:
        """Checkpoints after a number, in their order; the last when that is -1."""
        where = "number > ? ORDER BY number" if after >= 0 else "? ORDER BY number DESC"
        sql = f"SELECT number, body, signature, marks FROM audit_seal WHERE {where} LIMIT ?"
        return [Sealed(*row) for row in self._connection.execute(sql, (after, count))]

    async def purge(self, chain: str, upto: int) -> None:
        """Remove a chain's entries up to a number."""
        self._for_writing.open()
        self._reader.purge(chain, upto)

    async def guard(self, *names: str) -> None:
        """Nothing to do: Units that write a file run one after another."""

    async def keep(self, kind: str, name: str, value: bytes, expires: Micros | None = None) -> None:
        """Keep a value by name, replacing what was there."""
        self._for_writing.open()
        self._connection.execute(
            "INSERT INTO kept (kind, name, value, expires) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, expires = excluded.expires",
            (kind, name, value, expires),
        )
        self._for_writing.kept.pop((kind, name), None)

    async def peek(self, kind: str, name: str) -> bytes | None:
        """A kept value that has not expired."""
        known = self._writing.kept if self._writing is not None else {}
        if (kind, name) not in known:
            sql = "SELECT value, expires FROM kept WHERE kind = ? AND name = ?"
            known[kind, name] = self._connection.execute(sql, (kind, name)).fetchone()
        value, expires = known[kind, name] or (None, None)
        return value if expires is None or expires > self._clock() else None

    async def take(self, kind: str, name: str) -> bytes | None:
        """Remove a kept value and return it; None when it is gone or has expired."""
        value = await self.peek(kind, name)
        self._for_writing.open()
        self._connection.execute("DELETE FROM kept WHERE kind = ? AND name = ?", (kind, name))
        self._for_writing.kept.pop((kind, name), None)
        return value

    async def kept(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All values of a kind that have not expired, by name."""
        return list(
            self._connection.execute(
                "SELECT name, value FROM kept WHERE kind = ? AND (expires IS NULL OR expires > ?) ORDER BY name",
                (kind, self._clock()),
            )
        )

    async def forget(self, count: int) -> int:
        """Remove values that have expired, `count` of them at most."""
        found = self._connection.execute(
            "SELECT kind, name FROM kept WHERE expires <= ? LIMIT ?", (self._clock(), count)
        ).fetchall()
        if found:
            self._for_writing.open()
            self._connection.executemany("DELETE FROM kept WHERE kind = ? AND name = ?", found)
        return len(found)


def _stored(
    type_: str, id_: str, version: int, updated: Micros, body: bytes | None, key: int, patients: str, method: str = ""
) -> Stored:
    return Stored(type_, id_, version, updated, body, key, tuple(patients.split()), method)


def _history_conditions(query: HistoryQuery, *, paging: bool = True) -> Sql:
    parts = [Sql("1")]
    if query.types:
        parts.append(Sql(f"type IN ({', '.join('?' * len(query.types))})", query.types))
    if query.id is not None:
        parts.append(Sql("id = ?", (query.id,)))
    if query.since is not None:
        parts.append(Sql("updated >= ?", (query.since,)))
    if query.at is not None:
        parts.append(_current_during(*query.at))
    if paging and query.after is not None:
        parts.append(Sql("(updated, key, version) < (?, ?, ?)", query.after))
    return join(parts, " AND ")


def _current_during(lo: Micros, hi: Micros) -> Sql:
    """Versions that were current at some time in [lo, hi)."""
    successor = (
        "EXISTS (SELECT 1 FROM history n WHERE n.type = history.type AND n.id = history.id "
        "AND n.version = history.version + 1 AND n.updated <= ?)"
    )
    return Sql(f"updated < ? AND NOT {successor}", (hi, lo))


def drive(work: Work[T], unit: SqliteUnit) -> T:
    """The result of `work`, run to its end here and now."""
    coroutine = work(unit)
    if not isinstance(coroutine, Coroutine):
        raise TypeError("work on a Unit is a coroutine function")
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("work on a Unit awaited something other than the Unit")
