"""Every change to a sealed log is found, and named (issue 7, "Must hold")."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import orjson
import pytest

from fhir_server.audit import merkle, whole
from fhir_server.audit.checkpoint import parse
from fhir_server.audit.event import Event
from fhir_server.audit.export import export
from fhir_server.audit.sealer import Sealer
from fhir_server.audit.verify import Checkpoints, Expected, Walk
from fhir_server.audit.witness import FileWitness, witnessed
from fhir_server.fhir.clock import Ids
from fhir_server.store.chain import link
from fhir_server.store.protocol import Chained, Sealed, Unit
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import unpack
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, connect
from fhir_server.store.sqlite.store import SqliteStore

COUNT = 1_000
START = 1_800_000_000_000_000


@dataclass
class Log:
    """A sealed log: 990 reads in one process's chain, 10 changes in the clinic's."""

    folder: Path
    public: list[bytes]
    entries: list[Chained]
    sealed: list[Sealed]
    expected: Expected

    def walk(self) -> Walk:
        return Walk("r1", self.expected)


def _store(folder: Path, now: list[int]) -> SqliteStore:
    def clock() -> int:
        now[0] += 1_000
        return now[0]

    return SqliteStore(folder, clock, Ids(clock))


def _event(number: int) -> Event:
    return Event(
        "read", "R", "0", START + number * 1_000, "portal", f"Practitioner/dr-{number % 7}", role="practitioner",
        token_id=f"018f3c1e-7b1a-7c3d-9e4f-{number // 50:012x}", address="10.0.0.1", request_id=f"{number:016x}",
        entity=f"Patient/p{number}/_history/1", patients=(f"p{number}",), rule="R-7.9 provider reads patients",
    )  # fmt: skip


async def _made(folder: Path) -> Log:
    store = _store(folder, [START])
    await store.create_tenant("demo")
    sealer = Sealer(store, lambda: START + 10**9, witness=FileWitness(folder / "witness"))

    async def change(unit: Unit) -> None:
        for number in range(10):
            await unit.audit(replace(_event(number), subtype="update", action="U").entry())

    await store.run("demo", change, write=True)
    for first in (0, 400):
        await store.record(
            "demo", [_event(n).entry() for n in range(first, min(first + 400 if first == 0 else 990, 990))]
        )
        await sealer.seal("demo")
    public = await whole.kept_keys(store, "demo")
    entries = [e async for batch in whole.entries_of(store, "demo", "r1") for e in batch]
    sealed = [each async for each in whole.checkpoints_of(store, "demo")]
    checkpoints = Checkpoints("demo", public)
    for each in sealed:
        checkpoints.take(each)
    await store.close()
    return Log(folder, public, entries, sealed, checkpoints.chains["r1"])


@pytest.fixture
async def sealed_log(tmp_path: Path) -> Log:
    return await _made(tmp_path)


@pytest.fixture
async def reopened(sealed_log: Log) -> AsyncIterator[SqliteStore]:
    store = _store(sealed_log.folder, [START + 10**10])
    yield store
    await store.close()


def _bits(value: bytes) -> Iterator[bytes]:
    for place in range(len(value) * 8):
        changed = bytearray(value)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def _edit(log: Log, *statements: str, file: str = "audit-1.db") -> None:
    connection = apsw.Connection(str(log.folder / "tenants/demo" / file))
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def _faults(log: Log, store: SqliteStore) -> list[str]:
    await asyncio.sleep(0)  # one turn of the loop reads one snapshot, which an edit made meanwhile is not in
    return (await whole.verify_store(store, "demo", log.public)).faults


async def test_a_sealed_log_is_whole(sealed_log: Log, reopened: SqliteStore) -> None:
    """The control: 1,000 entries under two checkpoints, nothing wrong."""
    report = await whole.verify_store(
        reopened, "demo", sealed_log.public, witnessed(sealed_log.folder / "witness", "demo")
    )
    assert (report.faults, report.sealed, report.unsealed, report.checkpoints) == ([], COUNT, 0, 2)


def test_every_single_bit_change_is_found_and_named(sealed_log: Log) -> None:
    """Each bit of each entry's number, time, packed body and hash; the check of an entry needs only the one before."""
    connection = apsw.Connection(str(sealed_log.folder / "tenants/demo/audit-1.db"))
    names, walk = Names(connection), sealed_log.walk()
    rows = list(connection.execute("SELECT number, recorded, body, hash FROM audit ORDER BY number"))
    assert len(rows) == 990
    for (number, recorded, packed, hash_), entry in zip(rows, sealed_log.entries, strict=True):
        for bit in range(63):
            assert walk.check(replace(entry, number=number ^ (1 << bit)))
            assert walk.check(replace(entry, recorded=recorded ^ (1 << bit))).startswith(f"r1-{number} ")
        for changed in _bits(hash_):
            assert walk.check(replace(entry, hash=changed)) == f"r1-{number} is not what was recorded"
        for changed in _bits(packed):
            try:
                body: bytes | None = unpack(changed, names)
            except (ValueError, TypeError):
                continue
            assert body != entry.body, "two stored forms mean the same"
        assert walk.check(replace(entry, body=(entry.body or b"") + b" "))
        assert walk.take(entry)
    assert walk.end() == ""
    connection.close()


async def test_every_bit_of_a_name_counts(sealed_log: Log, reopened: SqliteStore) -> None:
    """A name that is changed breaks the first entry that uses it."""
    connection = apsw.Connection(str(sealed_log.folder / "tenants/demo/audit-1.db"))
    names = dict(connection.execute("SELECT number, text FROM audit_name"))
    rows = list(connection.execute("SELECT number, recorded, body, hash FROM audit ORDER BY number"))
    for name, text in names.items():
        for changed in _bits(text.encode()):
            try:
                other = changed.decode()
            except UnicodeDecodeError:
                continue
            altered = Names(connection)
            altered._texts.update(names | {name: other})
            walk = sealed_log.walk()
            for number, recorded, packed, hash_ in rows:
                try:
                    body: bytes | None = unpack(packed, altered)
                except (ValueError, TypeError):
                    body = None
                if not walk.take(Chained(number, recorded, body, hash_)):
                    break
            assert walk.fault, f"{text!r} as {other!r} was not found"
    connection.close()
    _edit(sealed_log, "UPDATE audit_name SET text = 'Practitioner/mallory' WHERE text = 'Practitioner/dr-3'")
    assert await _faults(sealed_log, reopened) == ["r1-4 is not what was recorded"]


def test_every_deletion_swap_and_insertion_is_found(sealed_log: Log) -> None:
    """Each entry removed, each pair swapped, each entry inserted at each place: told at the first that is wrong.

    Until then the log is as it was, so one walk tries everything at each of its places.
    """
    walk, entries = sealed_log.walk(), sealed_log.entries
    for place, entry in enumerate(entries):
        number = place + 1
        if place + 1 < len(entries):
            assert walk.check(entries[place + 1]) == f"r1-{number} was removed"
        for other in entries[place + 1 :]:  # swapped as rows, and as contents under the old number
            assert walk.check(other)
            assert walk.check(replace(other, number=number)) == f"r1-{number} is not what was recorded"
        for other in entries[:place]:  # inserted before this one, as it was or renumbered
            assert walk.check(other) == f"r1-{other.number} was inserted or moved"
            assert walk.check(replace(other, number=number)) == f"r1-{number} is not what was recorded"
        assert walk.take(entry)
    for cut in range(len(entries)):
        short = sealed_log.walk()
        short._number = cut
        assert short.end() == f"r1-{cut + 1} was removed, and all after it"


def test_a_chain_computed_anew_is_named_at_its_first_entry(sealed_log: Log) -> None:
    """Whoever changes an entry and all hashes after it is found by the marks under the signature."""
    for first in range(0, 990, 7):
        walk, before = sealed_log.walk(), b""
        for entry in sealed_log.entries[:first]:
            walk.take(entry)
        before = sealed_log.entries[first - 1].hash if first else sealed_log.expected.hash
        entry = sealed_log.entries[first]
        body = orjson.dumps(orjson.loads(entry.body or b"") | {"U": "Practitioner/mallory"})
        forged = replace(entry, body=body, hash=link(before, entry.number, entry.recorded, body))
        assert walk.check(forged) == f"r1-{entry.number} is not what was sealed"


def test_every_bit_of_a_checkpoint_counts(sealed_log: Log) -> None:
    """Body, signature and marks; and none can be removed or moved."""
    for place, sealed in enumerate(sealed_log.sealed):
        for changed in (
            *(replace(sealed, body=body) for body in _bits(sealed.body)),
            *(replace(sealed, signature=signature) for signature in _bits(sealed.signature)),
            *(replace(sealed, marks=marks) for marks in list(_bits(sealed.marks))[::17]),
        ):
            checkpoints = Checkpoints("demo", sealed_log.public)
            for each in [*sealed_log.sealed[:place], changed]:
                checkpoints.take(each)
            assert checkpoints.faults
            assert checkpoints.faults[0].startswith(f"checkpoint {sealed.number}:")
    for order in ([1], [1, 0], [0, 0]):
        checkpoints = Checkpoints("demo", sealed_log.public)
        for n in order:
            checkpoints.take(sealed_log.sealed[n])
        assert checkpoints.faults


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["UPDATE audit SET recorded = recorded + 1 WHERE number = 17"], "r1-17 is not what was recorded"),
        (["DELETE FROM audit WHERE number = 17"], "r1-17 was removed"),
        (["DELETE FROM audit WHERE number > 600"], "r1-601 was removed, and all after it"),
        (["UPDATE audit SET number = -1 WHERE number = 5", "UPDATE audit SET number = 5 WHERE number = 8",
          "UPDATE audit SET number = 8 WHERE number = -1"], "r1-5 is not what was recorded"),
        (["UPDATE audit SET number = -number WHERE number >= 500",
          "UPDATE audit SET number = 1 - number WHERE number < 0",
          "INSERT INTO audit SELECT 500, recorded, body, hash FROM audit WHERE number = 3"],
         "r1-500 is not what was recorded"),
        (["DROP TABLE audit", "CREATE TABLE audit (number INTEGER PRIMARY KEY, recorded, body, hash)"],
         "r1-1 was removed, and all after it"),
    ],
)  # fmt: skip
async def test_changes_on_disk_are_named(
    sealed_log: Log, reopened: SqliteStore, statements: list[str], fault: str
) -> None:
    """The whole way from the files."""
    _edit(sealed_log, *statements)
    assert await _faults(sealed_log, reopened) == [fault]


@pytest.mark.parametrize("number", [0, -7, -(1 << 63)])
async def test_an_entry_before_the_first_is_found(sealed_log: Log, reopened: SqliteStore, number: int) -> None:
    """A search shows it, so verification walks from the lowest number there is."""
    _edit(sealed_log, f"INSERT INTO audit SELECT {number}, recorded, body, hash FROM audit WHERE number = 3")
    assert await _faults(sealed_log, reopened) == [f"r1-{number} was inserted or moved"]


@pytest.mark.parametrize("name", ["audit-77.db", "audit-x.db", "audit-more.db"])
async def test_a_file_of_no_writer_is_found(sealed_log: Log, reopened: SqliteStore, name: str) -> None:
    """A search takes every file that is there. One without entries is of a process that has just begun, or died."""
    folder = sealed_log.folder / "tenants/demo"
    chain = "r" + name.removeprefix("audit-").removesuffix(".db")
    connect(folder / name, AUDIT_MIGRATIONS).close()
    assert await _faults(sealed_log, reopened) == []
    _edit(
        sealed_log, f"ATTACH '{folder}/audit-1.db' AS whole", "INSERT INTO audit SELECT * FROM whole.audit", file=name
    )
    assert await _faults(sealed_log, reopened) == [f"{chain}-1 stands in no chain of a registered writer"]
    _edit(sealed_log, f"INSERT INTO audit_writer VALUES ('{chain}')", file="clinic.db")
    assert await _faults(sealed_log, reopened) == [f"{chain}-1 is not what was recorded"]


async def test_a_writer_that_is_struck_off_is_found(sealed_log: Log, reopened: SqliteStore) -> None:
    _edit(sealed_log, "DELETE FROM audit_writer WHERE chain = 'c'", file="clinic.db")
    assert await _faults(sealed_log, reopened) == ["c-1 stands in no chain of a registered writer"]


async def test_a_missing_chain_file_shows(sealed_log: Log) -> None:
    """Writers are registered: without its file, a chain is missing."""
    for path in (sealed_log.folder / "tenants/demo").glob("audit-1.db*"):
        path.unlink()
    (sealed_log.folder / "tenants/demo/audit-2.lock").touch()
    store = _store(sealed_log.folder, [START + 10**10])
    # This process takes the free number 1 and begins the chain anew, which its checkpoints tell.
    assert await _faults(sealed_log, store) == ["r1-1 was removed, and all after it"]
    _edit(sealed_log, "INSERT INTO audit_writer VALUES ('r7')", file="clinic.db")
    assert "the chain r7 of a registered writer is missing" in await _faults(sealed_log, store)
    await store.close()


async def test_a_log_cut_off_with_its_checkpoints_is_found_by_the_witness(
    sealed_log: Log, reopened: SqliteStore
) -> None:
    """What no key can tell: an older state of everything."""
    _edit(sealed_log, "DELETE FROM audit_seal WHERE number = 2", file="clinic.db")
    _edit(sealed_log, "DELETE FROM audit WHERE number > 400")
    assert await _faults(sealed_log, reopened) == []
    report = await whole.verify_store(
        reopened, "demo", sealed_log.public, witnessed(sealed_log.folder / "witness", "demo")
    )
    assert report.faults == ["checkpoint 2 is not the one that the witness has seen"]


async def test_unsealed_entries_are_told_apart(sealed_log: Log, reopened: SqliteStore) -> None:
    """What came after the last checkpoint may have been cut off, and the report says how many there are."""
    await reopened.record("demo", [_event(n).entry() for n in range(5)])
    report = await whole.verify_store(reopened, "demo", sealed_log.public)
    assert (report.faults, report.sealed, report.unsealed) == ([], COUNT, 5)


async def test_another_key_does_not_do(sealed_log: Log, reopened: SqliteStore) -> None:
    """Checkpoints signed anew by somebody else are refused."""
    report = await whole.verify_store(reopened, "demo", [bytes(32)])
    assert report.faults[0] == "checkpoint 1: its signature is not by a key that was given"


async def test_an_exported_log_is_verified_by_the_public_key_alone(
    sealed_log: Log, reopened: SqliteStore, tmp_path: Path
) -> None:
    """Offline: the export has all that is hashed; each line changed is named."""
    path = tmp_path / "demo.log"

    @dataclass
    class Named:
        name: str = "demo"

    with path.open("wb") as out:
        assert await export(reopened, Named(), "log", out) == COUNT  # type: ignore[arg-type]
    report = whole.verify_export(path, sealed_log.public)
    assert (report.faults, report.sealed) == ([], COUNT)
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b'"chain":"r1","number":123,' in line)
    for changed in (
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], lines[at].replace(b"portal", b"portel"), *lines[at + 1 :]],
        [*lines[:at], lines[at - 50], *lines[at:]],
        [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    ):
        path.write_bytes(b"".join(changed))
        fault = whole.verify_export(path, sealed_log.public).faults[0]
        assert fault.startswith(("r1-123 ", "r1-73 "))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33])
def test_merkle_paths_prove_their_leaf_only(size: int) -> None:
    """RFC 9162 §2.1.3: a path holds for its leaf at its place, and for no other."""
    data = [bytes([n]) for n in range(size)]
    root = merkle.root(data)
    for index in range(size):
        path = merkle.path(data, index)
        assert merkle.includes(data[index], index, size, path, root)
        assert not merkle.includes(b"x", index, size, path, root)
        if size > 1:
            assert not merkle.includes(data[index], (index + 1) % size, size, path, root)
            assert not merkle.includes(data[index], index, size, path[:-1], root)


def test_the_root_is_that_of_the_rfc() -> None:
    """RFC 9162 §2.1.1, by its recursive definition."""

    def by_definition(data: list[bytes]) -> bytes:
        if len(data) == 1:
            return merkle.leaf(data[0])
        split = 1 << (len(data) - 1).bit_length() - 1
        return merkle.node(by_definition(data[:split]), by_definition(data[split:]))

    for size in range(1, 70):
        data = [bytes([n]) for n in range(size)]
        assert merkle.root(data) == by_definition(data)


def test_a_checkpoint_reads_back_as_it_was_written(sealed_log: Log) -> None:
    for sealed in sealed_log.sealed:
        assert parse(sealed.body).body() == sealed.body
