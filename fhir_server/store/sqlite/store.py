"""The embedded store: a folder with one folder for each tenant, and in it the clinic's file and its audit files.

    DATA/tenants/{tenant}/clinic.db     resources, history, indexes, kept values, outbox, audit of changes
    DATA/tenants/{tenant}/audit-N.db    audit of reads and refusals, one file for each process
    DATA/server/                        the same for what belongs to no tenant: the server's own log

Several processes may have one DATA open. Files are opened when they are needed; a bounded number stays open.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fhir_server.fhir.clock import Clock, Ids
from fhir_server.fhir.errors import Conflict, NotFound
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded, Unit, Work
from fhir_server.store.sqlite.schema import CLINIC_MIGRATIONS, check_library, connect
from fhir_server.store.sqlite.tenant import AuditFile, ClinicFile, TakesLong, unavailable_on_failure
from fhir_server.store.tenants import NO_CLINIC, SERVER, check_name, is_name

T = TypeVar("T")

READER_THREADS = 2


@dataclass(slots=True)
class _Open:
    clinic: ClinicFile
    audit: AuditFile
    in_use: int = field(default=0)

    def __enter__(self) -> "_Open":
        self.in_use += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.in_use -= 1

    def close(self) -> None:
        self.clinic.close()
        self.audit.close()


class SqliteStore:
    """All tenants' files below one folder. `vfs` names an apsw VFS, for tests of power loss."""

    def __init__(self, folder: Path, clock: Clock, ids: Ids, *, most_open: int = 128, vfs: str | None = None) -> None:
        check_library()
        self._folder, self._clock, self._ids, self._vfs = folder, clock, ids, vfs
        self._most_open = most_open
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._pool = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="reader")
        (folder / "tenants").mkdir(parents=True, exist_ok=True)
        (folder / "server").mkdir(exist_ok=True)

    async def run(
        self,
        tenant: str,
        work: Work[T],
        *,
        write: bool,
        quick: bool = False,
        may_lag: bool = False,  # noqa: ARG002
    ) -> T:
        """Do `work` in one Unit. `quick` says that a read is a few look-ups, never worth another thread; none lags."""
        files = self._using(tenant)
        if write:
            with files:
                return await files.clinic.write(work)
        try:
            return files.clinic.read_here(work, quick=quick)
        except TakesLong:
            loop = asyncio.get_running_loop()
        with files:
            return await loop.run_in_executor(self._pool, files.clinic.read_in_pool, work)

    async def record(self, tenant: str, entries: Iterable[AuditEntry]) -> None:
        """Record what happened without a change; durable at return."""
        with self._using(tenant) as files:
            await files.audit.record(entries)

    async def server_log(self, query: AuditQuery) -> Sequence[Recorded]:
        """Audit entries of what belongs to no tenant."""

        async def work(unit: Unit) -> Sequence[Recorded]:
            return await unit.audited(query)

        return await self.run(SERVER, work, write=False)

    async def create_tenant(self, tenant: str) -> None:
        """Make an empty tenant. Raises Conflict when there is one, BadRequest when it cannot be a name."""
        check_name(tenant)
        path = self._path(tenant)
        if path.exists():
            raise Conflict(f"There is a clinic named '{tenant}' already.")
        # Made beside and moved into place, so that no other process sees it half made.
        making = path.with_name(f".{tenant}.{os.getpid()}")
        making.mkdir()
        connect(making / "clinic.db", CLINIC_MIGRATIONS, vfs=self._vfs).close()
        making.rename(path)
        _sync_folder(path.parent)
        _sync_folder(self._folder)  # which holds `tenants` itself, made with the first of them

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants."""
        return sorted(path.name for path in (self._folder / "tenants").iterdir() if not path.name.startswith("."))

    def at_hand(self) -> Sequence[str]:
        """The names of the tenants whose files are open."""
        return [tenant for tenant in self._open if tenant != SERVER]

    async def has(self, tenant: str) -> bool:
        """Whether there is a tenant of this name."""
        return self._has(tenant)

    def _has(self, tenant: str) -> bool:
        return tenant in self._open or (is_name(tenant) and self._path(tenant).is_dir())

    async def close(self) -> None:
        """Finish what is under way and close all files."""
        self._pool.shutdown()
        while self._open:
            self._open.popitem()[1].close()

    def _path(self, tenant: str) -> Path:
        return self._folder / "tenants" / tenant if tenant != SERVER else self._folder / "server"

    def _using(self, tenant: str) -> _Open:
        """The tenant's files, to be held (`with`) while they are used."""
        files = self._open.get(tenant)
        if files is None:
            return self._open_files(tenant)
        self._open.move_to_end(tenant)
        return files

    def _open_files(self, tenant: str) -> _Open:
        with unavailable_on_failure():
            if tenant != SERVER and not self._has(tenant):
                raise NotFound(NO_CLINIC)
            path = self._path(tenant)
            clinic = ClinicFile(path / "clinic.db", tenant, self._clock, self._ids, self._vfs)
            files = _Open(clinic, AuditFile(path, tenant, self._vfs))
            clinic.register(files.audit.chain)
        self._open[tenant] = files
        self._close_idle()
        return files

    def _close_idle(self) -> None:
        """Close the files longest unused while more than `most_open` tenants are open."""
        for tenant in [name for name, files in self._open.items() if files.in_use == 0]:
            if len(self._open) <= self._most_open:
                return
            if tenant != next(reversed(self._open)):
                self._open.pop(tenant).close()


def _sync_folder(path: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
