"""One tenant's open files: the clinic's, with its writer and readers, and the audit files of reads and refusals."""

import asyncio
import fcntl
from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from queue import Empty, LifoQueue
from time import monotonic
from typing import IO, Any, TypeVar

import apsw

from fhir_server.fhir.clock import Clock, Ids
from fhir_server.fhir.errors import Unavailable, Unprocessable
from fhir_server.store.protocol import AuditEntry, Work
from fhir_server.store.sqlite.appending import Appending
from fhir_server.store.sqlite.chain import Chain
from fhir_server.store.sqlite.commit import GroupCommit, Job
from fhir_server.store.sqlite.estimate import Estimates
from fhir_server.store.sqlite.pending import Writing
from fhir_server.store.sqlite.reader import CLINIC_CHAIN, Reader
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, BUSY_TIMEOUT_MILLISECONDS, CLINIC_MIGRATIONS, connect
from fhir_server.store.sqlite.unit import SqliteUnit, drive

T = TypeVar("T")

LONGEST_READ_SECONDS = 10.0
# SQLite's work is counted in turns of so many steps (25 ns each); one or two milliseconds of it are done in the event
# loop's thread before a reader's takes it over: enough to find that a condition is broad (`estimate.BROAD`).
_STEPS_A_TURN, _TURNS_HERE = 4_000, 16
_ANY = 1 << 62
# 16 MB of the log: batch after batch changes the same pages, and each is written to the file only once for all of them.
_PAGES_A_CHECKPOINT = 4_000
# So many entries are written between looks whether there are enough of them to be filed.
_LOOKED_AT_EVERY = 512
_FAILURES = (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CantOpenError, apsw.ReadOnlyError)


class unavailable_on_failure:  # noqa: N801 - a context manager, without the cost of a generator on every read
    """Failures of the disk or of the lock, told as 503."""

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, apsw.InterruptError):
            raise Unprocessable(
                f"The search took longer than {LONGEST_READ_SECONDS:.0f} seconds; narrow it.", code="too-costly"
            ) from error
        if isinstance(error, _FAILURES):
            raise Unavailable("The store cannot take this now; nothing was changed. Try again later.") from error


class TakesLong(Exception):
    """A read is more work than belongs into the event loop's thread; nothing came of it."""


class ClinicFile:
    """The file of a clinic's resources and of the audit entries of their changes."""

    def __init__(self, path: Path, tenant: str, clock: Clock, ids: Ids, vfs: str | None = None) -> None:
        self._path, self._tenant, self._clock, self._ids, self._vfs = path, tenant, clock, ids, vfs
        self._reader = self._open_reader()
        self._turn_of: asyncio.AbstractEventLoop | None = None  # in whose turn `_reader` has a snapshot
        self._readers: LifoQueue[Reader] = LifoQueue()
        self._writer_connection = connect(path, CLINIC_MIGRATIONS, vfs=vfs)
        self._writer_connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_A_CHECKPOINT}")
        self._chain = Chain(tenant, CLINIC_CHAIN, self._writer_connection)
        self._own_reader = Reader(path.parent, tenant, vfs, self._writer_connection, self._chain.names)
        self._estimates = Estimates()
        self._writing = Writing(self._writer_connection, self._chain)
        self._unit = SqliteUnit(self._own_reader, clock, ids, self._estimates, self._writing)
        self._writer: GroupCommit[Work[Any]] = GroupCommit(f"writer {path.parent.name}", self._commit)

    def register(self, chain: str) -> None:
        """Have it known, durably, that there is a writer of this chain. Before any work is done only."""
        with unavailable_on_failure():
            self._writer_connection.execute("INSERT OR IGNORE INTO audit_writer (chain) VALUES (?)", (chain,))

    async def write(self, work: Work[T]) -> T:
        """Do `work` in the writer's thread; its result once durable."""
        result: T = await self._writer.submit(work)
        return result

    def read_here(self, work: Work[T], *, quick: bool) -> T:
        """Do `work` in this thread, which must be the event loop's. Raises TakesLong unless it is known to be quick.

        A search that ends soon costs less so than its way to another thread and back. What is read in one turn of the
        loop sees one snapshot: whoever asks in it had asked before it was taken.
        """
        try:
            with unavailable_on_failure():
                self._begin_turn()
                return self._do_reading(self._reader, work, _ANY if quick else _TURNS_HERE)
        except Unprocessable as error:
            if not quick and isinstance(error.__cause__, apsw.InterruptError):
                raise TakesLong from error
            raise

    def read_in_pool(self, work: Work[T]) -> T:
        """Do `work` in this thread, of the pool of readers."""
        try:
            reader = self._readers.get_nowait()
        except Empty:
            reader = self._open_reader()
        try:
            return self._read(reader, work)
        finally:
            self._readers.put(reader)

    def close(self) -> None:
        """Commit what waits and close the connections."""
        self._writer.close()
        self._own_reader.close()
        self._end_turn()
        self._reader.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()

    def _open_reader(self) -> Reader:
        connection = connect(self._path, CLINIC_MIGRATIONS, vfs=self._vfs)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # the writer is the one checkpointer
        reader = Reader(self._path.parent, self._tenant, self._vfs, connection)
        connection.set_progress_handler(reader.is_over, _STEPS_A_TURN)
        return reader

    def _begin_turn(self) -> None:
        """Take a snapshot for the rest of the event loop's turn, unless there is one."""
        loop = asyncio.get_running_loop()
        if self._turn_of is loop:
            return
        self._end_turn()  # of a loop that has ended since
        self._turn_of = loop
        # Before the snapshot is taken: whoever is told of a later commit comes after it in the loop's queue.
        loop.call_soon(self._end_turn)
        self._reader.clinic.execute("BEGIN")

    def _end_turn(self) -> None:
        if self._turn_of is not None:
            self._turn_of = None
            if self._reader.clinic.in_transaction:
                self._reader.clinic.execute("COMMIT")

    def _read(self, reader: Reader, work: Work[T]) -> T:
        with unavailable_on_failure():
            reader.clinic.execute("BEGIN")  # one snapshot for all that the work reads
            try:
                return self._do_reading(reader, work, _ANY)
            finally:
                reader.clinic.execute("COMMIT")

    def _do_reading(self, reader: Reader, work: Work[T], turns: int) -> T:
        reader.limit(monotonic() + LONGEST_READ_SECONDS, turns)
        try:
            return drive(work, SqliteUnit(reader, self._clock, self._ids, self._estimates))
        finally:
            reader.limit(inf, _ANY)  # what was begun is ended

    def _commit(self, batch: Sequence[Job[Work[Any]]]) -> None:
        """Do the jobs one after another, and commit what they made together."""
        try:
            with unavailable_on_failure():
                self._writer_connection.execute("BEGIN IMMEDIATE")
                self._writing.reset()
                self._chain.begin()
                self._chain.file()
                for job in batch:
                    self._do(job)
                self._writing.flush()
                self._writer_connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is, every job of the batch is told
            if self._writer_connection.in_transaction:
                self._writer_connection.execute("ROLLBACK")
            self._chain.abandon()
            for job in batch:
                job.result, job.error = None, error
            if isinstance(error, apsw.ConstraintError) and not self._writing.looks_first:
                self._commit_each(batch)

    def _commit_each(self, batch: Sequence[Job[Work[Any]]]) -> None:
        """Find out whose rows they were that cannot be stored, and commit the others."""
        self._writing.looks_first = True
        for job in batch:
            job.error = None
            self._commit([job])
        self._writing.looks_first = False

    def _do(self, job: Job[Work[Any]]) -> None:
        try:
            job.result = drive(job.input, self._unit)
        except (apsw.FullError, apsw.IOError):
            raise  # the whole transaction is lost
        except BaseException as error:  # it is the job's own, and goes to whoever asked for it
            if isinstance(error, apsw.ConstraintError) and not self._writing.looks_first:
                raise
            job.error = error
            self._writing.abandon()
        else:
            self._writing.finish()


class AuditFile:
    """The append-only file of reads and refusals that this process writes for one tenant."""

    def __init__(self, folder: Path, tenant: str, vfs: str | None = None) -> None:
        number, self._lock = _claim(folder)
        self.chain = f"r{number}"
        self._connection = connect(folder / f"audit-{number}.db", AUDIT_MIGRATIONS, vfs=vfs)
        self._connection.set_busy_timeout(0)  # the event loop waits for nobody
        self._chain = Chain(tenant, self.chain, self._connection)
        self._chain.begin()
        self._mark = self._chain.mark()
        self._looked_at = 0  # the length of the chain when entries were last filed, or not yet enough
        self._appending: Appending[Iterable[AuditEntry]] = Appending(f"audit {folder.name}", self)

    def record(self, found: Iterable[AuditEntry]) -> "asyncio.Future[None]":
        """Append entries; what is returned is done once they are durable."""
        return self._appending.submit(found)

    def close(self) -> None:
        """Commit what waits, close the files and give the claim back."""
        self._appending.close()
        self._connection.close()
        self._lock.close()

    def write(self, batch: Sequence[Job[Iterable[AuditEntry]]]) -> bool:
        """Write a batch's rows in a transaction, which `sync` commits."""
        self._mark = self._chain.mark()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error:  # perhaps another process purges this file: `sync`, which may wait, does it all
            return True
        try:
            with unavailable_on_failure():
                self._extend(batch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, every job of the batch is told
            self._undo(batch, error)
            return False
        return True

    def sync(self, batch: Sequence[Job[Iterable[AuditEntry]]]) -> None:
        """Commit what was written."""
        try:
            with unavailable_on_failure():
                if not self._connection.in_transaction:
                    self._write_late(batch)
                if self._chain.number - self._looked_at >= _LOOKED_AT_EVERY:
                    self._looked_at = self._chain.number
                    self._chain.file()
                self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is, every job of the batch is told
            self._undo(batch, error)

    def _extend(self, batch: Sequence[Job[Iterable[AuditEntry]]]) -> None:
        self._chain.extend([entry for job in batch for entry in _made(job)])

    def _write_late(self, batch: Sequence[Job[Iterable[AuditEntry]]]) -> None:
        self._connection.set_busy_timeout(BUSY_TIMEOUT_MILLISECONDS)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.set_busy_timeout(0)
        self._extend(batch)

    def _undo(self, batch: Sequence[Job[Iterable[AuditEntry]]], error: BaseException) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._chain.restore(self._mark)
        for job in batch:
            job.error = error


def _made(job: Job[Iterable[AuditEntry]]) -> Sequence[AuditEntry]:
    """A job's entries, none when they cannot be made: the others of its batch do without them.

    They are made here, one after another: between other steps of a request each would take twice the time, for the
    processor then has to fetch everything again.
    """
    try:
        return list(job.input)
    except Exception as error:  # noqa: BLE001 - it is the job's own, and goes to whoever asked for it
        job.error = error
        return ()


def _claim(folder: Path) -> tuple[int, IO[bytes]]:
    """The lowest number whose audit file no other process writes, with the lock that holds it."""
    number = 1
    while True:
        lock = (folder / f"audit-{number}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
        else:
            return number, lock
