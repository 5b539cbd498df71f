"""What the audit log costs and how fast it answers: `python -m tests.benchmarks.audit` (docs/audit.md, "Measured").

Appending in batches, bytes on disk of a read's event, sealing and verifying, and the search for one patient's events in
a time; then reads with the log and without, beside each other. `--entries` says how long the log is.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time

from fhir_server.audit import whole
from fhir_server.audit.event import Event
from fhir_server.audit.sealer import Sealer
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.protocol import AuditQuery, Recorded, Unit
from fhir_server.store.sqlite.store import SqliteStore
from tests.benchmarks import clinic
from tests.benchmarks.load import request, run_load
from tests.benchmarks.process import ServerProcess

BATCH = 256
PATIENTS, PEOPLE = 50_000, 200
FIRST, APART = 1_764_000_000_000_000, 2_000_000  # µs; an event every two seconds
DAY = 86_400_000_000
SEARCHES = 400


def event(number: int, chance: random.Random) -> Event:
    """A practitioner's read of a patient, as the server records it."""
    patient = f"{chance.randrange(PATIENTS):032x}"
    person = chance.randrange(PEOPLE)
    token, request_id = f"{chance.getrandbits(128):032x}", f"{chance.getrandbits(64):016x}"
    return Event(
        "read", "R", "0", FIRST + number * APART, "provider-portal", f"Practitioner/d{person}", f"Dr {person}",
        "practitioner", token, "203.0.113.7", request_id, "", f"Patient/{patient}/_history/1", 0, "", (patient,),
        "R-7.9-provider-reads-patients",
    )  # fmt: skip


async def log(folder: Path, entries: int, searched: int) -> dict[str, float]:
    """The figures of a log of `entries`, and of searches once it has `searched`."""
    store, chance = SqliteStore(folder, system_clock, Ids(system_clock)), random.Random(1)
    await store.create_tenant("demo")
    found: dict[str, float] = {}
    found["append, µs of CPU an entry"] = await _append(store, chance, 0, entries)
    found["bytes an entry"] = sum(path.stat().st_size for path in folder.rglob("audit-*.db")) / entries
    begin = process_time()
    await Sealer(store, system_clock).seal("demo")
    found["seal, µs of CPU an entry"] = (process_time() - begin) / entries * 1e6
    begin, wall = process_time(), perf_counter()
    report = await whole.verify_store(store, "demo", await whole.kept_keys(store, "demo"))
    assert (report.is_whole, report.sealed) == (True, entries), report.faults
    found["verify, seconds for 1,000,000"] = (process_time() - begin) / entries * 1e6
    found["verify by the clock, seconds for 1,000,000"] = (perf_counter() - wall) / entries * 1e6
    await _append(store, chance, entries, searched)
    times = await _search(store, chance, searched)
    cuts = quantiles(times, n=100)
    found |= {"entries searched": searched, "search p50, ms": cuts[49], "search p95, ms": cuts[94]}
    await store.close()
    return found


async def _append(store: SqliteStore, chance: random.Random, first: int, upto: int) -> float:
    cost = 0.0
    for begin in range(first, upto, BATCH):
        made = [event(n, chance).entry() for n in range(begin, min(begin + BATCH, upto))]
        before = process_time()
        await store.record("demo", made)
        cost += process_time() - before
    return cost / (upto - first) * 1e6 if upto > first else 0.0


async def _search(store: SqliteStore, chance: random.Random, entries: int) -> list[float]:
    """Milliseconds of each search for what happened to one patient in a month."""
    times, span = [], entries * APART
    for _ in range(SEARCHES):
        since = FIRST + chance.randrange(max(1, span - 30 * DAY))
        patient = f"{chance.randrange(PATIENTS):032x}"
        query = AuditQuery(since=since, before=since + 30 * DAY, found_by=("patient", patient), count=20)

        async def work(unit: Unit, query: AuditQuery = query) -> list[Recorded]:
            return list(await unit.audited(query))

        begin = perf_counter()
        await store.run("demo", work, write=False)
        times.append((perf_counter() - begin) * 1e3)
    return times


def reads(folder: Path, seconds: float, rounds: int) -> dict[str, float]:
    """Reads a second with the log and without, in turns, and the median of the ratios."""
    tokens = clinic.run_in(folder, lambda parts: clinic.make(parts, schedules=1, slots=1, patients=1_000))
    headers = {"authorization": f"Bearer {tokens.service}"}
    chance, rates = random.Random(2), {"true": list[float](), "false": list[float]()}
    for _ in range(rounds):
        for audited, found in rates.items():
            os.environ["FHIR_SERVER_AUDIT_READS"] = audited
            with ServerProcess(folder) as server:
                path = f"/{clinic.TENANT}/fhir/Patient/p"
                run_load(server.port, lambda p=path: request("GET", f"{p}{chance.randrange(1_000)}", **headers),
                         connections=64, seconds=seconds / 3)  # fmt: skip
                run = run_load(server.port, lambda p=path: request("GET", f"{p}{chance.randrange(1_000)}", **headers),
                               connections=64, seconds=seconds)  # fmt: skip
                found.append(run.per_second)
    pairs = zip(rates["true"], rates["false"], strict=True)
    return {
        "reads a second, audited": median(rates["true"]),
        "reads a second, not audited": median(rates["false"]),
        "audited / not audited": median(on / off for on, off in pairs),
    }


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=100_000, help="of the log that is sealed and verified")
    parser.add_argument("--searched", type=int, default=0, help="of the log that is searched (default: the same)")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="fhir-audit-") as folder:
        found |= asyncio.run(log(Path(folder), given.entries, max(given.searched, given.entries)))
    with tempfile.TemporaryDirectory(prefix="fhir-audit-") as folder:
        found |= reads(Path(folder), given.seconds, given.rounds)
    sys.stdout.write("\n".join(f"{name:46}{value:>14,.2f}" for name, value in found.items()) + "\n")
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in found.items()}) + "\n")


if __name__ == "__main__":
    main()
