"""How long MongoDB takes for searches over 1,000,000 Slots: `python -m tests.benchmarks.million`.

Slots are written as the store would write them, but many at once and before the indexes. Each search runs through the
store; what the server itself took is what its profiler noted, in whole milliseconds, summed over the search's commands.
"""

import argparse
import asyncio
import random
import sys
from datetime import timedelta
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any

from fhir_server.app import Parts
from fhir_server.fhir import json
from fhir_server.interactions.clinic import Clinic
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query
from fhir_server.store.mongo import documents, schema
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import Put, Unit
from tests import mongod
from tests.benchmarks import clinic

SCHEDULES, ROUNDS, BATCH = 100, 40, 2_000
SEARCHES = (
    "_id={n}",
    "status=free",
    "_sort=-start",
    "status=free&_sort=_lastUpdated",
    "status=free&start=ge{day}&_sort=start",
    "service-type=http://snomed.info/sct|408443003&status=free&start=ge{day}&_sort=start",
    "status=free&start=ge{day}&start=lt{next}&_sort=start",
    "status=free&start=ge{day}&start=lt{next}",
    "schedule=Schedule/s{schedule}&status=free&start=ge{day}&_sort=start",
)
# The figure: at most so long, p50, for a slot search as booking pages ask it.
FIGURE, LONGEST_MILLISECONDS = SEARCHES[4], 3.0


async def fill(parts: Parts, store: MongoStore, slots: int) -> None:
    """Write the Slots, then make the indexes."""
    where = await parts.clinics.get(clinic.TENANT)
    resource = store.database.resource
    await resource.drop()
    made, keys = clinic.slots_of(SCHEDULES, slots), parts.server.ids
    while batch := list(islice(made, BATCH)):
        await resource.insert_many([_document(where, slot, keys.creation_key()) for slot in batch], ordered=False)
    await schema.make(store.database)


def _document(where: Clinic, slot: dict[str, Any], key: int) -> schema.Document:
    stored = slot | {"meta": {"versionId": "1", "lastUpdated": clinic.instant(clinic.first_day())}}
    entries = where.extractor.entries(stored)
    put = Put("Slot", slot["id"], 0, key, json.serialise(stored), entries, "PUT")
    return documents.of_put(clinic.TENANT, put, 1, key)


async def measure(parts: Parts, store: MongoStore, slots: int) -> dict[str, tuple[float, float]]:
    """Search -> p50 in milliseconds: the server's own, and from the store's call to its result."""
    where, chance = await parts.clinics.get(clinic.TENANT), random.Random(1)
    database, days = store.database, max(1, slots // (SCHEDULES * clinic.SLOTS_A_DAY))
    found = {}
    for search in SEARCHES:
        servers, wholes = [], []
        for turn in range(ROUNDS + 3):  # the first ones warm up
            day = (clinic.first_day() + timedelta(days=chance.randrange(days))).date()
            values = {"day": day, "next": day + timedelta(days=1), "n": chance.randrange(slots)}
            text = search.format(**values, schedule=chance.randrange(SCHEDULES))
            asked = where.parser.parse("Slot", pairs(text), parts.server.clock())
            query = Query("Slot", asked.where, asked.sort, 20)

            async def work(unit: Unit, query: Query = query) -> Any:
                return await unit.search(query)

            await database.command("profile", 0)
            await database["system.profile"].drop()
            await database.command("profile", 2)
            begin = perf_counter()
            await store.run(clinic.TENANT, work, write=False)
            whole = (perf_counter() - begin) * 1_000
            await database.command("profile", 0)
            noted = await database["system.profile"].find({"ns": f"{database.name}.resource"}).to_list()
            if turn >= 3:
                servers.append(sum(each["millis"] for each in noted))
                wholes.append(whole)
        found[search] = (median(servers), median(wholes))
    return found


async def run(uri: str, slots: int) -> dict[str, tuple[float, float]]:
    """Make the clinic in a database, and measure."""
    parts = clinic.parts_of(uri)
    store = parts.store
    assert isinstance(store, MongoStore)
    try:
        await clinic.make(parts)
        await fill(parts, store, slots)
        return await measure(parts, store, slots)
    finally:
        await store.close()


def main(given: list[str] | None = None) -> int:
    """Print a line for each search; 1 when the figure is missed and `--check` is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.million", description=__doc__.partition("\n")[0])
    parser.add_argument("--slots", type=int, default=1_000_000)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args(given)
    with mongod.on_disk() as server:
        found = asyncio.run(run(server.uri(), arguments.slots))
    for search, (server, whole) in found.items():
        sys.stdout.write(f"{search:90} server {server:6.1f} ms   whole {whole:6.1f} ms\n")
    return int(arguments.check and found[FIGURE][0] > LONGEST_MILLISECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
