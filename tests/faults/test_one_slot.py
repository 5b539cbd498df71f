"""Many clients want one slot at the same moment, over HTTP, of one server process and of two, on either store."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from fhir_server.audit.event import Event
from tests import mongod
from tests.benchmarks import clinic
from tests.benchmarks.load import NextRequest, Reply, drive, request, send_all
from tests.benchmarks.process import ServerProcess
from tests.faults.agreement import look_in
from tests.faults.integrity import Found, look
from tests.faults.writing import BASE_PATH, CONFIRMATION

CLIENTS = 200
CLIENTS_OF_MONGO = 60


@pytest.mark.parametrize("processes", [1, 2])
def test_one_of_many_confirmations_of_one_slot_wins(tmp_path: Path, processes: int) -> None:
    """Exactly one is answered 200, all others 409; the audit shows them all and nothing is half-changed (R-10.6)."""
    found = _confirm(tmp_path, processes, CLIENTS, lambda: look(tmp_path / "tenants" / clinic.TENANT))
    _check(found, CLIENTS)


def test_one_of_many_confirmations_wins_on_mongo(tmp_path: Path) -> None:
    """The same through two server processes on MongoDB."""
    uri = mongod.server().database_for(tmp_path)
    _check(_confirm(uri, 2, CLIENTS_OF_MONGO, lambda: look_in(uri)), CLIENTS_OF_MONGO)


@pytest.mark.soak
def test_one_of_a_thousand_confirmations_wins_on_mongo(tmp_path: Path) -> None:
    uri = mongod.server().database_for(tmp_path)
    _check(_confirm(uri, 2, 1_000, lambda: look_in(uri)), 1_000)


def _confirm(place: Path | str, processes: int, clients: int, looked: Callable[[], Found]) -> Found:
    """What is there after so many clients have each made a proposal, and each had it confirmed, all at once."""
    tokens = clinic.run_in(place, lambda parts: clinic.make(parts))
    with ExitStack() as stack:
        ports = [stack.enter_context(ServerProcess(place)).port for _ in range(processes)]
        proposals = [
            request("POST", f"{BASE_PATH}/Appointment", clinic.proposal("0", f"Family {n}")) for n in range(clients)
        ]
        proposed = send_all(ports[0], proposals, connections=16)
        assert Counter(reply.status for reply in proposed) == {201: clients}
        ids = [reply.json()["id"] for reply in proposed]
        replies = uvloop.run(_confirm_together(ports, ids, tokens.practitioner))
        # A store that is asked by too many at once may answer 503; those try again, as clients do.
        while later := [reply for reply in replies if reply.status == 503]:
            assert all(reply.header("retry-after") for reply in later)
            again = [reply.header("x-request-id").removeprefix("confirm-") for reply in later]
            replies = [reply for reply in replies if reply.status != 503]
            replies += uvloop.run(_confirm_together(ports, again, tokens.practitioner))
        found = looked()
    assert Counter(reply.status for reply in replies) == {200: 1, 409: clients - 1}
    _check_refusals([reply for reply in replies if reply.status == 409])
    assert {event.request_id for event in _patches(found)} == {f"confirm-{id_}" for id_ in ids}
    return found


def _patches(found: Found) -> list[Event]:
    return [event for event in found.events if event.subtype == "patch" and event.entity.startswith("Appointment")]


def _check(found: Found, clients: int) -> None:
    assert found.faults == []
    assert Counter(event.outcome for event in _patches(found) if event.outcome != "8") == {"0": 1, "4": clients - 1}
    changed = sorted((type_, version) for type_, _, version in found.versions if type_ != "Patient" and version > 1)
    assert [version for type_, version in changed if type_ == "Slot"] == [2]
    # The one that is booked, and the first of all, which was marked as contested when the second came.
    assert len([type_ for type_, _ in changed if type_ == "Appointment"]) <= 3


async def _confirm_together(ports: list[int], ids: list[str], token: str) -> list[Reply]:
    replies: list[Reply] = []
    requests = [
        request(
            "PATCH",
            f"{BASE_PATH}/Appointment/{id_}",
            CONFIRMATION,
            authorization=f"Bearer {token}",
            content_type="application/json-patch+json",
            x_request_id=f"confirm-{id_}",
        )
        for id_ in ids
    ]
    shares = [requests[n :: len(ports)] for n in range(len(ports))]
    runs = [
        drive(
            port,
            [_once(each) for each in share],
            on_reply=lambda _, reply: replies.append(reply),
        )
        for port, share in zip(ports, shares, strict=True)
    ]
    await asyncio.gather(*runs)
    return replies


def _once(request_: bytes) -> NextRequest:
    left = [request_]
    return lambda: left.pop() if left else None


def _check_refusals(refusals: list[Reply]) -> None:
    for refusal in refusals:
        issue = refusal.json()["issue"][0]
        assert (issue["severity"], issue["code"]) == ("error", "conflict")
        assert "Slot/0 is taken" in issue["diagnostics"]
        assert issue["expression"] == ["Appointment.slot[0]"]
