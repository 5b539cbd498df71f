"""The server's process is killed (SIGKILL) in the middle of holds, confirmations and merges, again and again."""

import asyncio
import itertools
import random
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
import uvloop

from tests.benchmarks import clinic
from tests.benchmarks.load import drive, request, send_all
from tests.benchmarks.process import ServerProcess
from tests.faults.booking import BASE_PATH, Booking, half_done
from tests.faults.integrity import look
from tests.faults.writing import lost

CONNECTIONS = 8


@pytest.mark.requirement("R-10.6", "R-8.2", "R-10.10")
def test_bookings_are_whole_after_three_kills(tmp_path: Path) -> None:
    """What was acknowledged is there with its event; no slot, hold or merge is half there."""
    _kill_and_look(tmp_path, rounds=3)


@pytest.mark.soak
@pytest.mark.requirement("R-10.6", "R-8.2", "R-10.10")
def test_bookings_are_whole_after_fifty_kills(tmp_path: Path) -> None:
    _kill_and_look(tmp_path, rounds=50)


def _kill_and_look(folder: Path, *, rounds: int) -> None:
    slots, people = rounds * 200 + 400, 200
    tokens = clinic.run_in(folder, lambda parts: clinic.make(parts, slots=slots, schedules=50, patients=people))
    # Proposals want the last slots, offers are the first ones.
    chance, acknowledged, wanted = random.Random(7), [], iter(list(clinic.free_slots(slots))[::-1])
    turns, merged = itertools.cycle(range(people)), 0
    for number in range(rounds + 1):
        with ServerProcess(folder) as server:
            offers = _offers(server)
            found = look(folder / "tenants" / clinic.TENANT)
            assert (found.faults, lost(acknowledged, found), half_done(found)) == ([], [], []), f"after kill {number}"
            if number < rounds:
                booking = Booking(tokens, offers, wanted, turns, number)
                uvloop.run(_load_until_killed(server, booking, chance.uniform(0.1, 0.5)))
                assert booking.acknowledged, f"nothing came through before kill {number + 1}"
                acknowledged += booking.acknowledged
                merged += any(version is not None and version[0] == "Patient" for _, version in booking.acknowledged)
    statuses = {orjson.loads(body)["status"] for (type_, *_), body in found.versions.items() if type_ == "Appointment"
                and body is not None}  # fmt: skip
    assert {"pending", "booked", "proposed"} <= statuses, "all of it was under way"
    assert merged, "merges too"


def _offers(server: ServerProcess) -> list[str]:
    """The ids of times that can be held."""
    start = clinic.first_day()
    times = (quote(clinic.instant(moment)) for moment in (start, start + timedelta(days=90)))
    query = "start={}&end={}&_count=100".format(*times)
    answer = send_all(server.port, [request("GET", f"{BASE_PATH}/Appointment/$find?{query}")])[0]
    assert answer.status == 200, answer.body
    return [entry["resource"]["id"] for entry in orjson.loads(answer.body)["entry"]]


async def _load_until_killed(server: ServerProcess, booking: Booking, seconds: float) -> None:
    killed = False

    def following() -> bytes | None:
        try:
            return None if killed else booking.next()
        except StopIteration:  # no time is left that could be booked
            return None

    load = asyncio.create_task(drive(server.port, [following] * CONNECTIONS, on_reply=booking.on_reply))
    # However slow the machine is: until each kind of work is under way, or what is left allows no more of it.
    for _ in range(1_000):
        if booking.kinds >= {"Patient", "proposed", "pending", "booked"}:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(seconds)
    server.kill()
    killed = True
    await load
