"""The tables of `cases` through every store (FHIR R4 search.html): the oracle is the table, as for the interpreter."""

from zoneinfo import ZoneInfo

import pytest

from fhir_server.search.extract import Extractor
from fhir_server.search.plan import Query
from fhir_server.store.protocol import Page, Put, Store, Unit
from tests.search.cases import BASE_URL, CASES, NOW, ORDERED, RESOURCES, ZONE, Case
from tests.search.test_queries import REGISTRY, parse

EXTRACTOR = Extractor(REGISTRY, zone=ZoneInfo(ZONE), base_url=BASE_URL, texts=True)


async def fill(store: Store) -> None:
    async def work(unit: Unit) -> None:
        for resource in RESOURCES:
            entries = EXTRACTOR.entries(resource)
            await unit.put(Put(resource["resourceType"], resource["id"], 0, NOW, b"{}", entries, "PUT"))

    await store.run("demo", work, write=True)


async def found(store: Store, case: Case, count: int) -> list[str]:
    """The ids of all matches, page by page."""
    request, ids, after = parse(case.type, case.query), list[str](), None
    while True:
        query = Query(case.type, request.where, request.sort, count, after)

        async def work(unit: Unit, query: Query = query) -> Page:
            return await unit.search(query)

        page = await store.run("demo", work, write=False)
        ids += [stored.id for stored in page.matches]
        after = page.next
        if after is None:
            return ids


@pytest.mark.parametrize("count", [100, 1])
async def test_every_case_on_the_store(store: Store, count: int) -> None:
    """Every row of the tables, in one page and in pages of one."""
    await fill(store)
    wrong = []
    for case in CASES:
        ids = await found(store, case, count)
        if sorted(ids) != sorted(case.expected):
            wrong.append((case, ids))
    for case in ORDERED:
        ids = await found(store, case, count)
        if ids != case.expected:
            wrong.append((case, ids))
    assert not wrong
