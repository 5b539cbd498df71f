"""The demo clinic: whole, sound, and the same on every run but for its dates."""

import itertools
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.app import make_parts
from fhir_server.audit.command import Command
from fhir_server.booking.clinic_rules import of_service
from fhir_server.fhir.errors import Conflict
from fhir_server.fhir.json import parse
from fhir_server.search.plan import Query
from fhir_server.settings import Settings
from fhir_server.store.protocol import Unit
from profiles.definitions import load
from profiles.structure import Structure
from seed import access, clinic, people, practice, us_core
from seed.practice import PRACTITIONERS, SERVICES, configuration, npi
from seed.slots import slots
from smart_auth import accounts, clients

NOW = int(datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
COMMAND = Command("seed demo", "olivia", "run-1")


def demo_resources(now: int = NOW) -> list[dict[str, Any]]:
    return clinic._demo_resources(lambda: now)


def is_luhn(number: str) -> bool:
    """Luhn by its definition, from the right."""
    total = 0
    for position, digit in enumerate(map(int, reversed("80840" + number))):
        value = digit * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def test_npis_are_valid() -> None:
    """45 CFR 162.406; 1234567893 is the example that CMS publishes."""
    assert npi("123456789") == "1234567893"
    numbers = [one.npi for one in PRACTITIONERS] + [practice.further(n).npi for n in range(4, 20)]
    assert all(len(number) == 10 and is_luhn(number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_what_the_demo_clinic_has() -> None:
    """interfaces, "Demo clinic"."""
    count = Counter(resource["resourceType"] for resource in demo_resources())
    assert (count["Practitioner"], count["Location"], count["HealthcareService"], count["Patient"]) == (3, 2, 4, 20)
    assert count["Organization"] == 1
    assert count["PractitionerRole"] == 3
    assert count["Schedule"] == sum(len(one.hours) for one in PRACTITIONERS)
    assert count["Provenance"] == 1
    ids = {(resource["resourceType"], resource["id"]) for resource in demo_resources()}
    assert {("Patient", "anna"), ("Patient", "ben"), ("Practitioner", "dr-lee"), ("Practitioner", "dr-kim")} <= ids
    assert len(ids) == len(demo_resources())


def test_all_of_it_is_sound_and_refers_to_what_is_there() -> None:
    structure = Structure(load())
    resources = demo_resources()
    ids = {f"{resource['resourceType']}/{resource['id']}" for resource in resources}

    def references(value: Any) -> Any:
        match value:
            case {"reference": str(target)}:
                yield target
            case dict():
                yield from itertools.chain.from_iterable(map(references, value.values()))
            case list():
                yield from itertools.chain.from_iterable(map(references, value))

    for resource in resources:
        assert structure.check(resource) == []
        assert set(references(resource)) <= ids


def test_services_differ_by_their_rules() -> None:
    """One confirms itself, one needs a doctor's review, one takes three, one holds."""
    services = [r | {"meta": {"versionId": "1"}} for r in configuration() if r["resourceType"] == "HealthcareService"]
    rules = {service["id"]: of_service(service) for service in services}
    assert [id_ for id_, rule in rules.items() if rule.confirms_itself] == ["flu-shot"]
    assert [id_ for id_, rule in rules.items() if rule.clinical_review] == ["consultation"]
    assert {id_: rule.capacity for id_, rule in rules.items() if rule.capacity > 1} == {"diabetes-class": 3}
    assert [id_ for id_, rule in rules.items() if rule.hold_minutes] == ["physiotherapy"]


def test_slots_keep_their_hours_when_the_clocks_change() -> None:
    """New York changes on 14 March 2027: 9 o'clock is 14:00 UTC before and 13:00 UTC after."""
    made = list(slots(PRACTITIONERS[:1], date(2027, 3, 12), 4, ZoneInfo(practice.ZONE)))
    first = {slot["start"][:10]: slot["start"] for slot in reversed(made)}
    assert first == {"2027-03-12": "2027-03-12T09:00:00-05:00", "2027-03-15": "2027-03-15T09:00:00-04:00"}


def test_no_practitioner_is_in_two_slots_at_once_and_four_weeks_are_full() -> None:
    by_practitioner: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    days = set()
    for slot in slots(PRACTITIONERS, date(2027, 3, 2), clinic.DAYS, ZoneInfo(practice.ZONE)):
        times = datetime.fromisoformat(slot["start"]), datetime.fromisoformat(slot["end"])
        assert times[0] < times[1]
        days.add(times[0].date())
        by_practitioner[slot["schedule"]["reference"][:15]].append(times)
    assert len(days) == 20
    assert len(by_practitioner) == 3
    for found in by_practitioner.values():
        found.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))


def test_only_dates_differ_from_day_to_day() -> None:
    """Deterministic apart from dates."""
    assert demo_resources() == demo_resources()
    another = [r for r in demo_resources(NOW + 86_400_000_000) if r["resourceType"] != "Slot"]
    first = [r for r in demo_resources() if r["resourceType"] != "Slot"]
    assert [(r["resourceType"], r["id"], r.keys()) for r in another] == [
        (r["resourceType"], r["id"], r.keys()) for r in first
    ]


def test_one_patient_is_complete_in_us_core_terms() -> None:
    """US Core 6.1.0 us-core-patient: every must-support and USCDI element."""
    patient, *_, provenance = us_core.patient(date(2027, 3, 1))
    extensions = {extension["url"].rpartition("/")[2] for extension in patient["extension"]}
    assert {"us-core-race", "us-core-ethnicity", "us-core-tribal-affiliation", "us-core-sex"} <= extensions
    assert {name["use"] for name in patient["name"]} == {"official", "old"}
    assert "suffix" in patient["name"][0]
    assert "end" in patient["name"][1]["period"]
    assert {address["use"] for address in patient["address"]} == {"home", "old"}
    assert {"identifier", "gender", "birthDate", "telecom", "communication", "deceasedDateTime"} <= patient.keys()
    assert {"reference": "Patient/margaret"} in provenance["target"]


async def test_the_demo_clinic_is_made_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One Unit: a failure half-way leaves an empty clinic, and the next start makes it whole."""
    parts = make_parts(Settings(data=tmp_path), clock=lambda: NOW)

    async def found(type_: str) -> list[dict[str, Any]]:
        async def work(unit: Unit) -> list[dict[str, Any]]:
            page = await unit.search(Query(type_, count=1_000))
            return [parse(stored.body) for stored in page.matches if stored.body]

        return await parts.store.run("demo", work, write=False)

    async def fail(*_: Any) -> None:
        raise OSError("pulled the plug")

    try:
        with monkeypatch.context() as broken:
            broken.setattr("seed.write.Writer._record", fail)
            with pytest.raises(OSError, match="plug"):
                await clinic.make_demo(parts.store, parts.clinics, lambda: NOW, COMMAND)
        assert not await clinic.is_made(parts.store)
        assert await found("Patient") == []
        outcome = await clinic.make_demo(parts.store, parts.clinics, lambda: NOW, COMMAND)
        assert (outcome.new, outcome.refused) == (len(demo_resources()), [])
        assert await clinic.is_made(parts.store)
        assert len(await found("Patient")) == 20
        assert {a["status"] for a in await found("Appointment")} == {"fulfilled"}
        with pytest.raises(Conflict):
            await clinic.make_demo(parts.store, parts.clinics, lambda: NOW, COMMAND)
        people_there = await parts.store.run("demo", accounts.all_accounts, write=False)
        clients_there = await parts.store.run("demo", clients.all_clients, write=False)
        assert {a.name for a in people_there} == {"anna", "ben", "dr-lee", "dr-kim", "sam", "olga", "root"}
        assert {c.client_id for c in clients_there} == {c.client_id for c in access.CLIENTS}
        assert await accounts.verify_password(people_there[0], "demo-anna")
        there = await parts.clinics.get("demo")
        assert (str(there.zone), there.cors_origins) == (practice.ZONE, frozenset("*"))
    finally:
        await parts.store.close()


async def test_old_demo_data_get_new_slots(tmp_path: Path) -> None:
    """Whoever starts the demo a month later finds free times again."""
    parts = make_parts(Settings(data=tmp_path), clock=lambda: NOW)
    later = NOW + 30 * 86_400_000_000
    try:
        await clinic.make_demo(parts.store, parts.clinics, lambda: NOW, COMMAND)
        assert await clinic.has_slots(parts.store, lambda: NOW)
        assert not await clinic.has_slots(parts.store, lambda: later)
        outcome = await clinic.add_slots(parts.store, parts.clinics, lambda: later, COMMAND)
        assert outcome.new > 700
        assert await clinic.has_slots(parts.store, lambda: later)
    finally:
        await parts.store.close()


def test_synthetic_patients_never_meet_their_doctor_at_the_same_time() -> None:
    """Past visits are shared out, so that import's own rule against double booking lets all of them through."""
    doctors = tuple(one.id for one in PRACTITIONERS)
    seen = Counter()
    for resource in people.patients(300, date(2027, 3, 1), UTC, doctors, named=False):
        if resource["resourceType"] == "Appointment":
            seen[(resource["start"], resource["participant"][1]["actor"]["reference"])] += 1
    assert max(seen.values()) == 1
    assert len(SERVICES) == 4
