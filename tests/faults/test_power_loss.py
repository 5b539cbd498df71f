"""Power loss: whatever of the unsynced writes a cut leaves, what was answered before it is there, and whole.

The server runs on a disk that remembers, at random operations, what a cut there would leave (`disk.PowerDisk`).
"""

import asyncio
import random
from pathlib import Path

import apsw
import pytest

from tests.benchmarks import clinic
from tests.faults.disk import PowerDisk
from tests.faults.in_process import Running, connect_with, load
from tests.faults.integrity import look
from tests.faults.writing import Writing, lost

# A checkpoint every few commits, so that cuts come in the midst of them too.
CHECKPOINT_PAGES = 40


@pytest.mark.parametrize("seed", range(4))
def test_what_was_answered_before_a_power_cut_is_there_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """No answer is given before its sync: every acknowledged write and read has its data and audit after any cut."""
    connect_with(monkeypatch, f"wal_autocheckpoint={CHECKPOINT_PAGES}")
    assert _losses(tmp_path, seed, cuts=30, requests=500) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 160))
def test_what_was_answered_before_any_of_many_power_cuts_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The same, at many more moments."""
    connect_with(monkeypatch, f"wal_autocheckpoint={CHECKPOINT_PAGES}")
    assert _losses(tmp_path, seed, cuts=100, requests=3_000) == []


def test_a_store_that_does_not_sync_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test can fail: without syncs a cut loses what was acknowledged."""
    connect_with(monkeypatch, "synchronous=OFF")
    assert _losses(tmp_path, 1, cuts=20, requests=300) != []


def _losses(folder: Path, seed: int, *, cuts: int, requests: int) -> list[str]:
    """What is lost or damaged after each of the cuts of one run."""
    chance, running = random.Random(seed), folder / "running"
    tokens = clinic.run_in(running, lambda parts: clinic.make(parts, slots=400, schedules=10))
    writing = Writing(tokens, clinic.free_slots(400), seed)
    disk = PowerDisk(f"power-{seed}-{folder.name}", lambda: len(writing.acknowledged), chance, most_cuts=cuts)
    try:
        _run(running, disk, writing, requests)
    finally:
        disk.unregister()
    assert len(disk.cuts) >= cuts // 2, "too few cuts to tell"
    assert disk.cuts[-1].told > 20, "too little was acknowledged to tell"
    found = []
    for number, cut in enumerate(disk.cuts):
        left = folder / f"cut-{number}"
        left.mkdir()
        cut.leave(left, chance)
        found += [f"seed {seed}, cut {number}: {loss}" for loss in _lost_in(left, writing, cut.told)]
    return found


def _run(running: Path, disk: PowerDisk, writing: Writing, requests: int) -> None:
    async def whole() -> None:
        async with Running(running, disk.name) as app:
            await load(app, writing, requests=requests)

    asyncio.run(whole())


def _lost_in(left: Path, writing: Writing, told: int) -> list[str]:
    try:
        found = look(left)
    except apsw.Error as error:
        return [f"the files cannot be opened: {error}"]
    return [*found.faults, *lost(writing.acknowledged[:told], found)]
