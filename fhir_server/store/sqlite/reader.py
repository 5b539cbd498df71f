"""Reading the audit chains of one tenant: its clinic file's, and those of every process's audit file."""

import heapq
from collections.abc import Sequence
from math import inf
from pathlib import Path
from time import monotonic

import apsw

from fhir_server.store.chain import genesis
from fhir_server.store.protocol import AuditQuery, Chained, Head, Recorded
from fhir_server.store.sqlite import chain, found
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, connect
from fhir_server.store.sqlite.totals import Totals

# The chain of the clinic's own file; `r1`, `r2`, … are those of the processes' audit files.
CLINIC_CHAIN = "c"


class Reader:
    """Connections for one thread: the clinic's file, and the audit files of all processes.

    `names` are those of the clinic's connection, where that is also written through; where it only reads, it
    remembers `totals`.
    """

    def __init__(
        self, folder: Path, tenant: str, vfs: str | None, clinic: apsw.Connection, names: Names | None = None
    ) -> None:
        self._folder, self._tenant, self._vfs = folder, tenant, vfs
        self.clinic = clinic
        self.totals = Totals(clinic) if names is None else None
        self._deadline, self._turns = inf, 0
        self._chains: dict[str, tuple[apsw.Connection, Names]] = {CLINIC_CHAIN: (clinic, names or Names(clinic))}

    def limit(self, deadline: float, turns: int) -> None:
        """Interrupt what still reads at a time by `monotonic`, or has been asked more often than `turns`."""
        self._deadline, self._turns = deadline, turns

    def is_over(self) -> bool:
        """Whether what reads is to be interrupted; SQLite asks after every turn of its work."""
        self._turns -= 1
        return self._turns < 0 or monotonic() > self._deadline

    def audited(self, query: AuditQuery) -> list[Recorded]:
        """Entries of changes, reads and refusals, in the query's order."""
        self._open_all()
        lists = [found.entries(*opened, name, query) for name, opened in self._chains.items()]
        return list(heapq.merge(*lists, key=_order, reverse=not query.ascending))[: query.count]

    def placed(self, id_: str) -> tuple[str, int] | None:
        """The chain of an entry, and its number there; None when there is no such chain or number."""
        name = id_.rpartition("-")[0]
        opened = self._chain(name) if name else None
        number = found.number_of(opened[0], name, id_) if opened is not None else None
        return (name, number) if number is not None else None

    def heads(self) -> list[Head]:
        """The chains of all registered writers, by name."""
        rows = self.clinic.execute("SELECT chain FROM audit_writer ORDER BY chain")
        return [self._head(str(name)) for (name,) in list(rows)]

    def strays(self, count: int) -> list[str]:
        """The first entry of each file that belongs to no registered writer."""
        self._open_all()
        registered = {head.chain for head in self.heads()}
        others = [(name, opened) for name, opened in sorted(self._chains.items()) if name not in registered]
        first = AuditQuery(ascending=True, count=1)
        return [each.id for name, opened in others for each in found.entries(*opened, name, first)][:count]

    def chained(self, name: str, after: int | None, count: int) -> Sequence[Chained]:
        """Entries of a chain after a number, or all; none of one that is not there."""
        opened = self._chain(name)
        return chain.chained(*opened, after, count) if opened is not None else ()

    def hashes(self, name: str, after: int, upto: int) -> Sequence[bytes]:
        """The hashes of a chain's entries after a number, up to another."""
        opened = self._chain(name)
        return chain.hashes(opened[0], after, upto) if opened is not None else ()

    def purge(self, name: str, upto: int) -> None:
        """Remove a chain's entries up to a number, in the file's own transaction where it is not the clinic's."""
        opened = self._chain(name)
        if opened is None:
            return
        connection = opened[0]
        if name == CLINIC_CHAIN:
            chain.purge(connection, upto)
        else:
            with connection:
                chain.purge(connection, upto)

    def close(self) -> None:
        """Close all connections."""
        for connection, _ in self._chains.values():
            connection.close()

    def _open_all(self) -> None:
        for path in self._folder.glob("audit-*.db"):
            self._chain("r" + path.stem.removeprefix("audit-"))

    def _chain(self, name: str) -> tuple[apsw.Connection, Names] | None:
        if name not in self._chains:
            path = self._folder / f"audit-{name.removeprefix('r')}.db"
            if not path.is_file():
                return None
            connection = connect(path, AUDIT_MIGRATIONS, vfs=self._vfs)
            self._chains[name] = (connection, Names(connection))
        return self._chains[name]

    def _head(self, name: str) -> Head:
        opened = self._chain(name)
        if opened is None:
            return Head(name, -1, b"")
        head = chain.head(opened[0])
        return Head(name, *(head if head is not None else (0, genesis(self._tenant, name))))


def _order(entry: Recorded) -> tuple[int, str, int]:
    name, _, number = entry.id.rpartition("-")
    return entry.recorded, name, int(number)
