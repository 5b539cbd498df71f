"""Fields that the database shall not read: the same answers over sealed documents, and nothing but what was stored."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.app import make_app, make_parts
from fhir_server.audit.parameters import OWN_PARAMETERS
from fhir_server.cli import main
from fhir_server.fhir.clock import Ids
from fhir_server.fhir.errors import Failed, Unavailable
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import Query, Test, Token
from fhir_server.settings import Settings, Unfit, from_environment
from fhir_server.store.migrate import migrate
from fhir_server.store.mongo.cipher import KeyCipher
from fhir_server.store.mongo.fields import Sealing, readable_params, with_key
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transfer import MongoSide
from fhir_server.store.params import param_number
from fhir_server.store.protocol import HistoryQuery, Put, Unit
from fhir_server.store.sqlite.transfer import SqliteSide
from profiles import definitions
from tests import mongod
from tests.harness import ORIGIN, Harness, SteppingClock, ids, issue, make_harness, open_store, patient
from tests.store import plans
from tests.store.test_contract import put
from tests.store.test_differential import differences, found_by
from tests.store.test_migrate import everything, fill, found, moved

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
MRN = "mrn-4711"
TYPED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}
REGISTRY = Registry(definitions.load(), OWN_PARAMETERS)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    """The server over a database whose fields are sealed."""
    made = await make_harness("mongo", tmp_path, store_options={"sealing": with_key(KEY, REGISTRY)})
    async with made.http:
        yield made
    await made.parts.store.close()


def identified(id_: str, value: str) -> dict[str, Any]:
    identifier = {"system": "urn:ids", "value": value, "type": TYPED}
    return patient(id_, identifier=[identifier], telecom=[{"system": "phone", "value": f"+49 30 {value}"}])


def observation(id_: str, **subject: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}, "subject": subject}


def raw(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every document of the resources and their history, as the database has them."""
    name = mongod.server().database_for(folder).rpartition("/")[2].partition("?")[0]
    database = mongod.server().own_client()[name]
    return {collection: list(database[collection].find()) for collection in ("resource", "history", "change")}


async def test_answers_are_the_same_over_sealed_fields(harness: Harness, tmp_path: Path) -> None:
    """By HTTP: read, history, search by every form of an identifier, chain, conditional create; nothing is readable."""
    await harness.seed(identified("anna", MRN), identified("ben", "mrn-1"))
    await harness.seed(observation("a", reference="Patient/anna"))
    await harness.seed(observation("b", identifier={"system": "urn:ids", "value": MRN}))
    read = await harness.stored("Patient/anna")
    assert read["identifier"][0]["value"] == MRN
    changed = await harness.put(read | {"gender": "female"})
    assert changed.status_code == 200
    history = (await harness.get("Patient/anna/_history", "admin")).json()["entry"]
    assert [each["resource"]["identifier"][0]["value"] for each in history] == [MRN, MRN]
    assert (await harness.get("Patient/anna/_history/1", "admin")).json()["identifier"][0]["value"] == MRN
    of_type = f"{TYPED['coding'][0]['system']}|MR|{MRN}"
    for query, expected in {
        f"Patient?identifier={MRN}": ["anna"],
        f"Patient?identifier=urn:ids|{MRN}": ["anna"],
        "Patient?identifier=urn:ids|": ["anna", "ben"],
        f"Patient?identifier=urn:other|{MRN}": [],
        f"Patient?identifier:not={MRN}": ["ben"],
        f"Patient?identifier:of-type={of_type}": ["anna"],
        f"Patient?identifier={MRN}&_total=accurate&_sort=-name": ["anna"],
        f"Patient?phone=%2B49 30 {MRN}": ["anna"],
        f"Observation?patient.identifier={MRN}": ["a"],
        f"Observation?subject:identifier=urn:ids|{MRN}": ["b"],
        "Patient?_has:Observation:patient:status=final": ["anna"],
        f"Patient?identifier={MRN},mrn-1&_sort=gender": ["anna", "ben"],
        "Patient?gender=female": ["anna"],
    }.items():
        assert ids(await harness.get(query, "admin")) == expected, query
    same = {"If-None-Exist": f"identifier=urn:ids|{MRN}"}
    assert (await harness.create(patient("x"), headers=same)).status_code == 200
    assert (await harness.create(identified("x", "mrn-9"), headers={"If-None-Exist": "identifier=mrn-9"})).is_success
    assert len(ids(await harness.get("Patient?identifier=mrn-9", "admin"))) == 1
    kept = raw(tmp_path)
    assert len(kept["resource"]) == 5
    for told in (MRN, "mrn-9", "resourceType", "+49"):
        assert told not in repr(kept), told
        assert told.encode() not in b"".join(each["body"] for name in ("resource", "history") for each in kept[name])
    assert "anna" in repr(kept)  # and ids, dates and strings are


async def test_what_is_sealed_cannot_be_sorted_by(harness: Harness) -> None:
    await harness.seed(identified("anna", MRN))
    answer = await harness.get("Patient?_sort=identifier", "admin")
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["_sort"])
    assert "encrypted" in issue(answer)["diagnostics"]
    assert ids(await harness.get("Patient?_sort=-_id", "admin")) == ["anna"]


def test_only_codes_and_ids_stay_readable() -> None:
    """Everything else that is filed as a token is sealed, a clinic's own parameters included."""
    readable = readable_params(REGISTRY)
    for type_, code in (("Patient", "gender"), ("Slot", "status"), ("Patient", "_id"), ("Observation", "code")):
        assert param_number(type_, code) in readable, code
    for code in ("identifier", "identifier:of-type", "phone", "email", "general-practitioner", "_content", "own"):
        assert param_number("Patient", code) not in readable, code


async def opened(folder: Path, clock: SteppingClock, key: bytes | None = KEY, *readable: str) -> MongoStore:
    """A store of plain world: of its token parameters only those named stay readable."""
    numbers = frozenset(param_number(type_, code) for type_ in plans.TYPES for code in readable)
    sealing = Sealing(lambda tenant: KeyCipher(key, tenant), numbers) if key is not None else None
    store = open_store("mongo", folder, clock, Ids(clock), sealing=sealing)
    assert isinstance(store, MongoStore)
    return store


async def read(store: MongoStore, tenant: str = "demo", id_: str = "a") -> Any:
    return await store.run(tenant, lambda unit: unit.read("Patient", id_), write=False)


async def keep(store: MongoStore, *puts: Put, tenant: str = "demo") -> None:
    async def work(unit: Unit) -> None:
        for each in puts:
            await unit.put(each)

    await store.run(tenant, work, write=True)


@pytest.mark.parametrize("key", [OTHER_KEY, None])
async def test_another_key_or_none_is_told_and_finds_nothing(
    tmp_path: Path, clock: SteppingClock, key: bytes | None
) -> None:
    """503 before anything is searched: an empty answer would let a patient be made twice."""
    first = await opened(tmp_path, clock)
    await first.create_tenant("demo")
    await keep(first, put("a", body=b'{"a":1}'))
    await first.close()
    second = await opened(tmp_path, clock, key)
    for work in (read(second), keep(second, put("b")), second.explain("demo", Query("Patient"))):
        with pytest.raises(Unavailable, match="FHIR_SERVER_FIELD_KEY"):
            await work
    await second.close()
    again = await opened(tmp_path, clock)
    assert (await read(again)).body == b'{"a":1}'
    await again.close()


async def test_over_http_another_key_is_503(harness: Harness, tmp_path: Path) -> None:
    """Reads, searches, metadata and conditional creates; nothing is stored, and the right key serves as before."""
    await harness.seed(identified("anna", MRN))
    token = await harness.token("admin")
    before = raw(tmp_path)
    wrong = open_store("mongo", tmp_path, harness.clock, Ids(harness.clock), sealing=with_key(OTHER_KEY, REGISTRY))
    app = make_app(make_parts(harness.parts.settings, store=wrong, clock=harness.clock))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as http:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        create = {"json": identified("x", MRN), "headers": headers | {"If-None-Exist": f"identifier={MRN}"}}
        for method, path, sent in (
            ("GET", "Patient/anna", {"headers": headers}),
            ("GET", f"Patient?identifier={MRN}", {"headers": headers}),
            ("GET", "metadata", {}),
            ("POST", "Patient", create),
        ):
            answer = await http.request(method, f"/demo/fhir/{path}", **sent)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), (path, answer.text)
            assert "another FHIR_SERVER_FIELD_KEY" in issue(answer)["diagnostics"]
    await wrong.close()
    assert raw(tmp_path) == before
    assert ids(await harness.get(f"Patient?identifier={MRN}", "admin")) == ["anna"]


@pytest.mark.parametrize(
    ("collection", "work"),
    [
        ("resource", lambda unit: unit.read("Patient", "a")),
        ("resource", lambda unit: unit.search(Query("Patient"))),
        ("history", lambda unit: unit.vread("Patient", "a", 1)),
        ("history", lambda unit: unit.history(HistoryQuery())),
    ],
)
async def test_a_body_elsewhere_is_refused(tmp_path: Path, clock: SteppingClock, collection: str, work: Any) -> None:
    """Moved to another clinic, resource or version; changed in one bit; or put there as it is."""
    store = await opened(tmp_path, clock)
    for tenant in ("demo", "other"):
        await store.create_tenant(tenant)
        await keep(store, put("a", body=b'{"a":1}'), put("b", body=b'{"b":1}'), tenant=tenant)
    await keep(store, put("a", 1, body=b'{"a":2}'))
    versions = store.database[collection]
    at = {"tenant": "other", "type": "Patient", "id": "a", "version": 1}

    async def body(**of: Any) -> bytes:
        found = await store.database.history.find_one(at | of)
        assert found is not None
        return bytes(found["body"])

    own = await body()
    changed = own[:-1] + bytes([own[-1] ^ 1])
    moved_here = [await body(tenant="demo"), await body(id="b"), await body(tenant="demo", version=2)]
    for there in (*moved_here, changed, own[:5], b'{"a":1}'):
        await versions.update_one(at, {"$set": {"body": there}})
        with pytest.raises(Failed, match="Version 1 of Patient/a is not what was stored"):
            await store.run("other", work, write=False)
    await versions.update_one(at, {"$set": {"body": own}})
    assert (await read(store, "other")).body == b'{"a":1}'
    await store.close()


async def test_a_clinic_from_before_the_key_stays_as_it_is(tmp_path: Path, clock: SteppingClock) -> None:
    """Read, found and written plain; clinics made from now on are sealed, and migration seals a copy."""
    plain = await opened(tmp_path / "1", clock, None)
    await plain.create_tenant("demo")
    await keep(plain, put("a", body=b'{"a":1}', entries={"token": [("identifier", MRN, "")]}))
    await plain.close()
    clock.advance(1_000)
    store = await opened(tmp_path / "1", clock)
    await store.create_tenant("new")
    await keep(store, put("b", body=b'{"b":1}', entries={"token": [("identifier", MRN, "")]}))
    await keep(store, put("c", body=b'{"c":1}'), tenant="new")
    mrn = Query("Patient", Test("identifier", "token", Token(MRN, None)))
    assert (await found_by(store, mrn))[0] == ["a", "b"]
    assert {each["body"][:1] for each in raw(tmp_path / "1")["resource"]} == {b"{", b"\x01"}
    target = await opened(tmp_path / "2", clock)
    assert all(report.is_whole for report in await migrate(MongoSide(store), MongoSide(target)))
    assert (await found_by(target, mrn))[0] == ["a", "b"]
    assert await everything(target) == await everything(store)
    assert {each["body"][:1] for each in raw(tmp_path / "2")["resource"]} == {b"\x01"}
    assert MRN not in repr(raw(tmp_path / "2"))
    for each in (store, target):
        await each.close()


async def test_a_clinic_goes_to_sealed_mongo_and_back(tmp_path: Path, clock: SteppingClock) -> None:
    """As every clinic does (test_migrate): equal in every row, equal in every answer, and nothing for a second run."""
    first: Any = open_store("sqlite", tmp_path / "0", clock, Ids(clock))
    last: Any = open_store("sqlite", tmp_path / "2", clock, Ids(clock))
    database = await opened(tmp_path / "1", clock, KEY, "status", "_id")
    await fill(first, clock)
    report = await moved(SqliteSide(tmp_path / "0", first), MongoSide(database))
    assert (report.is_whole, report.passes) == (True, 2)
    assert (await moved(SqliteSide(tmp_path / "0", first), MongoSide(database))).passes == 1
    assert await everything(database) == await everything(first)
    assert await found(database) == await found(first)
    assert not [each for each in raw(tmp_path / "1")["resource"] if each["body"] and b"1.50" in each["body"]]
    back = await moved(MongoSide(database), SqliteSide(tmp_path / "2", last))
    assert back.is_whole
    assert {part: copied.hash for part, copied in back.parts.items()} == {
        part: copied.hash for part, copied in report.parts.items()
    }
    assert await everything(last) == await everything(first)
    assert await found(last) == await found(first)
    for each in (first, database, last):
        await each.close()


async def test_sealed_codes_are_found_as_plain_python_finds_them(tmp_path: Path, clock: SteppingClock) -> None:
    """Random plans over every node kind, in which the codes of one parameter are sealed."""
    store = await opened(tmp_path, clock, KEY, "status", "_id")
    await store.create_tenant("demo")
    faults = await differences({"mongo": store}, 7, 300)
    assert not faults, faults[0]
    codes = {row["c"] for each in raw(tmp_path)["resource"] for row in each["token"]}
    assert not codes & set("abc")
    assert {"free", "busy"} < codes
    await store.close()


async def test_reindexed_codes_are_sealed(tmp_path: Path, clock: SteppingClock) -> None:
    store = await opened(tmp_path, clock)
    await store.create_tenant("demo")
    await keep(store, put("a"))
    entries: Any = {"token": [("identifier", MRN, "urn:ids")]}

    async def work(unit: Unit) -> None:
        current = await unit.read("Patient", "a")
        assert current is not None
        await unit.reindex(current, entries)

    await store.run("demo", work, write=True)
    assert (await found_by(store, Query("Patient", Test("identifier", "token", Token(MRN, "urn:ids")))))[0] == ["a"]
    assert MRN not in repr(raw(tmp_path))
    await store.close()


# The cipher


def test_equal_codes_of_one_parameter_and_clinic_are_sealed_equally() -> None:
    north, south = KeyCipher(KEY, "north"), KeyCipher(KEY, "south")
    sealed = north.seal_code(7, MRN)
    assert sealed == KeyCipher(KEY, "north").seal_code(7, MRN)
    others = (north.seal_code(8, MRN), north.seal_code(7, MRN + "1"), south.seal_code(7, MRN),
              KeyCipher(OTHER_KEY, "north").seal_code(7, MRN))  # fmt: skip
    assert len({sealed, *others}) == 5
    assert north.open_code(7, sealed) == MRN
    for text in ("\u00e4\U0001f600\0", "\ud800", ""):
        assert north.open_code(7, north.seal_code(7, text)) == text
    for param, code in ((8, sealed), (7, MRN), (7, sealed[:-4]), (7, others[2])):
        with pytest.raises(ValueError, match="not sealed"):
            north.open_code(param, code)


def test_equal_bodies_are_sealed_differently() -> None:
    cipher = KeyCipher(KEY, "north")
    first, second = cipher.seal(b"{}", "Patient/a/1"), cipher.seal(b"{}", "Patient/a/1")
    assert first != second
    assert (first[:1], cipher.open(first, "Patient/a/1")) == (b"\x01", b"{}")
    assert len({KeyCipher(key, name).mark for key in (KEY, OTHER_KEY) for name in ("north", "south")}) == 4


# The setting


def test_the_setting_is_a_key_for_mongodb_and_never_shown() -> None:
    key = base64.urlsafe_b64encode(KEY).decode().rstrip("=")
    given = from_environment({"FHIR_SERVER_FIELD_KEY": key, "FHIR_SERVER_STORE": "mongodb://x/"})
    given.check_store()
    assert given.field_key_bytes() == KEY
    assert key not in repr(given)
    with pytest.raises(ValueError, match="FHIR_SERVER_FIELD_KEY must be 32 bytes"):
        from_environment({"FHIR_SERVER_FIELD_KEY": key[:-4]})
    with pytest.raises(ValueError, match="FHIR_SERVER_FIELD_KEY must be base64url"):
        from_environment({"FHIR_SERVER_FIELD_KEY": key[:-1] + "!"})
    with pytest.raises(Unfit, match="for MongoDB only"):
        Settings(field_key=key).check_store()


def test_commands_seal_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """import, doctor, migrate to the embedded store, and the refusals."""
    key = base64.urlsafe_b64encode(KEY).decode()
    monkeypatch.setenv("FHIR_SERVER_STORE", mongod.server().database_for(tmp_path))
    monkeypatch.setenv("FHIR_SERVER_FIELD_KEY", key)
    assert main(["tenant", "create", "north"]) == 0
    file = tmp_path / "a.ndjson"
    file.write_text(json.dumps(identified("anna", MRN)))
    assert main(["import", "north", str(file)]) == 0
    assert MRN not in repr(raw(tmp_path))
    assert main(["doctor"]) == 0
    assert "clinics: 1, 1 of them with encrypted fields" in capsys.readouterr().out
    assert main(["migrate", "--from", "mongodb", "--to", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    monkeypatch.setenv("FHIR_SERVER_FIELD_KEY", base64.urlsafe_b64encode(OTHER_KEY).decode())
    assert main(["doctor"]) == 1
    assert "encrypted with another FHIR_SERVER_FIELD_KEY" in capsys.readouterr().out
    monkeypatch.delenv("FHIR_SERVER_STORE")
    for command in (["tenant", "list", "--data", str(tmp_path / "out")], ["doctor"], ["serve", "--port", "0"]):
        assert main(command) == 1, command
        assert "FHIR_SERVER_FIELD_KEY is for MongoDB only" in capsys.readouterr().err
    monkeypatch.delenv("FHIR_SERVER_FIELD_KEY")
    assert main(["tenant", "list", "--data", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("north")
