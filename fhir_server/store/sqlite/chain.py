"""The hash chain of the audit entries of one file.

Each entry's hash covers its number, its time, its body and the hash before it (`store.chain`). On disk the body is
packed, and the hash is that of the body unpacked, which is also what an export has.
"""

from collections.abc import Iterable, Sequence

import apsw

from fhir_server.store.chain import genesis, link
from fhir_server.store.protocol import AuditEntry, Chained
from fhir_server.store.sqlite import found
from fhir_server.store.sqlite.entries import insert
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import pack_entry


class Chain:
    """Appends to one file's chain within an open transaction.

    `begin` reads the head, which another process may have moved; `mark` and `restore` follow savepoints, `abandon`
    a transaction that was rolled back.
    """

    def __init__(self, tenant: str, name: str, connection: apsw.Connection) -> None:
        self.name = name
        self.names = Names(connection)
        self._connection = connection
        self._genesis = genesis(tenant, name)
        self._number, self._hash, self._last_name = 0, self._genesis, 0

    def begin(self) -> None:
        """Take up the chain where the file has it."""
        self._number, self._hash = head(self._connection) or (0, self._genesis)
        self.names.begin()
        self._last_name = self.names.last

    def mark(self) -> tuple[int, bytes, int]:
        """The head, to come back to."""
        return self._number, self._hash, self.names.last

    def restore(self, mark: tuple[int, bytes, int]) -> None:
        """Come back to a head, when what followed was rolled back."""
        self._number, self._hash, last_name = mark
        self.names.forget_after(last_name)

    def abandon(self) -> None:
        """Forget what the transaction that is rolled back has written."""
        self.names.forget_after(self._last_name)

    @property
    def number(self) -> int:
        """How many entries there are, those of the open transaction included."""
        return self._number

    def file(self) -> None:
        """File what the newest entries are found by, once they are many."""
        found.file(self._connection, self._number)

    def extend(self, entries: Iterable[AuditEntry]) -> None:
        """Add entries in their order."""
        rows, named = [], []
        number, head, names = self._number, self._hash, self.names
        for entry in entries:
            number += 1
            head = link(head, number, entry.recorded, entry.body)
            rows.append((number, entry.recorded, pack_entry(entry, names), head))
            named += found.rows_of(number, entry.recorded, entry.found)
        insert(self._connection, "INSERT INTO audit (number, recorded, body, hash)", rows)
        found.add(self._connection, named)
        found.widen(self._connection, self._number + 1, [row[1] for row in rows])
        self._number, self._hash = number, head


def head(connection: apsw.Connection) -> tuple[int, bytes] | None:
    """Number and hash of the last entry that was ever written; None before the first."""
    row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    if row is None:  # none yet, or all of them purged
        row = connection.execute("SELECT number, hash FROM audit_purged").fetchone()
    return (int(row[0]), bytes(row[1])) if row is not None else None


def purge(connection: apsw.Connection, upto: int) -> None:
    """Remove entries for good, in an open transaction; the hash of the last of them stays.

    Where that one is gone an earlier purge removed it, and what `audit_purged` says is where the chain goes on.
    """
    last = connection.execute("SELECT number, hash FROM audit WHERE number = ?", (upto,)).fetchone()
    if last is None:
        return
    connection.execute("DELETE FROM audit_purged")
    connection.execute("INSERT INTO audit_purged (number, hash) VALUES (?, ?)", last)
    connection.execute("DELETE FROM audit_recent WHERE number <= ?", (upto,))
    connection.execute("DELETE FROM audit_found WHERE block <= ? AND number <= ?", (upto >> found.BLOCK_BITS, upto))
    connection.execute("DELETE FROM audit WHERE number <= ?", (upto,))


def chained(connection: apsw.Connection, names: Names, after: int | None, count: int) -> Sequence[Chained]:
    """Entries after a number, in the order of the chain; one that cannot be unpacked has None for a body."""
    where = "number > ?" if after is not None else "? IS NULL"
    sql = f"SELECT number, recorded, body, hash FROM audit WHERE {where} ORDER BY number LIMIT ?"
    rows = connection.execute(sql, (after, count))
    return [Chained(number, recorded, found.body_of(packed, names), hash_) for number, recorded, packed, hash_ in rows]


def hashes(connection: apsw.Connection, after: int, upto: int) -> Sequence[bytes]:
    """The hashes of entries after a number, up to another."""
    rows = connection.execute("SELECT hash FROM audit WHERE number > ? AND number <= ? ORDER BY number", (after, upto))
    return [row[0] for row in rows]
