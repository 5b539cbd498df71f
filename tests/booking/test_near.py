"""What is known of who is near an appointment is what the store would say (`fhir_server.booking.near`)."""

import random
from typing import Any

import pytest

from fhir_server.booking import near
from fhir_server.booking.conflicts import takers
from fhir_server.booking.index import ACTOR, BLOCKED, NEAR, SLOT, TIME, WANTED_ACTOR, WANTED_SLOT, WANTED_TIME
from fhir_server.booking.near import About
from fhir_server.fhir import json
from fhir_server.fhir.reference import LocalReference
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Node, Not, Query, Target, Test, all_of, any_of
from fhir_server.store.protocol import Unit
from tests.harness import DAY, HOUR, MINUTE, Harness, appointment, proposal, to_status

STATUSES = ("proposed", "pending", "waitlist", "booked", "arrived", "cancelled")
PEOPLE = [LocalReference("Practitioner", "dr-lee"), LocalReference("Practitioner", "dr-kim"),
          LocalReference("Patient", "anna"), LocalReference("Device", "laser")]  # fmt: skip


async def _repository(harness: Harness, unit: Unit) -> Repository:
    clinic = await harness.parts.clinics.get("demo")
    return Repository(unit, clinic, Access(Agent("service", name="test")))


def _appointments(harness: Harness, chance: random.Random) -> list[dict[str, Any]]:
    """Of a few minutes to some weeks, over and beside each other, some with buffers."""
    made = []
    for n in range(120):
        start = DAY + chance.randrange(96) * 15 * MINUTE
        lasts = chance.choice((5, 15, 30, 60, 300, 1_500, 60_000)) * MINUTE
        who = chance.sample(PEOPLE, 2)
        made.append(
            appointment(f"a{n}", chance.choice(STATUSES), "anna", str(chance.randrange(4)))
            | {"start": harness.at(start), "end": harness.at(start + lasts)}
            | {"participant": [{"actor": {"reference": str(each)}, "status": "accepted"} for each in who]}
        )
        if chance.random() < 0.3:
            url = "https://fhir-server.dev/StructureDefinition/booking-buffers"
            made[-1]["extension"] = [{"url": url, "extension": [{"url": "after", "valueUnsignedInt": 40}]}]
    return made


def _questions(chance: random.Random, now: int) -> tuple[About, list[Node]]:
    """What is asked about a slot, somebody and a time, in all the ways that the rules do."""
    start = now + DAY + chance.randrange(96) * 15 * MINUTE
    end, slot, who = start + chance.choice((15, 30, 120)) * MINUTE, str(chance.randrange(4)), chance.choice(PEOPLE)
    time, target = Interval(Box(lo_below=end, hi_above=start)), Target(who.id, who.type)
    taken, wanted = (Test(code, "reference", Target(slot, "Slot")) for code in (SLOT, WANTED_SLOT))
    busy = all_of(Test(ACTOR, "reference", target), any_of(Test(TIME, "date", time), Test(BLOCKED, "date", time)))
    asked = all_of(Test(WANTED_TIME, "date", time), Test(WANTED_ACTOR, "reference", target))
    nodes = [taken, wanted, any_of(taken, wanted), busy, asked, all_of(any_of(busy, asked), Not(any_of(taken, wanted)))]
    return About(frozenset({slot}), frozenset({who}), start, end), nodes


@pytest.mark.requirement("R-10.6")
async def test_what_is_known_is_what_the_store_says(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever overlaps is found, however long they are and whatever their buffers; nothing is asked twice."""
    monkeypatch.setattr(near, "_MOST", 1_000)
    chance = random.Random(3)

    async def put(unit: Unit) -> None:
        repository = await _repository(clinic, unit)
        for each in _appointments(clinic, chance):
            await repository.put(None, each, rule="test")

    await clinic.run(put, write=True)

    async def compare(unit: Unit) -> int:
        repository, found = await _repository(clinic, unit), 0
        for _ in range(60):
            about, nodes = _questions(chance, clinic.clock.now)
            await near.look(repository, about)
            for node in nodes:
                for query in (Query("Appointment", node, count=500), Query("Appointment", node, count=0, total=2)):
                    said, known = await unit.search(query), await near.search(repository, query, about)
                    assert [each.id for each in known.matches] == [each.id for each in said.matches]
                    assert (known.total, known.total_is_exact) == (said.total, said.total_is_exact)
                    found += len(known.matches)
        return found

    assert await clinic.run(compare) > 200


async def test_what_the_unit_changes_is_known_too_and_what_was_not_read_is_asked(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"), clinic.slot("t", 2 * DAY + HOUR))

    async def work(unit: Unit) -> None:
        repository = await _repository(clinic, unit)
        await near.look(repository, near.about_slots(["s"]))
        assert await takers(repository, "s") == []
        made = appointment("", "booked", "anna", "s") | {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + HOUR)}
        stored = await repository.put(None, made, rule="test")
        assert [each.id for each in await takers(repository, "s")] == [stored.id]
        await repository.put(stored, made | {"slot": [{"reference": "Slot/t"}]}, rule="test")
        assert await takers(repository, "s") == []
        assert [each.id for each in await takers(repository, "t")] == [stored.id]

    await clinic.run(work, write=True)


@pytest.mark.requirement("R-10.6", "R-10.5")
async def test_a_crowd_is_not_read_at_once_and_one_of_it_wins(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_MOST", 3)
    await clinic.seed(clinic.slot("s"))
    made = [(await clinic.create(proposal("s"), "anonymous")).json()["id"] for _ in range(6)]
    for n, id_ in enumerate(made):
        answer = await clinic.patch(f"Appointment/{id_}", to_status("booked"))
        assert answer.status_code == (409 if n else 200)
    left = [await clinic.stored(f"Appointment/{id_}") for id_ in made[1:]]
    assert all("contested" in [tag["code"] for tag in each["meta"]["tag"]] for each in left)


@pytest.mark.requirement("R-10.6")
async def test_what_an_older_server_stored_is_asked_of_the_store(clinic: Harness) -> None:
    """Appointments without the entries that came later still stand in the way, before $reindex and after it."""
    when = {"start": clinic.at(2 * DAY), "end": clinic.at(2 * DAY + 30 * MINUTE)}
    await clinic.seed(clinic.slot("s"), clinic.slot("t"))

    async def age(unit: Unit) -> None:
        old = appointment("", "booked", "anna", "s") | when
        stored = await (await _repository(clinic, unit)).put(None, old, rule="test")
        entries = (await _repository(clinic, unit)).entries(json.parse(stored.body))
        entries["token"] = [row for row in entries["token"] if row[0] != NEAR]
        await unit.reindex(stored, entries)
        await unit.take("own-entries", "Appointment")

    async def is_read_at_once(unit: Unit) -> bool:
        repository = await _repository(clinic, unit)
        await near.look(repository, near.about_slots(["s"]))
        return "near" in repository.known

    await clinic.run(age, write=True)
    for is_whole in (False, True):
        assert await clinic.run(is_read_at_once) is is_whole
        made = appointment("new", "booked", "ben", "s") | when
        del made["id"]
        answer = await clinic.create(made, "dr-lee")
        assert answer.status_code == 409, answer.text
        body = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "Appointment"}]}
        assert (await clinic.send("POST", "$reindex", "admin", json_=body)).status_code == 200
