"""Every shape of search over more than 10,000 resources runs on an index (issue 4, "explain")."""

from pathlib import Path

import apsw
import pytest

from fhir_server.search.plan import Query
from fhir_server.store.protocol import Explained, Put, Statement, Store, Unit
from tests.harness import SteppingClock, fixed_ids, open_store
from tests.search.cases import CASES, ORDERED
from tests.search.test_queries import parse
from tests.search.test_stores import EXTRACTOR

COUNT = 10_400
# What a statement may not do: go through a table without an index that narrows it.
TABLES = ("resource", "token", "string", "date", "number", "quantity", "reference", "uri", "r", "d", "e")


@pytest.fixture
def store_kind() -> str:
    return "sqlite"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


def _observation(n: int) -> dict[str, object]:
    return {
        "resourceType": "Observation", "id": f"o{n}", "status": "final" if n % 7 else "amended",
        "code": {"coding": [{"system": "http://loinc.org", "code": f"{n % 40}", "display": f"kind {n % 40}"}]},
        "subject": {"reference": f"Patient/p{n % 500}"},
        "effectiveDateTime": f"20{n % 30:02}-0{n % 9 + 1}-1{n % 9}",
        "valueQuantity": {"value": n % 300, "system": "http://unitsofmeasure.org", "code": "kg"},
    }  # fmt: skip


async def _filled(folder: Path) -> Store:
    clock = SteppingClock()
    store = open_store("sqlite", folder, clock, fixed_ids(clock))
    if not await store.has("demo"):
        await store.create_tenant("demo")

        async def fill(unit: Unit) -> None:
            for n in range(COUNT):
                resource = _observation(n)
                await unit.put(Put("Observation", f"o{n}", 0, n, b"{}", EXTRACTOR.entries(resource), "PUT"))
            for n in range(500):
                entries = EXTRACTOR.entries({"resourceType": "Patient", "id": f"p{n}", "gender": "male",
                                             "name": [{"family": f"name{n}"}]})  # fmt: skip
                await unit.put(Put("Patient", f"p{n}", 0, n, b"{}", entries, "PUT"))

        await store.run("demo", fill, write=True)
    return store


async def _explained(store: Store, type_: str, query: str) -> Explained:
    request = parse(type_, query)

    async def work(unit: Unit) -> Explained:
        return await unit.explain(Query(type_, request.where, request.sort))

    return await store.run("demo", work, write=False)


def _scans(explained: Explained) -> list[str]:
    """The lines of the plan that go through a whole table."""
    lines = [line for statement in explained.statements for line in statement.how]
    return [line for line in lines if line.startswith("SCAN") and line.split()[1] in TABLES and "USING" not in line]


OBSERVATIONS = (
    "", "_id=o7", "status=amended", "status:not=final", "code=http://loinc.org|7", "code:text=kind 7",
    "code:missing=true", "subject=Patient/p7", "subject:Patient=p7", "subject:Patient.family=name7",
    "patient.name=name7&status=amended",
    "date=ge2020-01-01&date=lt2020-03-01", "date=2011", "date:missing=false", "value-quantity=gt290",
    "value-quantity=5|http://unitsofmeasure.org|kg", "combo-value-quantity=lt3", "code-value-quantity=7$gt100",
    "_sort=date", "_sort=-date&status=amended", "_sort=-value-quantity,date&code=7", "status=amended,final&_sort=_id",
    "_filter=status eq amended or date po 2011", "_has:Provenance:target:recorded=2020", "_lastUpdated=gt2020",
    "value-quantity:missing=true&_sort=-date", "subject:identifier=x|y", "_text=fever", "_profile:below=http://e.org/p",
)  # fmt: skip


@pytest.mark.parametrize("query", OBSERVATIONS)
async def test_a_search_over_many_runs_on_an_index(folder: Path, query: str) -> None:
    store = await _filled(folder)
    explained = await _explained(store, "Observation", query)
    assert _scans(explained) == []
    assert explained.statements
    await store.close()


async def test_every_case_of_the_tables_runs_on_an_index(folder: Path) -> None:
    """Over each type the tables' queries; and `_has` from the many."""
    store = await _filled(folder)
    wrong = []
    queries = {(case.type, case.query) for case in (*CASES, *ORDERED)}
    queries.add(("Patient", "_has:Observation:patient:code=7&_sort=family"))
    for type_, query in sorted(queries):
        if scans := _scans(await _explained(store, type_, query)):
            wrong.append((type_, query, scans))
    await store.close()
    assert wrong == []


async def test_what_few_point_at_is_found_by_its_id(folder: Path) -> None:
    """`_has` looks up what is pointed at, and does not go through all of its type for the order of creation."""
    store = await _filled(folder)
    explained = await _explained(store, "Patient", "_has:Observation:patient:_id=o7")
    await store.close()
    assert [statement.rows for statement in explained.statements] == [1]
    assert sum(statement.touched for statement in explained.statements) < 300  # of 500 patients


async def test_a_scan_would_be_told(folder: Path) -> None:
    """What no index serves is a line that the test knows."""
    store = await _filled(folder)
    connection = apsw.Connection(str(folder / "tenants" / "demo" / "clinic.db"), flags=apsw.SQLITE_OPEN_READONLY)
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT key FROM resource WHERE patients = 'x'")
    lines = tuple(str(row[3]) for row in plan)
    connection.close()
    assert _scans(Explained("walk", None, (), (Statement("", (), lines, 0, 0),), "")) == ["SCAN resource"]
    await store.close()
