"""The log of reads and refusals: rows are written in the event loop's thread, and synced in another."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.fhir.errors import Unavailable
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded, Unit
from fhir_server.store.sqlite.appending import Appending
from fhir_server.store.sqlite.commit import Job
from fhir_server.store.sqlite.store import SqliteStore
from tests.harness import SteppingClock


class _Slow:
    """A file whose syncs last until they are let go, and tell what was in them."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.fails = False

    def write(self, batch: Sequence[Job[int]]) -> bool:
        self.batches.append([job.input for job in batch])
        return True

    def sync(self, batch: Sequence[Job[int]]) -> None:
        assert self.go.acquire(timeout=30)
        if self.fails:
            for job in batch:
                job.error = Unavailable("full")


async def test_nobody_is_answered_before_the_sync() -> None:
    """R-6.5: what a caller did is on disk before they are answered; what comes meanwhile is the next batch."""
    file = _Slow()
    appending = Appending("test", file)
    first = [appending.submit(n) for n in range(3)]
    await asyncio.sleep(0.05)
    later = [appending.submit(n) for n in (3, 4)]
    await asyncio.sleep(0.05)
    assert file.batches == [[0, 1, 2]]
    assert not any(future.done() for future in first)
    file.go.release()
    await asyncio.gather(*first)
    assert not any(future.done() for future in later)
    file.go.release()
    await asyncio.gather(*later)
    assert file.batches == [[0, 1, 2], [3, 4]]
    appending.close()


async def test_a_failed_sync_is_told_to_its_batch_alone() -> None:
    """What fails is told to those whose entries were in it; the next batch goes on."""
    file = _Slow()
    appending = Appending("test", file)
    file.fails = True
    file.go.release()
    with pytest.raises(Unavailable):
        await appending.submit(1)
    file.fails = False
    file.go.release()
    await appending.submit(2)
    appending.close()


async def test_closing_syncs_what_waits() -> None:
    """Nothing that was submitted is lost at the end."""
    file = _Slow()
    appending = Appending("test", file)
    waiting = [appending.submit(n) for n in range(300)]
    file.go.release(2)
    appending.close()
    await asyncio.gather(*waiting)
    assert sum(map(len, file.batches)) == 300


def _entries(store: SqliteStore) -> list[Recorded]:
    async def work(unit: Unit) -> list[Recorded]:
        return list(await unit.audited(AuditQuery(count=1_000)))

    return asyncio.run(_run(store, work))


async def _run(store: SqliteStore, work: object) -> list[Recorded]:
    return await store.run("demo", work, write=False)  # type: ignore[arg-type]


def test_one_loop_goes_on_after_another(tmp_path: Path) -> None:
    """The command line runs a loop for each step; a loop that was left leaves nobody waiting, nor an old snapshot."""
    clock = SteppingClock()
    store = SqliteStore(tmp_path, clock, Ids(clock))
    asyncio.run(store.create_tenant("demo"))

    async def leave() -> None:
        left = asyncio.ensure_future(store.record("demo", [AuditEntry(1, b"{}")]))
        await asyncio.sleep(0)
        left.cancel()

    for number in range(3):
        asyncio.run(leave())
        asyncio.run(store.record("demo", [AuditEntry(2, b"{}")]))
        assert sum(each.recorded == 2 for each in _entries(store)) == number + 1
    asyncio.run(store.close())


async def test_a_file_that_another_process_writes_is_waited_for_elsewhere(tmp_path: Path) -> None:
    """A purge by another process holds the file; the event loop goes on meanwhile, and the entry follows it."""
    clock = SteppingClock()
    store = SqliteStore(tmp_path, clock, Ids(clock))
    await store.create_tenant("demo")
    await store.record("demo", [AuditEntry(1, b"{}")])
    other = apsw.Connection(str(tmp_path / "tenants/demo/audit-1.db"))
    other.execute("BEGIN IMMEDIATE")
    recording = asyncio.ensure_future(store.record("demo", [AuditEntry(2, b"{}")]))
    for _ in range(10):
        await asyncio.sleep(0.01)
    assert not recording.done()
    other.execute("ROLLBACK")
    await recording
    await store.record("demo", [AuditEntry(3, b"{}")])
    other.close()
    await store.close()
