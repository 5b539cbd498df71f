"""The hash chain of the audit entries of one file, and how they are found again."""

from collections.abc import Iterable

import apsw

from fhir_server.store.chain import GENESIS, link
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded
from fhir_server.store.sqlite.entries import insert

_MOST = 1 << 62
# So many entries wait to be filed; a search for a patient, agent or entity looks through what they are found by.
MOST_RECENT = 8_192


class Chain:
    """Appends to one file's chain within an open transaction.

    `begin` reads the head, which another process may have moved; `mark` and `restore` follow savepoints.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._number = 0
        self._hash = GENESIS

    def begin(self, connection: apsw.Connection) -> None:
        """Take up the chain where the file has it."""
        row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
        self._number, self._hash = row if row is not None else (0, GENESIS)

    def mark(self) -> tuple[int, bytes]:
        """The head, to come back to."""
        return self._number, self._hash

    def restore(self, mark: tuple[int, bytes]) -> None:
        """Come back to a head, when what followed was rolled back."""
        self._number, self._hash = mark

    def append(self, connection: apsw.Connection, entry: AuditEntry) -> None:
        """Add one entry."""
        self.extend(connection, (entry,))

    def extend(self, connection: apsw.Connection, entries: Iterable[AuditEntry]) -> None:
        """Add entries in their order."""
        rows, found = [], []
        for entry in entries:
            self._number += 1
            self._hash = link(self._hash, self._number, entry.recorded, entry.body)
            rows.append((self._number, entry.recorded, entry.body, self._hash))
            for kind, values in (("patient", entry.patients), ("agent", entry.agents), ("entity", entry.entities)):
                found += [(kind, value, entry.recorded, self._number) for value in dict.fromkeys(values)]
        insert(connection, "INSERT INTO audit (number, recorded, body, hash)", rows)
        insert(connection, "INSERT INTO audit_recent (kind, value, recorded, number)", found)

    def file(self, connection: apsw.Connection) -> None:
        """File what the newest entries are found by, once they are many (schema, `audit_recent`)."""
        oldest = connection.execute("SELECT number FROM audit_recent ORDER BY rowid LIMIT 1").fetchone()
        if oldest is not None and self._number - oldest[0] >= MOST_RECENT:
            connection.execute(
                "INSERT INTO audit_found (kind, value, recorded, number) SELECT kind, value, recorded, number "
                "FROM audit_recent ORDER BY kind, value, recorded, number; DELETE FROM audit_recent"
            )


def entries(connection: apsw.Connection, chain: str, query: AuditQuery) -> list[Recorded]:
    """The first entries of one file in the query's order, at most `count` of them."""
    if query.id is not None:
        return _by_id(connection, chain, query.id)
    if query.found_by is None:
        rows = _select(connection, chain, query, "audit AS a WHERE 1", "a.body")
    else:
        rows = []
        for table in ("audit_found", "audit_recent"):
            source = f"{table} AS a CROSS JOIN audit USING (number) WHERE a.kind = ? AND a.value = ?"
            rows += _select(connection, chain, query, source, "audit.body", *query.found_by)
        rows.sort(key=lambda row: (row[1], row[0]), reverse=not query.ascending)
    return [Recorded(f"{chain}-{number}", recorded, body) for number, recorded, body in rows[: query.count]]


def _select(
    connection: apsw.Connection, chain: str, query: AuditQuery, source: str, body: str, *found_by: str
) -> list[tuple[int, int, bytes]]:
    """Number, time and body of the first entries of `source`, whose rows are `a`."""
    args: list[object] = list(found_by)
    for bound, operator in ((query.since, ">="), (query.before, "<")):
        if bound is not None:
            source += f" AND a.recorded {operator} ?"
            args.append(bound)
    beyond, direction = (">", "ASC") if query.ascending else ("<", "DESC")
    if query.after is not None:
        recorded, after_id = query.after
        source += f" AND a.recorded {beyond}= ? AND (a.recorded {beyond} ? OR a.number {beyond} ?)"
        args += [recorded, recorded, _after_number(chain, after_id, ascending=query.ascending)]
    sql = (
        f"SELECT a.number, a.recorded, {body} FROM {source} "
        f"ORDER BY a.recorded {direction}, a.number {direction} LIMIT ?"
    )
    return list(connection.execute(sql, (*args, query.count)))


def _after_number(chain: str, after_id: str, *, ascending: bool) -> int:
    """Where this chain goes on among entries of the same time, which stand in the order of (chain, number)."""
    after_chain, _, number = after_id.rpartition("-")
    if after_chain == chain:
        return int(number)
    already_given = (chain < after_chain) if ascending else (chain > after_chain)
    return _MOST if already_given == ascending else 0


def _by_id(connection: apsw.Connection, chain: str, id_: str) -> list[Recorded]:
    name, _, number = id_.rpartition("-")
    if name != chain or not number.isascii() or not number.isdigit():
        return []
    row = connection.execute(
        "SELECT recorded, body FROM audit WHERE number = ?", (int(number) & (2**63 - 1),)
    ).fetchone()
    return [Recorded(id_, *row)] if row is not None else []
