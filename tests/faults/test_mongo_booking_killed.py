"""Three nodes under two server processes, and the primary killed while clients propose and confirm over HTTP."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import uvloop

from tests.benchmarks import clinic
from tests.benchmarks.load import Reply, drive, request, send_all
from tests.benchmarks.process import ServerProcess
from tests.faults.agreement import look_in
from tests.faults.writing import BASE_PATH, BOOKING, Writing, lost
from tests.mongod import Node, ReplicaSet, make_replica_set

CONNECTIONS = 4  # to each of the two processes
SLOTS_A_KILL = 60
PROPOSALS_A_SLOT = 3
# What is sent so long after the new primary was elected is not refused any more: the driver looks twice a second.
GRACE_SECONDS = 5.0


@pytest.fixture
def three() -> Iterator[ReplicaSet]:
    made, folder = make_replica_set(3)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


class Clients:
    """Clients of one process: what they sent when, and what they were answered."""

    def __init__(self, writing: Writing) -> None:
        self.writing = writing
        self.answered: list[tuple[float, float, int]] = []  # sent, answered, status
        self.without_hint = 0
        self.stopped = False
        self._sent: dict[str, float] = {}

    def following(self) -> bytes | None:
        if self.stopped:
            return None
        made = self.writing.next()
        self._sent[_request_id(made)] = time.monotonic()
        return made

    def on_reply(self, sent: bytes, reply: Reply) -> None:
        began = self._sent.pop(_request_id(sent))
        self.answered.append((began, time.monotonic(), reply.status))
        self.without_hint += reply.status == 503 and not reply.header("retry-after")
        self.writing.on_reply(sent, reply)


def _request_id(sent: bytes) -> str:
    return sent.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()


# What is done to a primary while it is entered.
Fault = Callable[[Node], AbstractContextManager[None]]


@contextmanager
def killed(primary: Node) -> Iterator[None]:
    """Ended at once; started again at the end."""
    primary.kill()
    yield
    primary.start()


async def _break_under_load(
    three: ReplicaSet, ports: list[int], clients: list[Clients], times: int, fault: Fault
) -> list[float]:
    """How long each election took, from the fault to a new primary, in seconds."""
    runs = [
        asyncio.create_task(drive(port, [each.following] * CONNECTIONS, on_reply=each.on_reply))
        for port, each in zip(ports, clients, strict=True)
    ]
    elections = []
    for _ in range(times):
        await asyncio.sleep(1.5)
        primary = await asyncio.to_thread(three.primary)
        broken, breaking = time.monotonic(), fault(primary)
        await asyncio.to_thread(breaking.__enter__)
        await asyncio.to_thread(three.primary, primary)
        elected = time.monotonic()
        elections.append(elected - broken)
        await asyncio.to_thread(breaking.__exit__, None, None, None)
        await asyncio.sleep(GRACE_SECONDS + 1)
        late = [each for c in clients for each in c.answered if each[2] == 503 and each[0] > elected + GRACE_SECONDS]
        assert not late, f"503 for {late[-1][0] - elected:.1f} s after the election"
        good = [each for c in clients for each in c.answered if each[2] in (200, 201) and each[0] > elected]
        assert good, "nothing was taken after the election"
    for each in clients:
        each.stopped = True
    assert [run.lost for run in await asyncio.gather(*runs)] == [0, 0]
    return elections


def break_primaries(three: ReplicaSet, times: int, fault: Fault) -> None:
    """No acknowledged write is lost, no slot is taken twice, the audit log is whole, and 503 names Retry-After."""
    slots = times * SLOTS_A_KILL
    tokens = clinic.run_in(three.uri(), lambda parts: clinic.make(parts, slots=slots, schedules=20))
    # Each process's clients want the same slots.
    wanted = [slot for slot in clinic.free_slots(slots) for _ in range(PROPOSALS_A_SLOT)]
    with ExitStack() as stack:
        ports = [stack.enter_context(ServerProcess(three.uri())).port for _ in range(2)]
        clients = [Clients(Writing(tokens, wanted, seed, BOOKING)) for seed in range(2)]
        elections = uvloop.run(_break_under_load(three, ports, clients, times, fault))
    found = look_in(three.uri())
    acknowledged = [each for c in clients for each in c.writing.acknowledged]
    answered = [each for c in clients for each in c.answered]
    statuses = Counter(status for _, _, status in answered)
    print(
        json.dumps(
            {
                "faults": times,
                "election_seconds": {"median": sorted(elections)[times // 2], "longest": max(elections)},
                "answers": dict(sorted(statuses.items())),
                "longest_answer_seconds": max(end - begin for begin, end, _ in answered),
                "booked": sum(status == 200 for _, _, status in answered),
            }
        )
    )
    assert (found.faults, lost(acknowledged, found)) == ([], [])
    assert set(statuses) <= {200, 201, 409, 503}
    assert statuses[200] > 0
    assert statuses[409] > 0
    assert sum(c.without_hint for c in clients) == 0


def test_the_primary_is_killed_twice_under_bookings(three: ReplicaSet) -> None:
    break_primaries(three, 2, killed)


@pytest.mark.soak
def test_the_primary_is_killed_twenty_times_under_bookings(three: ReplicaSet) -> None:
    break_primaries(three, 20, killed)


@pytest.mark.soak
def test_a_primary_is_cut_off_from_the_others_under_bookings() -> None:
    """Clients still reach it, and nothing that it takes is lost or double; needs root and iproute2."""
    words = ["unshare", "--net", sys.executable, "-m", "tests.faults.partition"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


def test_without_a_majority_clients_are_told_to_try_again(three: ReplicaSet) -> None:
    """503 with Retry-After, and 201 as soon as there is a majority."""
    place = three.uri() + "&serverSelectionTimeoutMS=500&socketTimeoutMS=3000"
    clinic.run_in(place, lambda parts: clinic.make(parts, slots=2))
    with ServerProcess(place) as server:
        proposals = [request("POST", f"{BASE_PATH}/Appointment", clinic.proposal("0", f"F {n}")) for n in range(3)]
        assert send_all(server.port, proposals[:1])[0].status == 201
        primary = three.primary()
        down = [node for node in three.nodes if node is not primary]
        for node in down:
            node.kill()
        refused = send_all(server.port, proposals[1:2])[0]
        assert (refused.status, refused.header("retry-after") != "") == (503, True)
        assert refused.json()["issue"][0]["code"] == "transient"
        for node in down:
            node.start()
        three.primary()
        answers = [send_all(server.port, proposals[2:])[0].status for _ in range(1)]
        deadline = time.monotonic() + GRACE_SECONDS
        while answers[-1] == 503 and time.monotonic() < deadline:
            answers.append(send_all(server.port, proposals[2:])[0].status)
        assert answers[-1] == 201
