"""The server's process is killed (SIGKILL) under write load, again and again."""

import asyncio
import random
from pathlib import Path

import pytest
import uvloop

from tests.benchmarks import clinic
from tests.benchmarks.load import drive, request, send_all
from tests.benchmarks.process import ServerProcess
from tests.faults.integrity import look
from tests.faults.writing import BASE_PATH, Writing, lost

CONNECTIONS = 12


def test_what_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    """Every acknowledged write is there after the restart with its AuditEvent, and nothing is half there."""
    _kill_and_look(tmp_path, rounds=20, longest=0.3)


@pytest.mark.soak
def test_what_was_acknowledged_survives_two_hundred_kills(tmp_path: Path) -> None:
    """The same for longer, with more load between the kills."""
    _kill_and_look(tmp_path, rounds=200, longest=1.0)


def _kill_and_look(folder: Path, *, rounds: int, longest: float) -> None:
    tokens = clinic.run_in(folder, lambda parts: clinic.make(parts, slots=rounds * 100, schedules=50))
    chance, acknowledged, slots = random.Random(7), [], iter(clinic.free_slots(rounds * 100))
    for number in range(rounds + 1):
        with ServerProcess(folder) as server:
            answer = send_all(server.port, [request("GET", f"{BASE_PATH}/Slot/0")])[0]
            assert answer.status == 200
            found = look(folder / "tenants" / clinic.TENANT)
            assert (found.faults, lost(acknowledged, found)) == ([], []), f"after kill {number}"
            if number < rounds:
                writing = Writing(tokens, slots, number)
                uvloop.run(_load_until_killed(server, writing, chance.uniform(0.05, longest)))
                assert writing.acknowledged, f"no write came through before kill {number + 1}"
                acknowledged += writing.acknowledged


async def _load_until_killed(server: ServerProcess, writing: Writing, seconds: float) -> None:
    killed = False

    def following() -> bytes | None:
        return None if killed else writing.next()

    load = asyncio.create_task(drive(server.port, [following] * CONNECTIONS, on_reply=writing.on_reply))
    while not writing.acknowledged:
        await asyncio.sleep(0.01)
    await asyncio.sleep(seconds)
    server.kill()
    killed = True
    measured = await load
    assert measured.lost, "the kill was to come while answers were awaited"
