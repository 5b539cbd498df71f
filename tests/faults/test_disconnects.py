"""Clients that go away: in the midst of a body, or before they have their answer."""

import random
import socket
import time
from pathlib import Path

from tests.benchmarks import clinic
from tests.benchmarks.load import request, send_all
from tests.benchmarks.process import ServerProcess
from tests.faults.integrity import look
from tests.faults.writing import BASE_PATH


def test_clients_that_go_away_leave_nothing_half_done(tmp_path: Path) -> None:
    """A request that did not come whole stores nothing, even where what came of it is sound JSON."""
    tokens = clinic.run_in(tmp_path, lambda parts: clinic.make(parts))
    chance = random.Random(5)
    staff = {"authorization": f"Bearer {tokens.service}"}
    with ServerProcess(tmp_path) as server:
        for number in range(60):
            whole = request(
                "POST", f"{BASE_PATH}/Observation", clinic.observation(), x_request_id=f"cut-{number}", **staff
            )
            _send_and_go(server.port, whole[: chance.randrange(1, len(whole))])
        for number in range(20):
            body = b'{"resourceType":"Basic","code":{"text":"cut"}}'
            whole = request("POST", f"{BASE_PATH}/Basic", body + b" ", x_request_id=f"sound-{number}", **staff)
            _send_and_go(server.port, whole[:-1])
        for number in range(60):
            whole = request(
                "POST", f"{BASE_PATH}/Observation", clinic.observation(), x_request_id=f"gone-{number}", **staff
            )
            _send_and_go(server.port, whole)
        time.sleep(0.3)
        last = send_all(server.port, [request("POST", f"{BASE_PATH}/Observation", clinic.observation(), **staff)])[0]
        assert last.status == 201
        found = look(tmp_path / "tenants" / clinic.TENANT)
    assert found.faults == []
    stored = {event.request_id for event in found.events if event.action == "C"}
    assert [id_ for id_ in stored if id_.startswith(("cut-", "sound-"))] == []


def _send_and_go(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
