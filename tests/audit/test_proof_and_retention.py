"""Proofs, accounting of disclosures, purging with a tombstone, legal hold."""

import asyncio
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path

import apsw
import pytest
from pymongo import DeleteOne

from fhir_server.audit import disclosures, keys, proof, retention, whole
from fhir_server.audit.checkpoint import NOTHING, Checkpoint, hash_of, parse
from fhir_server.audit.event import Event
from fhir_server.audit.export import export
from fhir_server.audit.sealer import ENTRIES, EVERY, Sealer
from fhir_server.audit.verify import Checkpoints
from fhir_server.fhir.clock import Ids
from fhir_server.fhir.errors import Unprocessable
from fhir_server.store.mongo import unit as mongo_unit
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.protocol import AuditQuery, Chained, Sealed, Store, Unit
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pack import pack
from tests.harness import DAY, MINUTE, Harness, SteppingClock, ids, issue, link, open_store


async def _key(harness: Harness) -> list[bytes]:
    return await whole.kept_keys(harness.parts.store, "demo")


async def test_an_event_is_proved_by_the_public_key_alone(clinic: Harness) -> None:
    """`$proof` of events of reads and of changes; any part that is changed breaks it."""
    await clinic.get("Patient/anna", "dr-lee")
    events = (await clinic.get("AuditEvent?_count=100&_sort=date", "auditor")).json()["entry"]
    ids = [entry["resource"]["id"] for entry in events]
    early = await clinic.get(f"AuditEvent/{ids[0]}/$proof", "auditor")
    assert early.status_code == 422, "no checkpoint covers it yet"
    await clinic.parts.sealer.seal("demo")
    (public,) = await _key(clinic)
    for id_ in ids:
        answer = await clinic.get(f"AuditEvent/{id_}/$proof", "auditor")
        assert answer.status_code == 200, answer.text
        parameters = answer.json()
        assert proof.check(parameters, public) == ""
        assert proof.check(parameters, keys.Signer(bytes(32)).public)
        for place, each in enumerate(parameters["parameter"]):
            if each["name"] not in ("recorded", "number", "body", "before", "path"):
                continue
            kind = "valueString" if "valueString" in each else "valueBase64Binary"
            value = each[kind]
            other = str(int(value) + 1) if kind == "valueString" else ("A" if value[0] != "A" else "B") + value[1:]
            forged = [*parameters["parameter"]]
            forged[place] = {"name": each["name"], kind: other}
            assert proof.check({"parameter": forged}, public), each["name"]
    assert (await clinic.get(f"AuditEvent/{ids[0]}/$proof", "anna")).status_code == 403


async def test_the_sealer_seals_after_a_minute_or_a_thousand_entries(clinic: Harness) -> None:
    """Whichever comes first; until then entries are unsealed."""
    sealer, store = clinic.parts.sealer, clinic.parts.store

    async def sealed() -> int:
        report = await whole.verify_store(store, "demo", await _key(clinic))
        assert report.is_whole
        return report.sealed

    await sealer.look("demo")
    assert await sealed() == 0
    clinic.clock.advance(EVERY)
    await sealer.look("demo")
    first = await sealed()
    assert first > 0
    await store.record("demo", [event.entry() for event in (await clinic.events())[:1]] * ENTRIES)
    await sealer.look("demo")
    assert await sealed() == first + ENTRIES


async def test_a_key_folder_outside_of_the_data_holds_the_private_key(clinic: Harness, tmp_path: object) -> None:
    folder = clinic.parts.settings.data.parent / "keys"
    signer = await keys.signer(clinic.parts.store, "demo", folder)
    assert (folder / "demo.ed25519").stat().st_mode & 0o777 == 0o600
    assert (await keys.signer(clinic.parts.store, "demo", folder)).public == signer.public

    async def private(unit: Unit) -> bytes | None:
        return await unit.peek(keys.KIND, "private")

    assert await clinic.run(private) is None
    assert await _key(clinic) == [signer.public]


async def _bury(store: Store, clock: SteppingClock, before: int) -> Checkpoint | None:
    """The first half of a purge."""
    signer = await keys.signer(store, "demo", None)

    async def bury(unit: Unit) -> Checkpoint | None:
        upto = await retention.plan(unit, before)
        if upto is not None:
            await retention.bury(unit, "demo", signer, clock(), upto, "root", "period")
        return upto

    return await store.run("demo", bury, write=True)


async def _purge(store: Store, clock: SteppingClock, before: int) -> Checkpoint | None:
    upto = await _bury(store, clock, before)
    if upto is not None:
        await store.run("demo", lambda unit: retention.remove(unit, upto), write=True)
    return upto


def _event(clock: SteppingClock) -> Event:
    return Event("read", "R", "0", clock(), "portal", "Practitioner/dr-lee", entity="Patient/p/_history/1")


@pytest.mark.requirement("R-10.8")
async def test_a_purge_leaves_a_tombstone_and_the_rest_verifies(clinic: Harness) -> None:
    """Whole checkpoints only; what follows is whole; the tombstone says who and why; chains go on."""
    sealer, store = clinic.parts.sealer, clinic.parts.store
    [first] = await clinic.run(lambda unit: unit.audited(AuditQuery(ascending=True, count=1)))
    for _ in range(3):
        await clinic.get("Patient/anna", "dr-lee")
        await sealer.seal("demo")
        clinic.clock.advance(DAY)
    all_ = (await whole.verify_store(store, "demo", await _key(clinic))).sealed
    upto = await _purge(clinic.parts.store, clinic.clock, clinic.clock() - 2 * DAY + MINUTE * 5)
    assert upto is not None
    assert upto.number == 2
    report = await whole.verify_store(store, "demo", await _key(clinic))
    assert (report.faults, report.sealed) == ([], all_ - sum(each.upto for each in upto.ranges))
    last = [parse(each.body) async for each in whole.checkpoints_of(store, "demo")][-1]
    assert last.purged["by"] == "root"
    assert last.purged["checkpoint"] == 2
    await clinic.get("Patient/anna", "dr-lee")
    await sealer.seal("demo")
    assert (await whole.verify_store(store, "demo", await _key(clinic))).is_whole
    with pytest.raises(Unprocessable):
        await _purge(clinic.parts.store, clinic.clock, clinic.clock() - 2 * DAY - DAY + MINUTE * 5)
    assert (await clinic.get(f"AuditEvent/{first.id}", "auditor")).status_code == 404


async def test_an_idle_chain_goes_on_after_a_second_purge(store_kind: str, tmp_path: Path) -> None:
    """The second tombstone names it where the first did; its numbers go on after a restart, and it verifies."""
    clock = SteppingClock()
    store = open_store(store_kind, tmp_path, clock, Ids(clock))
    await store.create_tenant("demo")

    async def change(unit: Unit) -> None:
        await unit.audit(_event(clock).entry())

    await store.record("demo", [_event(clock).entry()] * 3)
    for _ in range(2):  # changes are another chain than reads, on the embedded store
        await store.run("demo", change, write=True)
        await Sealer(store, clock).seal("demo")
        clock.advance(DAY)
        assert await _purge(store, clock, clock()) is not None
    await store.close()
    store = open_store(store_kind, tmp_path, clock, Ids(clock))
    await store.record("demo", [_event(clock).entry()] * 4)
    await Sealer(store, clock).seal("demo")
    heads = await store.run("demo", lambda unit: unit.heads(), write=False)
    assert sum(head.number for head in heads) == 3 + 2 + 4
    report = await whole.verify_store(store, "demo", await whole.kept_keys(store, "demo"))
    assert (report.faults, report.sealed, report.unsealed) == ([], 4, 0)
    await store.close()


async def _verified(store: Store, path: Path) -> whole.Report:
    """The store's log, and its export, which tell the same."""
    public = await whole.kept_keys(store, "demo")
    report = await whole.verify_store(store, "demo", public)

    @dataclass
    class Named:
        name: str = "demo"

    with path.open("wb") as out:
        await export(store, Named(), "log", out)  # type: ignore[arg-type]
    exported = whole.verify_export(path, public)
    assert (exported.faults, exported.sealed) == (report.faults, report.sealed)
    return report


async def _purged_and_buried(store: Store, clock: SteppingClock) -> tuple[str, list[Chained], Checkpoint]:
    """Five entries that are purged, five that are only buried, and two after them; the chain and the first ten."""
    entries: list[Chained] = []
    for purge in (_purge, _bury):
        await store.record("demo", [_event(clock).entry()] * 5)
        await Sealer(store, clock).seal("demo")
        [chain] = [head.chain for head in await store.run("demo", lambda u: u.heads(), write=False) if head.number]
        entries += [each async for batch in whole.entries_of(store, "demo", chain) for each in batch]
        clock.advance(DAY)
        upto = await purge(store, clock, clock())
        assert upto is not None
    await store.record("demo", [_event(clock).entry()] * 2)
    await Sealer(store, clock).seal("demo")
    return chain, entries, upto


async def test_a_purge_that_was_broken_off_verifies_and_is_finished(
    store: Store, clock: SteppingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has not removed yet is no insertion; the next purge, of the same day, removes it."""
    chain, _, upto = await _purged_and_buried(store, clock)
    assert ((await _verified(store, tmp_path / "log")).faults, await _numbers(store, chain)) == ([], [*range(6, 13)])
    if isinstance(store, MongoStore):  # there a removal can break off within a chain
        deletions = [DeleteOne, DeleteOne]
        with monkeypatch.context() as broken:
            broken.setattr(mongo_unit, "_PURGED_TOGETHER", 2)
            broken.setattr(mongo_unit, "DeleteOne", lambda at: deletions.pop()(at))
            with pytest.raises(IndexError):
                await _purge(store, clock, clock())
        assert (await _verified(store, tmp_path / "log")).faults == []
        assert await _numbers(store, chain) == [6, 7, 8, 11, 12]
    assert await _purge(store, clock, clock()) == upto
    report = await _verified(store, tmp_path / "log")
    assert (report.faults, report.sealed, await _numbers(store, chain)) == ([], 2, [11, 12])
    with pytest.raises(Unprocessable):
        await _purge(store, clock, clock())


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("number", [-1, 0, 1, 3, 5, 6, 8, 10])
async def test_what_is_inserted_below_a_tombstone_is_found(
    store: Store, clock: SteppingClock, tmp_path: Path, number: int, finished: bool
) -> None:
    """Where it was, or in the place of what a purge that was broken off has yet to remove."""
    chain, entries, upto = await _purged_and_buried(store, clock)
    if finished:
        await store.run("demo", lambda unit: retention.remove(unit, upto), write=True)
    placed = entries[number - 1] if 0 < number != 8 else replace(entries[4], number=number)
    await _insert(store, tmp_path, chain, placed)
    told = "is not what was recorded" if number == 8 and not finished else "was inserted or moved"
    expected = [] if number in (6, 10) and not finished else [f"{chain}-{number} {told}"]
    assert (await _verified(store, tmp_path / "log")).faults == expected


async def _numbers(store: Store, chain: str) -> list[int]:
    return [each.number async for batch in whole.entries_of(store, "demo", chain) for each in batch]


async def _insert(store: Store, folder: Path, chain: str, entry: Chained) -> None:
    """Put an entry, packed or not, in its number's place."""
    if isinstance(store, MongoStore):
        at = {"tenant": "demo", "type": chain, "number": entry.number}
        there = await store.database.audit.find_one(at) or at | {"id": f"{chain}-1{entry.number:030}", "key": 1}
        made = there | {"recorded": entry.recorded, "body": entry.body, "hash": entry.hash, "found": []}
        where = {"tenant": "demo", "type": chain, "id": there["id"]}
        await store.database.audit.replace_one(where, made, upsert=True)
        return
    connection = apsw.Connection(str(folder / "tenants/demo" / f"audit-{chain.removeprefix('r')}.db"))
    assert entry.body is not None
    names = Names(connection)
    names.begin()
    values = (entry.number, entry.recorded, pack(entry.body, names), entry.hash)
    connection.execute("INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?)", values)
    connection.close()
    await asyncio.sleep(0)  # one turn of the loop reads one snapshot


async def test_a_clock_that_steps_back_breaks_no_log(store: Store, clock: SteppingClock, tmp_path: Path) -> None:
    """A checkpoint's time is that of the one before it at least, a tombstone's too: machines' clocks differ."""
    for step in (0, -5 * MINUTE, 0, DAY, 0):
        clock.advance(step)
        await store.record("demo", [_event(clock).entry()])
        await Sealer(store, clock).seal("demo")
    clock.advance(-2 * MINUTE)
    assert await _purge(store, clock, clock() - MINUTE) is not None
    clock.advance(-DAY)
    await store.record("demo", [_event(clock).entry()])
    await Sealer(store, clock).seal("demo")
    report = await _verified(store, tmp_path / "log")
    assert (report.faults, report.sealed, report.unsealed) == ([], 3, 0)
    times = [parse(each.body).at async for each in whole.checkpoints_of(store, "demo")]
    assert times == sorted(times)
    assert len(times) == 7


async def test_a_time_that_went_back_is_told_once(store: Store, clock: SteppingClock) -> None:
    """As logs may have it that were sealed before: what the checkpoints cover is checked all the same."""
    for _ in range(4):
        await store.record("demo", [_event(clock).entry()])
        await Sealer(store, clock).seal("demo")
        clock.advance(MINUTE)
    signer = await keys.signer(store, "demo", None)
    checkpoints, previous = Checkpoints("demo", [signer.public]), NOTHING
    async for each in whole.checkpoints_of(store, "demo"):
        at = parse(each.body).at - (10 * MINUTE if each.number > 1 else 0)
        body = replace(parse(each.body), at=at, previous=previous).body()
        made = Sealed(each.number, body, signer.sign(body), each.marks)
        checkpoints.take(made)
        previous = hash_of(made)
    assert checkpoints.faults == ["checkpoint 2: its time is before that of the one before it"]
    assert max(expected.upto for expected in checkpoints.chains.values()) == 4


async def test_a_removal_without_tombstone_shows(clinic: Harness) -> None:
    await clinic.parts.sealer.seal("demo")
    chain = (await clinic.run(lambda unit: unit.heads()))[0].chain
    await clinic.run(lambda unit: unit.purge(chain, 2), write=True)
    report = await whole.verify_store(clinic.parts.store, "demo", await _key(clinic))
    assert report.faults == [f"{chain}-1 was removed"]


async def test_a_legal_hold_keeps_what_is_about_a_patient(clinic: Harness) -> None:
    """Nothing is purged from the first entry about them on."""
    await clinic.parts.sealer.seal("demo")
    clinic.clock.advance(DAY)
    await clinic.run(lambda unit: retention.hold(unit, "anna", "case 17"), write=True)
    assert await _purge(clinic.parts.store, clinic.clock, clinic.clock()) is None
    assert await clinic.run(lambda unit: retention.release(unit, "anna"), write=True)
    assert await _purge(clinic.parts.store, clinic.clock, clinic.clock()) is not None


async def test_who_looked_at_a_patient_is_told(clinic: Harness) -> None:
    """As data and as a page; the patient's own looks are left out; others' patients too; asking is recorded."""
    await clinic.get("Patient/anna", "dr-lee")
    await clinic.get("Patient/anna", "anna")
    await clinic.get("Patient/ben", "dr-kim")
    answer = await clinic.get("Patient/anna/$accounting-of-disclosures", "auditor")
    assert answer.status_code == 200, answer.text
    users = [
        agent["who"]["reference"]
        for entry in answer.json()["entry"]
        for agent in entry["resource"]["agent"]
        if "reference" in agent["who"]
    ]
    assert users == ["Practitioner/dr-lee"]
    page = await clinic.get("Patient/anna/$who-looked", "auditor", headers={"Accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Patient/anna/_history/1" in unescape(page.text)
    assert "dr-kim" not in page.text.lower()
    asked = [event for event in await clinic.events() if event.subtype == "operation"]
    assert [event.patients for event in asked] == [("anna",), ("anna",)]
    for caller in ("dr-lee", "anna", "anonymous"):
        refused = await clinic.get("Patient/anna/$accounting-of-disclosures", caller)
        assert refused.status_code in (401, 403)


async def test_a_refused_look_is_told(clinic: Harness) -> None:
    """Who tried, and that they saw nothing."""
    assert (await clinic.get("Patient/anna", "ben")).status_code == 404
    assert (await clinic.get("Patient/anna")).status_code == 403
    answer = await clinic.get("Patient/anna/$accounting-of-disclosures", "auditor")
    told = [(entry["resource"]["outcome"], entry["resource"]["outcomeDesc"]) for entry in answer.json()["entry"]]
    assert sorted(told) == [("4", "403 forbidden"), ("4", "404 not-found")]
    assert "refused: 404 not-found" in (await clinic.get("Patient/anna/$who-looked", "auditor")).text


@pytest.mark.parametrize("own", [2, 3, 4, 25])
async def test_no_look_is_lost_behind_what_is_left_out(
    clinic: Harness, monkeypatch: pytest.MonkeyPatch, own: int
) -> None:
    """However much of their own the patient did, and whatever was written, since: it does not count for the most."""
    monkeypatch.setattr(disclosures, "MOST", 3)
    looked = _event(clinic.clock)
    left_out = replace(looked, user="Patient/zed"), replace(looked, subtype="update", action="U")
    for each in (looked, *(left_out * own)):
        clinic.clock.advance(1_000)
        made = replace(each, recorded=clinic.clock(), patients=("zed",))
        await clinic.parts.store.record("demo", [made.entry()])
    answer = await clinic.get("Patient/zed/$accounting-of-disclosures", "auditor")
    assert (answer.json()["total"], len(answer.json()["entry"]), link(answer, "next")) == (1, 1, None)
    page = await clinic.get("Patient/zed/$who-looked", "auditor")
    assert "Practitioner/dr-lee" in page.text
    assert "There are more" not in page.text


@pytest.mark.parametrize("looks", [2, 3, 4, 10])
async def test_more_looks_than_are_shown_are_told(clinic: Harness, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """The newest, and a link to those before them; a total only where it is known."""
    monkeypatch.setattr(disclosures, "MOST", 3)
    for _ in range(looks):
        clinic.clock.advance(1_000)
        await clinic.parts.store.record("demo", [replace(_event(clinic.clock), patients=("zed",)).entry()])
    clinic.clock.advance(DAY)  # asking is a look, too
    day = "start=2020&end=2027-01-18"
    answer = await clinic.get(f"Patient/zed/$accounting-of-disclosures?{day}", "auditor")
    page = await clinic.get(f"Patient/zed/$who-looked?{day}", "auditor")
    assert ("There are more" in page.text) == (looks > 3)
    assert answer.json().get("total") == (looks if looks <= 3 else None)
    found = ids(answer)
    while (following := link(answer, "next")) is not None:
        assert len(ids(answer)) == 3
        answer = await clinic.get(following.removeprefix("/demo/fhir/"), "auditor")
        assert "start=2020" in answer.json()["link"][0]["url"]
        found += ids(answer)
    assert len(dict.fromkeys(found)) == looks


@pytest.mark.parametrize("query", ["start=nix", "end=ge2020", "start=", "end=2020-13-01"])
async def test_a_time_that_is_none_is_refused(clinic: Harness, query: str) -> None:
    for operation in ("$accounting-of-disclosures", "$who-looked"):
        answer = await clinic.get(f"Patient/anna/{operation}?{query}", "auditor")
        assert answer.status_code == 400, answer.text
        assert issue(answer)["expression"] == [query.partition("=")[0]]


async def test_the_page_is_for_people(clinic: Harness) -> None:
    """Times are the clinic's; it fits a phone, needs no script, and says so when nobody looked."""
    assert "Nobody did in this time." in (await clinic.get("Patient/anna/$who-looked", "auditor")).text
    await clinic.get("Patient/anna", "dr-lee")
    page = await clinic.get("Patient/anna/$who-looked", "auditor")
    assert '<time datetime="2027-01-18T08:00:00.000Z">2027-01-18 09:00:00 CET</time>' in page.text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_a_page_shows_text_as_text(clinic: Harness) -> None:
    """What callers send cannot become markup."""
    event = replace((await clinic.events())[0], action="R", patients=("anna",), user="x", user_name="<script>alert(1)")
    await clinic.parts.store.record("demo", [event.entry()])
    page = await clinic.get("Patient/anna/$who-looked", "auditor")
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
