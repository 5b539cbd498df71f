"""What the Units of one transaction have stored, until it is written: many resources with one statement.

Written one resource at a time, each Unit would need a savepoint, for which SQLite copies every page that it touches,
and some dozen statements. So rows wait here, a Unit that fails forgets its own, and a savepoint is opened only where a
statement must see them, or where a Unit writes something else.
"""

from dataclasses import dataclass, field

import apsw

from fhir_server.fhir.clock import Micros
from fhir_server.search.plan import Entries
from fhir_server.store.protocol import AuditEntry, Stored
from fhir_server.store.sqlite.chain import Chain
from fhir_server.store.sqlite.entries import INSERT, Row, insert, rows

_RESOURCE = "INSERT OR FAIL INTO resource (key, type, id, version, updated, patients, body)"
_HISTORY = "INSERT OR FAIL INTO history (type, id, version, key, updated, method, patients, body)"
_CHANGE = "INSERT OR FAIL INTO change (type, id, version, updated)"
_UPDATE = "UPDATE resource SET version = ?, updated = ?, patients = ?, body = ? WHERE key = ?"


@dataclass(slots=True)
class Pending:
    """Versions by (type, id, version), the current ones by (type, id); index entries by creation key."""

    current: dict[tuple[str, str], Stored] = field(default_factory=dict)
    versions: dict[tuple[str, str, int], Stored] = field(default_factory=dict)
    entries: dict[int, tuple[str, Entries]] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)  # keys of which nothing is written
    audited: list[AuditEntry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.entries or self.audited)

    def take_in(self, later: "Pending") -> None:
        """Have what came later here too."""
        self.current |= later.current
        self.versions |= later.versions
        self.entries |= later.entries
        self.new |= later.new
        self.audited += later.audited

    def write(self, connection: apsw.Connection, chain: Chain) -> None:
        """Insert it all."""
        current, versions = self.current.values(), self.versions.values()
        insert(connection, _RESOURCE, [_resource(each) for each in current if each.key in self.new])
        for each in current:
            if each.key not in self.new:
                bindings = (each.version, each.updated, " ".join(each.patients), each.body, each.key)
                connection.execute(_UPDATE, bindings)
        for key in self.entries.keys() - self.new:
            _forget(connection, key)
        made = rows((type_, key, entries) for key, (type_, entries) in self.entries.items())
        for shape, found in made.items():
            insert(connection, INSERT[shape], found)
        insert(connection, _HISTORY, [_version(each) for each in versions])
        insert(connection, _CHANGE, [(each.type, each.id, each.version, each.updated) for each in versions])
        if self.audited:
            chain.extend(self.audited)


class Writing:
    """The rows that wait in a file's open transaction: those of the Units that are done, and of the one at work.

    The file is asked for little meanwhile, for at each statement the thread may lose the interpreter to the event
    loop's. So `kept` are the values, with their expiry, that Units have looked up; and an id that is expected to be new
    is taken for new. If it is not, its row is refused, and each Unit done again by itself while Writing `looks_first`.
    """

    def __init__(self, connection: apsw.Connection, chain: Chain) -> None:
        self._connection, self._chain = connection, chain
        self._mark = chain.mark()
        self.kept: dict[tuple[str, str], tuple[bytes, Micros | None] | None] = {}
        self.looks_first = False
        self.reset()

    def reset(self) -> None:
        """Forget all; a transaction begins."""
        self._done, self._own = Pending(), Pending()
        self._is_open = False
        self.kept.clear()

    def current(self, type_: str, id_: str) -> Stored | None:
        """The current version of a resource, if it waits here."""
        return self._own.current.get((type_, id_)) or self._done.current.get((type_, id_))

    def version(self, type_: str, id_: str, version: int) -> Stored | None:
        """A version, if it waits here."""
        return self._own.versions.get((type_, id_, version)) or self._done.versions.get((type_, id_, version))

    def put(self, stored: Stored, entries: Entries, *, is_new: bool) -> None:
        """Take in a version."""
        own = self._own
        own.current[stored.type, stored.id] = Stored(
            stored.type, stored.id, stored.version, stored.updated, stored.body, stored.key, stored.patients
        )
        own.versions[stored.type, stored.id, stored.version] = stored
        own.entries[stored.key] = (stored.type, entries)
        if is_new:
            own.new.add(stored.key)

    def reindex(self, type_: str, key: int, entries: Entries) -> None:
        """Take in other index entries of a current version."""
        self._own.entries[key] = (type_, entries)

    def audit(self, entry: AuditEntry) -> None:
        """Take in an entry of the log."""
        self._own.audited.append(entry)

    def settle(self) -> None:
        """Write what waits, for a statement that must see it."""
        if self._own:
            self.open()
            self._own.write(self._connection, self._chain)
            self._own = Pending()
        else:
            self._write_done()

    def open(self) -> None:
        """Make sure that what is written from here on can be undone when this Unit fails."""
        if not self._is_open:
            self._write_done()
            self._connection.execute("SAVEPOINT job")
            self._mark, self._is_open = self._chain.mark(), True

    def finish(self) -> None:
        """The Unit at work is done."""
        if self._is_open:
            self._connection.execute("RELEASE job")
            self._is_open = False
        if self._done:
            self._done.take_in(self._own)
        else:
            self._done = self._own
        self._own = Pending()

    def abandon(self) -> None:
        """The Unit at work has failed."""
        if self._is_open:
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            self._chain.restore(self._mark)
            self._is_open = False
        self._own = Pending()
        self.kept.clear()

    def flush(self) -> None:
        """Write all that is done."""
        self._write_done()

    def _write_done(self) -> None:
        if self._done:
            self._done.write(self._connection, self._chain)
            self._done = Pending()


def index(connection: apsw.Connection, type_: str, key: int, entries: Entries) -> None:
    """Replace the index entries of one resource at once."""
    _forget(connection, key)
    for shape, found in rows([(type_, key, entries)]).items():
        insert(connection, INSERT[shape], found)


def _forget(connection: apsw.Connection, key: int) -> None:
    for shape in INSERT:
        connection.execute(f"DELETE FROM {shape} WHERE key = ?", (key,))


def _resource(stored: Stored) -> Row:
    return (
        stored.key, stored.type, stored.id, stored.version, stored.updated, " ".join(stored.patients), stored.body,
    )  # fmt: skip


def _version(stored: Stored) -> Row:
    return (
        stored.type, stored.id, stored.version, stored.key, stored.updated, stored.method, " ".join(stored.patients),
        stored.body,
    )  # fmt: skip
