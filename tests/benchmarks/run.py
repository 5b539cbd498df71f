"""The benchmarks: `python -m tests.benchmarks.run` (`make bench`). What is measured, and how: docs/benchmarks.md.

Results are ratios to what is measured beside them, in turns: a bare Starlette route that returns the same bytes, and
a bare SQLite loop that inserts the same rows. So they hold on another machine, and on a busy one.
"""

import argparse
import compileall
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from tests import mongod
from tests.benchmarks import clinic
from tests.benchmarks.clinic import Tokens
from tests.benchmarks.inserts import Inserts
from tests.benchmarks.load import Measured, NextRequest, OnReply, Reply, request, run_load, send_all
from tests.benchmarks.process import ROOT, ServerProcess

PACKAGES = ("fhir_server", "smart_auth", "profiles", "tests")
BASE = f"/{clinic.TENANT}/fhir"
CONFIRMATION = b'[{"op":"replace","path":"/status","value":"booked"}]'
PATIENTS, SCHEDULES = 2_000, 100
KINDS = ("bare read", "read", "bare search", "search", "search sorted", "create", "update", "proposal", "confirmation")


@dataclass(frozen=True, slots=True)
class Figure:
    """What a result must hold: at least, or at most, `bound`."""

    name: str
    bound: float
    at_most: bool = False
    unit: str = ""

    def holds(self, value: float) -> bool:
        """Whether the value is on the right side."""
        return value <= self.bound if self.at_most else value >= self.bound


FIGURES = (
    Figure("read / bare read", 0.4),
    Figure("create / bare read", 0.1),
    Figure("search / bare search", 0.1),
    Figure("search sorted / bare search", 0.1),
    Figure("start to first answer", 1.5, at_most=True, unit="s"),
    Figure("resident memory", 150, at_most=True, unit="MB"),
)


class Requests:
    """What each kind of load sends; answers feed the kinds that build on them."""

    def __init__(self, tokens: Tokens, slots: int) -> None:
        self._system = {"authorization": f"Bearer {tokens.service}"}
        self._staff = {"authorization": f"Bearer {tokens.practitioner}"}
        self._chance = random.Random(1)
        self._days = [
            (clinic.first_day() + timedelta(days=n)).date() for n in range(slots // (SCHEDULES * clinic.SLOTS_A_DAY))
        ] or [clinic.first_day().date()]
        self._free = clinic.free_slots(slots)
        self._observations: list[str] = []
        self._proposals: list[str] = []

    def read(self) -> bytes:
        """GET a Patient."""
        return request("GET", f"{BASE}/Patient/p{self._chance.randrange(PATIENTS)}", **self._system)

    def search(self, *, sort: str = "") -> bytes:
        """GET a page of 20 of the free Slots of a day."""
        day = self._chance.choice(self._days)
        following = day + timedelta(days=1)
        query = f"status=free&start=ge{day}&start=lt{following}&_count=20{sort}"
        return request("GET", f"{BASE}/Slot?{query}", **self._system)

    def create(self) -> bytes:
        """POST an Observation."""
        value = self._chance.randrange(400, 1200) / 10
        return request("POST", f"{BASE}/Observation", clinic.observation(value), **self._system)

    def update(self) -> bytes:
        """PUT an Observation that was created before."""
        id_ = self._chance.choice(self._observations)
        body = clinic.observation(self._chance.randrange(400, 1200) / 10) | {"id": id_}
        return request("PUT", f"{BASE}/Observation/{id_}", body, **self._system)

    def proposal(self) -> bytes | None:
        """POST an Appointment without a login, for the next free Slot."""
        slot = next(self._free, None)
        return None if slot is None else request("POST", f"{BASE}/Appointment", clinic.proposal(str(slot)))

    def confirmation(self) -> bytes | None:
        """PATCH a proposal to `booked`."""
        if not self._proposals:
            return None
        path, media_type = f"{BASE}/Appointment/{self._proposals.pop()}", "application/json-patch+json"
        return request("PATCH", path, CONFIRMATION, content_type=media_type, **self._staff)

    def of(self, kind: str) -> tuple[NextRequest, OnReply | None]:
        """The requests of a kind, and who takes in the answers."""
        match kind:
            case "read":
                return self.read, None
            case "search":
                return self.search, None
            case "search sorted":
                return (lambda: self.search(sort="&_sort=start")), None
            case "create":
                return self.create, self._made(self._observations)
            case "update":
                return self.update, None
            case "proposal":
                return self.proposal, self._made(self._proposals)
            case _:
                return self.confirmation, None

    @staticmethod
    def _made(ids: list[str]) -> OnReply:
        def take(_: bytes, reply: Reply) -> None:
            if reply.status == 201:
                ids.append(reply.header("location").split("/_history/")[0].rsplit("/", 1)[1])

        return take


@dataclass(slots=True)
class Results:
    """All that was measured: runs by kind, one a round, and single values by name."""

    runs: dict[str, list[Measured]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def per_second(self, kind: str) -> float:
        """The median of the rounds."""
        return median(run.per_second for run in self.runs[kind])

    def ratio(self, kind: str, beside: str) -> float:
        """The median, over the rounds, of the ratio within a round."""
        pairs = zip(self.runs[kind], self.runs[beside], strict=True)
        return median(run.per_second / (bare.per_second or 1) for run, bare in pairs)

    def processor_microseconds(self, kind: str) -> float:
        """The median of the rounds."""
        return median(run.processor_microseconds for run in self.runs[kind])

    def percentile(self, kind: str, share: float) -> float:
        """The median of the rounds, in milliseconds."""
        return median(run.percentile(share) for run in self.runs[kind])


def measure(place: Path | str, pages: Path, arguments: argparse.Namespace) -> Results:
    """All measurements, on a clinic made in a folder or database; `pages` is for the bare routes' bytes."""
    results = Results()
    begin = perf_counter()
    tokens = clinic.run_in(
        place, lambda parts: clinic.make(parts, schedules=SCHEDULES, slots=arguments.slots, patients=PATIENTS)
    )
    results.values["seconds to seed"] = perf_counter() - begin
    requests = Requests(tokens, arguments.slots)
    for package in PACKAGES:  # as `make install` leaves it, whatever was edited since
        compileall.compile_dir(ROOT / package, quiet=1)
    results.values["start to first answer"] = median(_start(place, requests) for _ in range(3))
    with ServerProcess(place) as server:
        pages.mkdir()
        for name, sent in (("read", requests.read()), ("search", requests.search())):
            reply = send_all(server.port, [sent])[0]
            assert reply.status == 200, reply
            (pages / name).write_bytes(reply.body)
        results.values["search page in bytes"] = len(reply.body)
        results.values["resident memory after start"] = server.resident_megabytes()
        with ServerProcess(pages, "tests.benchmarks.bare") as bare:
            for _ in range(arguments.rounds):
                for kind in KINDS:
                    _round(kind, results, requests, server, bare, arguments)
        results.values["resident memory"] = server.resident_megabytes()
        created = send_all(server.port, [requests.create()])[0].json()["id"]
    if isinstance(place, Path):
        _insert(results, place, created, pages.parent, arguments)
    return results


def _start(place: Path | str, requests: Requests) -> float:
    with ServerProcess(place) as server:
        assert send_all(server.port, [requests.read()])[0].status == 200
        return perf_counter() - server.started


def _round(
    kind: str,
    results: Results,
    requests: Requests,
    server: ServerProcess,
    bare: ServerProcess,
    arguments: argparse.Namespace,
) -> None:
    process = bare if kind.startswith("bare") else server
    if process is bare:
        # The token goes along, so that as many bytes come in.
        sent = requests.read().replace(f"{BASE}/Patient/p".encode(), b"/" + kind.split()[1].encode() + b"?", 1)
        following, on_reply = (lambda: sent), None
    else:
        following, on_reply = requests.of(kind)
    before = process.processor_seconds()
    run = run_load(
        process.port, following, connections=arguments.connections, seconds=arguments.seconds, on_reply=on_reply
    )
    run.processor_seconds = process.processor_seconds() - before
    faults = {status: count for status, count in run.statuses.items() if status not in (200, 201)}
    if faults or run.lost:
        raise RuntimeError(f"{kind}: answers {faults}, {run.lost} connections lost")
    results.runs.setdefault(kind, []).append(run)


def _insert(results: Results, data: Path, id_: str, folder: Path, arguments: argparse.Namespace) -> None:
    file = data / "tenants" / clinic.TENANT / "clinic.db"
    inserts = Inserts(file, "Observation", id_, folder)
    for name, together in (("one commit each", 1), (f"a commit for {arguments.connections}", arguments.connections)):
        results.values[f"bare inserts, {name}"] = inserts.per_second(arguments.seconds, together=together)
    inserts.close()


def report(results: Results, arguments: argparse.Namespace) -> dict[str, Any]:
    """The results as JSON values."""
    values = dict(results.values)
    values |= {
        f"{kind} / {beside}": results.ratio(kind, beside)
        for kind, beside in (
            *((kind, "bare read") for kind in ("read", "create", "update", "proposal", "confirmation")),
            ("search", "bare search"),
            ("search sorted", "bare search"),
        )
    }
    for name in [name for name in values if name.startswith("bare inserts")]:
        values[f"create / {name}"] = results.per_second("create") / values[name]
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "python": platform.python_version()},
        "arguments": {name: value for name, value in vars(arguments).items() if name != "out"},
        "kinds": {
            kind: {
                "per_second": round(results.per_second(kind), 1),
                "p50_ms": round(results.percentile(kind, 0.50), 2),
                "p95_ms": round(results.percentile(kind, 0.95), 2),
                "p99_ms": round(results.percentile(kind, 0.99), 2),
                "cpu_us": round(results.processor_microseconds(kind), 1),
            }
            for kind in results.runs
        },
        "values": {name: round(value, 3) for name, value in values.items()},
        "figures": {
            figure.name: {"bound": figure.bound, "holds": figure.holds(values[figure.name])} for figure in FIGURES
        },
    }


def table(made: dict[str, Any]) -> Iterator[str]:
    """The results as lines for people. `cpu us` is the server's processor time for one answer, in all its threads."""
    columns = ("per_second", "p50_ms", "p95_ms", "p99_ms", "cpu_us")
    for store, kinds in (("embedded", made["kinds"]), ("MongoDB", made.get("mongo", {}).get("kinds", {}))):
        if kinds:
            yield f"{store:24}" + "".join(f"{column.replace('_', ' '):>12}" for column in columns)
        for kind, found in kinds.items():
            yield f"{kind:24}" + "".join(f"{found[column]:>12}" for column in columns)
        yield ""
    figures = {figure.name: figure for figure in FIGURES}
    for name, value in made["values"].items():
        figure = figures.get(name)
        verdict = ""
        if figure is not None:
            side = "at most" if figure.at_most else "at least"
            verdict = (
                f"  {'pass' if figure.holds(value) else 'MISS'} ({side} {figure.bound:g} {figure.unit}".rstrip() + ")"
            )
        yield f"{name:44}{value:>12}{verdict}"


def main(given: list[str] | None = None) -> int:
    """Measure, write the JSON file and print the table; 1 when a figure is missed and `--check` is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--slots", type=int, default=100_000)
    parser.add_argument("--only-embedded", action="store_true", help="leave MongoDB out")
    parser.add_argument("--check", action="store_true", help="end with 1 when a figure is missed")
    parser.add_argument("--out", type=Path, default=Path("bench-results/results.json"))
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        made = report(measure(Path(folder) / "data", Path(folder) / "bare", arguments), arguments)
        if not arguments.only_embedded:
            with mongod.on_disk() as server:
                mongo = report(measure(server.uri(), Path(folder) / "bare-mongo", arguments), arguments)
            made["mongo"] = {part: mongo[part] for part in ("kinds", "values")}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(made, indent=2) + "\n")
    sys.stdout.write("\n".join(table(made)) + f"\n\nwritten to {arguments.out}\n")
    return int(arguments.check and not all(figure["holds"] for figure in made["figures"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
