"""How the cost of a search grows with what is stored: `python -m tests.benchmarks.growth`.

Each search finds the same number of resources at every size: codes, subjects and dates grow with the resources. `first
page by date` has ever more matches, and is here for its order by an index. Times are of the Repository (plan, access,
store, page, includes), without HTTP: the p50 of all rounds.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from fhir_server.app import make_parts
from fhir_server.fhir import json
from fhir_server.interactions import include
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query
from fhir_server.settings import Settings
from fhir_server.store.protocol import Put, Store, Unit

TENANT = "growth"
SIZES = (10_000, 100_000, 1_000_000)
# Observations of one code, and of one patient.
ALIKE = 20
ROUNDS, RUNS = 5, 100
MOST_GROWTH = 1.5
SEARCHES = {
    "token and date": ("Observation", "code=c{k}&date=ge2000"),
    "chained": ("Observation", "subject:Patient.family=family{k:07}"),
    "_has": ("Patient", "_has:Observation:patient:code=c{k}"),
    "_include": ("Observation", "code=c{k}&_include=Observation:subject"),
    "sorted page": ("Observation", "code=c{k}&_sort=-date"),
    "first page by date": ("Observation", "_sort=-date"),
}
_EVERYTHING = frozenset("cruds")


def resources(size: int) -> Iterable[dict[str, Any]]:
    """Patients, then Observations: each code on twenty, each patient with twenty."""
    groups = size // ALIKE
    for n in range(groups):
        yield {"resourceType": "Patient", "id": f"p{n}", "name": [{"family": f"family{n:07}"}]}
    begin = datetime(2001, 1, 1, tzinfo=UTC)
    for n in range(size - groups):
        yield {
            "resourceType": "Observation", "id": f"o{n}", "status": "final",
            "code": {"coding": [{"system": "urn:codes", "code": f"c{n % groups}"}]},
            "subject": {"reference": f"Patient/p{(n // ALIKE + n) % groups}"},
            "effectiveDateTime": (begin + timedelta(minutes=n)).isoformat(),
        }  # fmt: skip


async def filled(folder: Path, size: int) -> tuple[Store, Clinic]:
    """A store with a clinic of so many resources."""
    parts = make_parts(Settings(data=folder, origin="http://127.0.0.1:8000"))
    await parts.store.create_tenant(TENANT)
    clinic, batch = await parts.clinics.get(TENANT), list[dict[str, Any]]()

    async def put(unit: Unit) -> None:
        for each in batch:
            entries = clinic.extractor.entries(each)
            await unit.put(Put(each["resourceType"], each["id"], 0, 0, json.serialise(each), entries, "PUT"))

    for each in resources(size):
        batch.append(each)
        if len(batch) == 2_000:
            await parts.store.run(TENANT, put, write=True)
            batch.clear()
    await parts.store.run(TENANT, put, write=True)
    return parts.store, clinic


async def took(store: Store, clinic: Clinic, size: int, name: str) -> list[float]:
    """The milliseconds of each run of a search."""
    type_, template = SEARCHES[name]
    access = Access(Agent("administrator"), {each: (Grant(_EVERYTHING),) for each in ("Patient", "Observation")})
    found = []
    for run in range(RUNS):
        query = template.format(k=run * 7 % (size // ALIKE))

        async def work(unit: Unit, query: str = query) -> int:
            repository = Repository(unit, clinic, access)
            request = clinic.parser.parse(type_, pairs(query), 0)
            page = await repository.search(Query(type_, request.where, request.sort, ALIKE))
            return len(page.matches) + len(await include.included(repository, request, page.matches))

        before = time.perf_counter()
        matches = await store.run(TENANT, work, write=False)
        found.append((time.perf_counter() - before) * 1_000)
        assert matches, query
    return found


async def run(sizes: list[int], folder: Path) -> dict[str, list[float]]:
    """The p50 of each search at each size; the sizes take turns, so that what else the machine does falls on all."""
    stores = [await filled(folder / str(size), size) for size in sizes]
    times: dict[str, list[list[float]]] = {name: [[] for _ in sizes] for name in SEARCHES}
    for round_ in range(ROUNDS + 1):
        for name in SEARCHES:
            for n, (store, clinic) in enumerate(stores):
                each = await took(store, clinic, sizes[n], name)
                if round_:  # the first warms up
                    times[name][n] += each
    for store, _ in stores:
        await store.close()
    return {name: [median(each) for each in found] for name, found in times.items()}


def table(sizes: list[int], times: dict[str, list[float]]) -> str:
    """A row a search, with the growth from the first size to the last."""
    head = f"{'search':22}" + "".join(f"{size:>12,}" for size in sizes) + f"{'growth':>10}"
    rows = [
        f"{name:22}" + "".join(f"{each:>9.2f} ms" for each in found) + f"{found[-1] / found[0]:>10.2f}"
        for name, found in times.items()
    ]
    return "\n".join((head, *rows))


def main(given: list[str] | None = None) -> int:
    """Measure and print; 1 when a search grows by more than half and `--check` is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args(given)
    sizes = [int(each) for each in arguments.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="fhir-growth-") as folder:
        times = asyncio.run(run(sizes, Path(folder)))
    sys.stdout.write(table(sizes, times) + "\n")
    return int(arguments.check and any(found[-1] > MOST_GROWTH * found[0] for found in times.values()))


if __name__ == "__main__":
    raise SystemExit(main())
