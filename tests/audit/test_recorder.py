"""The log against an independent recorder: a random run of requests on a server that is killed again and again.

Afterwards the AuditEvents are exactly what happened: nothing is missing, and nothing is there twice. Of a request that
was not answered when the server was killed, change and event are both there, or neither.
"""

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fhir_server.app import Parts
from fhir_server.store.protocol import HistoryQuery, Unit
from smart_auth import accounts, clients, operator
from smart_auth.accounts import Account
from smart_auth.clients import Client
from tests import mongod
from tests.audit.recording import BASE_PATH, PATIENTS, Caller, Line, Recorder, read_line
from tests.benchmarks import clinic
from tests.benchmarks.load import Reply, drive, request, send_all
from tests.benchmarks.process import ServerProcess

CONNECTIONS = 12
# Refusals of unknown callers beyond a hundred a minute are only counted: the run stays below.
UNKNOWN = 90


@pytest.fixture
def place(store_kind: str, tmp_path: Path) -> Path | str:
    """Where the data are: a folder, or the connection string of a database."""
    return mongod.server().database_for(tmp_path) if store_kind == "mongo" else tmp_path


@pytest.mark.requirement("R-6.5", "R-10.7")
def test_the_log_is_what_happened_over_a_thousand_requests_and_two_kills(place: Path | str) -> None:
    """Reads, searches, writes, bookings, operations, Bundles and refusals of several callers."""
    _run(place, requests=1_000, kills=2)


@pytest.mark.soak
def test_the_log_is_what_happened_over_twenty_thousand_requests_and_ten_kills(place: Path | str) -> None:
    """Issue 7, "Must hold"."""
    _run(place, requests=20_000, kills=10)


def _run(place: Path | str, *, requests: int, kills: int) -> None:
    callers = clinic.run_in(place, lambda parts: _made(parts, slots=requests))
    recorders = _recorders(callers, requests)
    asks = recorders[0].asks
    for round_ in range(kills + 1):
        recorders[0].refused_unknown[0] = UNKNOWN
        with ServerProcess(place) as server:
            enough = requests * (round_ + 1) // (kills + 1)
            uvloop.run(_until_killed(server, recorders, enough, is_last=round_ == kills))
        _abandon(place)
    with ServerProcess(place) as server:
        _ask_whose_they_are(server, recorders[0])
        found = _read_log(server, callers["auditing"])
    seeded, minted = found.pop("seed"), found.pop("")
    assert {line.subtype: count for line, count in minted.items()} == {"ITI-71": 1}, "the tokens, minted beforehand"
    unanswered = [ask for ask in asks.values() if ask.reply is None]
    assert kills <= len(unanswered) <= kills * CONNECTIONS
    assert found.keys() - asks.keys() == set(), "events of requests that nobody sent"
    answered = [ask for ask in asks.values() if ask.reply is not None]
    wrong = [
        f"{ask}: {there} is there, {meant} was to be"
        for ask in answered
        if (there := found.get(ask.id, Counter())) != (meant := ask.expected())
    ]
    assert wrong == []
    half = [
        f"{ask}: {found[ask.id]}"
        for ask in unanswered
        if ask.id in found and ask.parts and not ask.can_be(found[ask.id])
    ]
    assert half == []
    changes = Counter(line.entity for lines in (*found.values(), seeded) for line in lines.elements()
                      if line.action in "CUD" and line.outcome == "0" and line.entity)  # fmt: skip
    assert changes == clinic.run_in(place, _versions)


async def _until_killed(server: ServerProcess, recorders: Sequence[Recorder], enough: int, *, is_last: bool) -> None:
    """Send until so many requests are answered; then kill the server, or on the last round send no more."""
    asks, is_over = recorders[0].asks, False
    answered = sum(ask.reply is not None for ask in asks.values())

    def on_reply(_: bytes, reply: Reply) -> None:
        nonlocal answered, is_over
        ask = asks[reply.header("x-request-id")]
        assert reply.status in (ask.status, 503), (ask.data, reply)
        ask.reply = reply
        answered += 1
        if ask.then is not None and reply.status != 503:
            ask.then(reply)
        if answered >= enough and not is_over:
            is_over = True
            if not is_last:
                server.kill()

    loops = [lambda each=each: None if is_over else each.next() for each in recorders]
    measured = await drive(server.port, loops, on_reply=on_reply)
    assert is_last or measured.lost, "the kill was to come while answers were awaited"


def _abandon(place: Path | str) -> None:
    """Have MongoDB give up the transactions of the killed process, as it does by itself after a minute."""
    if isinstance(place, str):
        with mongod.server().primary().client() as client:
            client.admin.command("killAllSessions", [])


def _recorders(callers: dict[str, Caller], slots: int) -> list[Recorder]:
    asks: dict[str, Any] = {}
    people: dict[str, str] = {}
    names, free, unknown = (f"ask-{n}" for n in itertools.count()), clinic.free_slots(slots), [UNKNOWN]
    return [Recorder(callers, random.Random(n), names, free, asks, people, unknown) for n in range(CONNECTIONS)]


def _ask_whose_they_are(server: ServerProcess, recorder: Recorder) -> None:
    """Read every proposal, so that it is known for whom it is; these reads are recorded too."""
    proposals = [ask for ask in recorder.asks.values() if b"POST /demo/fhir/Appointment " in ask.data]
    made = {ask.reply.json()["id"] for ask in proposals if ask.reply is not None and ask.reply.status == 201}
    for id_ in sorted(made):

        def lines(reply: Reply, id_: str = id_) -> list[Line]:
            entity = f"Appointment/{id_}/_history/{reply.json()['meta']['versionId']}"
            return [recorder.line("staff", "read", "R", entity=entity, patients=(recorder.people[id_],))]

        ask = recorder.ask("staff", "GET", f"Appointment/{id_}", None, 200, lines, row=("read", "R"))
        recorder.asks[ask.id] = ask
        (ask.reply,) = send_all(server.port, [ask.data])
        actors = [each["actor"]["reference"] for each in ask.reply.json()["participant"]]
        (recorder.people[id_],) = [actor.partition("/")[2] for actor in actors if actor.startswith("Patient/")]


def _read_log(server: ServerProcess, auditing: Caller) -> dict[str, Counter[Line]]:
    """Every AuditEvent by its request's id, read as an auditor does; that reading is in it as well."""
    found: dict[str, Counter[Line]] = {}
    path: str | None = f"{BASE_PATH}/AuditEvent?_sort=date&_count=1000"
    pages = 0
    while path is not None:
        asked = request("GET", path, x_request_id="log", authorization=f"Bearer {auditing.token}")
        (reply,) = send_all(server.port, [asked])
        assert reply.status == 200, reply.body
        bundle = reply.json()
        for entry in bundle["entry"]:
            id_, line = read_line(entry["resource"])
            found.setdefault(id_, Counter())[line] += 1
        path = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        path = path and path.removeprefix(clinic.ORIGIN)
        pages += 1
    assert found.pop("log", Counter()).total() == pages - 1
    return found


async def _versions(parts: Parts) -> Counter[str]:
    """Every version that is stored."""

    async def work(unit: Unit) -> Counter[str]:
        page = await unit.history(HistoryQuery(count=1_000_000))
        return Counter(f"{each.type}/{each.id}/_history/{each.version}" for each in page.matches)

    found: Counter[str] = await parts.store.run(clinic.TENANT, work, write=False)
    return found


async def _made(parts: Parts, *, slots: int) -> dict[str, Caller]:
    tokens = await clinic.make(parts, schedules=20, slots=slots, patients=PATIENTS)

    async def work(unit: Unit) -> None:
        code, redirects = ("authorization_code",), ("http://localhost:4567/callback",)
        await clients.save(unit, Client("app", "public", "patient-portal", ("patient/*.cruds",), code, redirects))
        await accounts.save(unit, Account("p1", "unusable", "patient", "Patient/p1"))

    await parts.store.run(clinic.TENANT, work, write=True)
    patient = await operator.mint(parts.services, clinic.TENANT, operator.Wanted("app", "patient/*.cruds", "p1"))
    return {
        "staff": Caller("system", "", tokens.service),
        "lee": Caller("portal", "Practitioner/lee", tokens.practitioner),
        "auditing": Caller("auditing", "", tokens.auditor),
        "p1": Caller("app", "Patient/p1", patient),
        "anonymous": Caller("anonymous", ""),
    }
