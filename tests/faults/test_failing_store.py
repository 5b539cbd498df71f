"""The store cannot write: the disk is full or failing, or another process holds the lock.

The answer is 503 with Retry-After, nothing is half-done, and the server works again when the store does.
"""

import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import apsw
import orjson
import pytest

from fhir_server.app import Asgi
from fhir_server.store.sqlite import schema
from tests.benchmarks import clinic
from tests.faults.disk import FaultyDisk
from tests.faults.in_process import Heard, Running, ask, connect_with, load
from tests.faults.integrity import look
from tests.faults.writing import BASE_PATH, Writing, lost

_HOLD_THE_LOCK = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
connection.close()
print("released", flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    found = FaultyDisk(f"faulty-{tmp_path.name}")
    yield found
    found.unregister()


Fault = Callable[[str, str], None]


def _failing(error: type[apsw.Error], operation: str, share: float, *, of: str) -> Fault:
    """A share of the operations on the WAL files of `of` fail.

    Checkpoints, which come after a commit, are left out: SQLite keeps their failures to itself, but a VFS in Python
    cannot, and would have the commit look as if it had failed.
    """
    chance = random.Random(3)

    def fault(done: str, file: str) -> None:
        if done == operation and file.startswith(of) and file.endswith("-wal") and chance.random() < share:
            raise error("as the test has it")

    return fault


@pytest.mark.parametrize("of", ["clinic", "audit", ""])
@pytest.mark.parametrize(
    ("error", "operation"), [(apsw.FullError, "write"), (apsw.IOError, "write"), (apsw.IOError, "sync")]
)
async def test_a_failing_disk_is_answered_503_and_leaves_nothing_half_done(
    tmp_path: Path,
    disk: FaultyDisk,
    monkeypatch: pytest.MonkeyPatch,
    error: type[apsw.Error],
    operation: str,
    of: str,
) -> None:
    """Of a mixed load, what was answered 503 is not there, what was acknowledged is, and then all works again."""
    connect_with(monkeypatch, "wal_autocheckpoint=0")
    async with _clinic(tmp_path, disk.name) as (app, writing):
        await load(app, writing, requests=60)
        disk.fault = _failing(error, operation, 0.02 if operation == "write" else 0.3, of=of)
        heard = await load(app, writing, requests=150)
        _check_answers(heard)
        assert any(each.status == 503 for each in heard), "the test is to see failures"
        disk.fault = lambda _operation, _file: None
        after = await load(app, writing, requests=60)
        assert {each.status for each in after} <= {200, 201}
    _check_folder(tmp_path, writing)


async def test_a_full_disk_refuses_writes_and_works_again_when_there_is_room(tmp_path: Path, disk: FaultyDisk) -> None:
    """While nothing can be written, every request that needs the disk is 503."""
    async with _clinic(tmp_path, disk.name) as (app, writing):
        await load(app, writing, requests=30)
        disk.fault = _failing(apsw.FullError, "write", 1.0, of="")
        heard = await load(app, writing, requests=40)
        assert {each.status for each in heard} == {503}
        _check_answers(heard)
        disk.fault = lambda _operation, _file: None
        assert {each.status for each in await load(app, writing, requests=30)} <= {200, 201}
    _check_folder(tmp_path, writing)


async def test_a_lock_held_too_long_is_answered_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds the clinic's write lock beyond the timeout: writes are 503, reads are served."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_MILLISECONDS", 150)
    async with _clinic(tmp_path, "") as (app, writing):
        await load(app, writing, requests=20)
        written = next(version for _, version in writing.acknowledged if version and version[0] == "Observation")
        staff = {"authorization": f"Bearer {writing.tokens.service}"}
        with _another_process_holding_the_lock(tmp_path):
            refused = await ask(app, "POST", f"{BASE_PATH}/Observation", clinic.observation(), **staff)
            read = await ask(app, "GET", f"{BASE_PATH}/Observation/{written[1]}", **staff)
        _check_answers([refused])
        assert (refused.status, read.status) == (503, 200)
        assert (await ask(app, "POST", f"{BASE_PATH}/Observation", clinic.observation(), **staff)).status == 201
    assert look(tmp_path / "tenants" / clinic.TENANT).faults == []


@asynccontextmanager
async def _clinic(folder: Path, vfs: str) -> AsyncIterator[tuple[Asgi, Writing]]:
    """A running server over a new clinic, and a load for it."""
    parts = clinic.parts_of(folder)
    tokens = await clinic.make(parts, slots=800, schedules=50)
    await parts.store.close()
    async with Running(folder, vfs) as app:
        yield app, Writing(tokens, clinic.free_slots(800), 1)


@contextmanager
def _another_process_holding_the_lock(folder: Path) -> Iterator[None]:
    file = folder / "tenants" / clinic.TENANT / "clinic.db"
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD_THE_LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "released\n"


def _check_answers(heard: Sequence[Heard]) -> None:
    for each in heard:
        assert each.status in (200, 201, 503), each
        if each.status == 503:
            assert int(each.headers["retry-after"]) > 0
            issue = orjson.loads(each.body)["issue"][0]
            assert (issue["severity"], issue["code"]) == ("error", "transient")


def _check_folder(folder: Path, writing: Writing) -> None:
    """What was acknowledged, and only that, was stored by the load."""
    found = look(folder / "tenants" / clinic.TENANT)
    assert (found.faults, lost(writing.acknowledged, found)) == ([], [])
    observations = {version for version in found.versions if version[0] == "Observation"}
    assert observations == {version for _, version in writing.acknowledged if version and version[0] == "Observation"}
