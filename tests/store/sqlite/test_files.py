"""What is the embedded store's own: its files, their versions, several processes, and how many stay open."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from fhir_server.fhir.clock import Ids
from fhir_server.fhir.errors import Unavailable
from fhir_server.store.chain import genesis, link
from fhir_server.store.params import param_number
from fhir_server.store.protocol import AuditEntry, AuditQuery, HistoryQuery, Put, Unit
from fhir_server.store.sqlite import schema
from fhir_server.store.sqlite.found import body_of
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.schema import CLINIC_MIGRATIONS, connect
from fhir_server.store.sqlite.store import SqliteStore
from profiles.definitions import load
from tests.harness import SteppingClock, make_harness


def _store(folder: Path, **options: int) -> SqliteStore:
    clock = SteppingClock()
    return SqliteStore(folder, clock, Ids(clock), **options)


def _put(id_: str, expected: int = 0, body: bytes = b"{}") -> Put:
    return Put("Slot", id_, expected, 0, body, {}, "PUT")


# Schema


def test_an_older_file_is_brought_forward(tmp_path: Path) -> None:
    path = tmp_path / "clinic.db"
    old = connect(path, CLINIC_MIGRATIONS)
    old.execute("INSERT INTO kept (kind, name, value) VALUES ('k', 'n', x'01')")
    old.close()
    newer = (*CLINIC_MIGRATIONS, "ALTER TABLE kept ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")
    made = connect(path, newer)
    assert made.execute("SELECT name, colour FROM kept").fetchall() == [("n", "red")]
    assert made.execute("PRAGMA user_version").fetchone() == (len(newer),)
    assert made.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    made.close()
    with pytest.raises(Unavailable, match="newer version"):
        connect(path, CLINIC_MIGRATIONS)


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "clinic.db"
    connect(path, CLINIC_MIGRATIONS).close()
    with pytest.raises(apsw.SQLError):
        connect(path, (*CLINIC_MIGRATIONS, "CREATE TABLE made (x); CREATE TABLE kept (x)"))
    again = connect(path, CLINIC_MIGRATIONS)
    assert again.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'made'").fetchone() == (0,)
    again.close()


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(Unavailable, match=r"3\.51\.3"):
        schema.check_library()


def test_durability_pragmas(tmp_path: Path) -> None:
    connection = connect(tmp_path / "x.db", CLINIC_MIGRATIONS)
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("mmap_size", 0), ("trusted_schema", 0)):
        found = connection.execute(f"PRAGMA {pragma}").fetchone()
        assert found in ((value,), None), pragma
    connection.close()


def test_parameters_have_numbers_of_their_own() -> None:
    """`param` leads every index: two parameters with one number would find each other's resources."""
    definitions = load()
    names = {(base, p.code) for p in definitions.search_parameters for base in p.bases}
    names |= {(type_, p.code) for type_ in definitions.resource_types for p in definitions.search_parameters
              if set(p.bases) & {"Resource", "DomainResource"}}  # fmt: skip
    assert len({param_number(*name) for name in names}) == len(names)
    assert max(param_number(*name) for name in names) < 1 << 48


# Several processes

_WRITER = """
import asyncio, json, sys
from pathlib import Path
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.protocol import AuditEntry, Put, VersionConflict
from fhir_server.store.sqlite.store import SqliteStore

async def main(folder, name):
    store = SqliteStore(Path(folder), system_clock, Ids(system_clock))
    won = lost = 0
    async def open_(unit):
        return await unit.read("Slot", "s")
    await store.run("demo", open_, write=False)
    Path(folder, name).touch()
    while not all(Path(folder, each).exists() for each in ("one", "two")):
        await asyncio.sleep(0.01)
    for n in range(60):
        async def work(unit):
            current = await unit.read("Slot", "s")
            version = current.version if current else 0
            await unit.put(Put("Slot", "s", version, n, name.encode(), {"token": [("by", name, "")]}, "PUT"))
            await unit.audit(AuditEntry(n, name.encode()))
            return version + 1
        await store.run("demo", work, write=True)
        async def stale(unit):
            await unit.put(Put("Slot", f"once-{n}", 0, n, name.encode(), {}, "PUT"))
        try:
            await store.run("demo", stale, write=True)
            won += 1
        except VersionConflict:
            lost += 1
        await store.record("demo", [AuditEntry(n, name.encode())])
    await store.close()
    print(json.dumps([won, lost]))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.requirement("R-10.6", "R-10.8")
async def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    """Each compare-and-swap has one winner among the processes; their audit files are apart; all chains are whole."""
    store = _store(tmp_path)
    await store.create_tenant("demo")
    await store.close()
    processes = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name], stdout=subprocess.PIPE)
        for name in ("one", "two")
    ]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sum(won for won, _ in results) == 60
    assert sum(lost for _, lost in results) == 60
    store = _store(tmp_path)

    async def look(unit: Unit) -> tuple[int | None, int, int]:
        slot = await unit.read("Slot", "s")
        assert slot is not None
        history = await unit.history(HistoryQuery(id="s", count=200))
        assert sorted((each.version for each in history.matches), reverse=True) == list(range(120, 0, -1))
        assert slot.version == 120
        audited = await unit.audited(AuditQuery(count=1_000))
        return history.total, slot.version, len(audited)

    assert await store.run("demo", look, write=False) == (120, 120, 240)
    await store.close()
    tenant = tmp_path / "tenants" / "demo"
    assert sorted(path.name for path in tenant.glob("audit-*.db")) == ["audit-1.db", "audit-2.db"]
    for path, count in ((tenant / "clinic.db", 120), (tenant / "audit-1.db", 60), (tenant / "audit-2.db", 60)):
        assert _length_of_chain(path) == count


def _length_of_chain(path: Path) -> int:
    """How many entries a file's chain has; fails where it is broken."""
    connection = apsw.Connection(str(path))
    chain = "c" if path.name == "clinic.db" else "r" + path.stem.removeprefix("audit-")
    before, length, names = genesis(path.parent.name, chain), 0, Names(connection)
    for number, recorded, packed, hash_ in connection.execute("SELECT * FROM audit ORDER BY number"):
        body = body_of(packed, names) or b""
        length += 1
        assert number == length
        assert hash_ == link(before, number, recorded, body), f"{path.name} is broken at {number}"
        before = hash_
    connection.close()
    return length


@pytest.mark.requirement("R-10.8")
@pytest.mark.parametrize(
    "damage",
    ["UPDATE audit SET body = x'7b7e' WHERE number = 5", "UPDATE audit SET recorded = recorded + 1 WHERE number = 5",
     "DELETE FROM audit WHERE number = 5", "UPDATE audit SET hash = zeroblob(32) WHERE number = 5"],
)  # fmt: skip
async def test_a_changed_entry_breaks_the_chain(tmp_path: Path, damage: str) -> None:
    store = _store(tmp_path)
    await store.create_tenant("demo")
    await store.record("demo", [AuditEntry(n, b"{}") for n in range(10)])
    await store.close()
    path = tmp_path / "tenants" / "demo" / "audit-1.db"
    assert _length_of_chain(path) == 10
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    with pytest.raises(AssertionError):
        _length_of_chain(path)


# Open files


async def test_files_of_idle_tenants_are_closed(tmp_path: Path) -> None:
    """A bounded number of clinics stays open; those that are closed open again and go on where they were."""
    store = _store(tmp_path, most_open=3)
    names = [f"clinic-{n}" for n in range(8)]
    for name in names:
        await store.create_tenant(name)

    async def once(name: str, n: int) -> None:
        await store.run(name, lambda unit: unit.put(_put("s", n)), write=True)
        await store.record(name, [AuditEntry(n, b"{}")])

    for n in range(3):
        for name in names:
            await once(name, n)
            assert len(store._open) <= 3
    await asyncio.gather(*(once(name, 3) for name in names))
    for name in names:
        slot = await store.run(name, lambda unit: unit.read("Slot", "s"), write=False)
        assert slot is not None
        assert slot.version == 4
    await store.create_tenant("one-more")
    await once("one-more", 0)
    assert len(store._open) <= 3
    await store.close()
    for name in names:
        assert _length_of_chain(tmp_path / "tenants" / name / "audit-1.db") == 4


async def test_what_belongs_to_no_tenant_is_in_the_servers_log(tmp_path: Path) -> None:
    harness = await make_harness("sqlite", tmp_path)
    store = harness.parts.store
    assert isinstance(store, SqliteStore)
    answer = await harness.http.get("/nope/fhir/Patient", headers={"X-Request-Id": "mine"})
    assert answer.status_code == 404
    [recorded] = await store.server_log(AuditQuery())
    assert b"mine" in recorded.body
    await store.close()


async def test_a_half_made_tenant_is_none(tmp_path: Path) -> None:
    store = _store(tmp_path)
    (tmp_path / "tenants" / ".made.123").mkdir()
    assert await store.tenants() == []
    await store.create_tenant("made")
    assert await store.tenants() == ["made"]
    await store.close()
