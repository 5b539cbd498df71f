"""Appointment/$find, $hold and $book over HTTP (IHE Scheduling ITI-115 to ITI-117)."""

from typing import Any

import httpx
import pytest

from fhir_server.booking import sweeper
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    ORIGIN,
    Harness,
    link,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

IHE = "https://profiles.ihe.net/ITI/Scheduling/OperationDefinition/appointment-"


async def prepare(harness: Harness, **rules: Any) -> None:
    room = {"resourceType": "Location", "id": "room", "status": "active", "physicalType": {"coding": [{"code": "ro"}]}}
    await harness.seed(
        practitioner("dr-lee"),
        practitioner("dr-kim"),
        patient("anna"),
        patient("ben"),
        room | {"address": {"city": "Köln"}},
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("kim", "Practitioner/dr-kim", "HealthcareService/care"),
        schedule("room", "Location/room"),
        *(harness.slot(str(n), 2 * DAY + n * HOUR) for n in range(5)),
        harness.slot("k", 2 * DAY, schedule="kim"),
        harness.slot("r", 2 * DAY, schedule="room"),
    )


def parameters(**values: Any) -> dict[str, Any]:
    made = []
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            made.append({"name": name.replace("_", "-").removeprefix("-"), **each})
    return {"resourceType": "Parameters", "parameter": made}


def ref(text: str) -> dict[str, Any]:
    return {"valueReference": {"reference": text}}


async def find(harness: Harness, caller: str = "anonymous", count: int | None = None, **more: Any) -> httpx.Response:
    start, end = {"valueDateTime": harness.at(0)}, {"valueDateTime": harness.at(9 * DAY)}
    body = parameters(start=start, end=end, **more)
    if count is not None:
        body["parameter"].append({"name": "_count", "valueInteger": count})
    return await harness.send("POST", "Appointment/$find", caller, json_=body)


def offers(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", ()) if e["search"]["mode"] == "match"]


def only_outcome(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["entry"]
    assert answer.json()["total"] == 0
    assert entry["search"]["mode"] == "outcome"
    issue: dict[str, Any] = entry["resource"]["issue"][0]
    assert issue["severity"] == "fatal"
    return issue


async def hold(harness: Harness, id_: str, caller: str = "sam") -> httpx.Response:
    body = parameters(appointment_reference=ref(f"Appointment/{id_}"))
    return await harness.send("POST", "Appointment/$hold", caller, json_=body)


async def book(harness: Harness, caller: str, **values: Any) -> httpx.Response:
    return await harness.send("POST", "Appointment/$book", caller, json_=parameters(**values))


async def first_offer(harness: Harness, practitioner_id: str = "dr-lee") -> str:
    return str(offers(await find(harness, practitioner=ref(f"Practitioner/{practitioner_id}")))[0]["id"])


@pytest.mark.requirement("R-4.1")
async def test_find_offers_free_times_and_stores_nothing(harness: Harness) -> None:
    await prepare(harness)
    before = await harness.versions()
    answer = await find(harness)
    found = offers(answer)
    assert answer.json()["type"] == "searchset"
    assert answer.json()["total"] == len(found) == 7
    assert all(len(each["id"]) <= 64 and each["status"] == "proposed" for each in found)
    assert [each["start"] for each in found] == sorted(each["start"] for each in found)
    assert all(each["requestedPeriod"] == [{"start": each["start"], "end": each["end"]}] for each in found)
    assert await harness.versions() == before


async def test_find_pages_each_time_once(harness: Harness) -> None:
    await prepare(harness)
    whole = [each["id"] for each in offers(await find(harness))]
    seen, answer = [], await find(harness, count=2)
    while True:
        assert answer.json()["total"] == 7
        seen += [each["slot"][0]["reference"] for each in offers(answer)]
        following = link(answer, "next")
        if following is None:
            break
        answer = await harness.http.get(following.replace(ORIGIN, ""))
    assert len(seen) == len(set(seen)) == len(whole)


async def test_find_narrows_by_practitioner_and_takes_several(harness: Harness) -> None:
    await prepare(harness)
    assert len(offers(await find(harness, practitioner=ref("Practitioner/dr-kim")))) == 1
    both = [ref("Practitioner/dr-kim"), ref("Practitioner/dr-lee")]
    assert len(offers(await find(harness, practitioner=both))) == 6
    assert (await find(harness, practitioner=ref("Practitioner/nobody"))).json()["total"] == 0


async def test_find_takes_practitioner_and_room_together(harness: Harness) -> None:
    """Different kinds go together: one slot of each schedule at the same time."""
    await prepare(harness)
    for asked in ({"location_reference": ref("Location/room")}, {"location_string": {"valueString": "koln"}}):
        (offer,) = offers(await find(harness, practitioner=ref("Practitioner/dr-lee"), **asked))
        assert {slot["reference"] for slot in offer["slot"]} == {"Slot/0", "Slot/r"}
    booked = await book(
        harness, "sam", appointment_reference=ref(f"Appointment/{offer['id']}"),
        patient_resource={"resource": patient("anna")},
    )  # fmt: skip
    assert offers(booked)[0]["status"] == "booked"
    assert [(await harness.stored(f"Slot/{n}"))["status"] for n in "0r"] == ["busy", "busy"]


@pytest.mark.requirement("R-10.6")
async def test_find_offers_no_time_that_its_provider_has_not(harness: Harness) -> None:
    """Busy through another schedule is busy."""
    await prepare(harness)
    await harness.seed(schedule("two", "Practitioner/dr-lee"), harness.slot("x", 2 * DAY + 5 * MINUTE, schedule="two"))
    made = await harness.create(proposal("x"), "anonymous")
    await harness.patch(f"Appointment/{made.json()['id']}", to_status("booked"))
    starts = [each["start"] for each in offers(await find(harness, practitioner=ref("Practitioner/dr-lee")))]
    assert starts == [harness.at(2 * DAY + n * HOUR) for n in range(1, 5)]


@pytest.mark.parametrize(
    "body",
    [{"end": {"valueDateTime": "2027"}}, {"start": {"valueDateTime": "2027"}}, {"nonsense": {"valueString": "x"}}],
)
async def test_find_refuses_what_it_does_not_understand(harness: Harness, body: dict[str, Any]) -> None:
    answer = await harness.send("POST", "Appointment/$find", json_=parameters(**body))
    assert answer.status_code == 400, answer.text


@pytest.mark.requirement("R-6.2")
async def test_find_tells_the_public_nothing_of_patients(harness: Harness) -> None:
    await prepare(harness)
    for id_ in ("anna", "nobody"):
        assert (await find(harness, patient_reference=ref(f"Patient/{id_}"))).status_code == 403


@pytest.mark.requirement("R-8.2")
async def test_hold_keeps_others_out_until_it_ends(harness: Harness) -> None:
    await prepare(harness)
    id_ = await first_offer(harness)
    (held,) = offers(await hold(harness, id_))
    assert held["status"] == "pending"
    assert (await harness.stored("Slot/0"))["status"] == "busy-tentative"
    assert id_ not in [each["id"] for each in offers(await find(harness))]
    assert only_outcome(await hold(harness, id_, "backend"))["code"] == "not-found"
    assert (await harness.create(proposal("0"), "anonymous")).status_code == 409
    harness.clock.advance(11 * MINUTE)
    assert await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo")) == 1
    ended = await harness.stored(f"Appointment/{held['id']}")
    assert (ended["status"], ended["cancelationReason"]["coding"][0]["code"]) == ("cancelled", "hold-ended")
    assert (await harness.stored("Slot/0"))["status"] == "free"
    only_outcome(await book(harness, "sam", appointment_reference=ref(f"Appointment/{held['id']}")))


@pytest.mark.requirement("R-8.2", "R-10.6")
async def test_only_the_holder_books_what_is_held(harness: Harness) -> None:
    await prepare(harness)
    (held,) = offers(await hold(harness, await first_offer(harness)))
    asked = {
        "appointment_reference": ref(f"Appointment/{held['id']}"),
        "patient_resource": {"resource": patient("anna")},
    }
    only_outcome(await book(harness, "dr-lee", **asked))
    assert (await harness.patch(f"Appointment/{held['id']}", to_status("booked"))).status_code == 409
    (booked,) = offers(await book(harness, "sam", **asked))
    assert (booked["id"], booked["status"]) == (held["id"], "booked")
    assert "Patient/anna" in [p["actor"]["reference"] for p in booked["participant"]]
    assert not [t for t in booked["meta"].get("tag", ()) if t["code"] == "held"]
    assert (await harness.stored("Slot/0"))["status"] == "busy"


@pytest.mark.requirement("R-10.1")
async def test_book_of_who_may_not_confirm_is_a_proposal(harness: Harness) -> None:
    await prepare(harness)
    for caller in ("anonymous", "website"):
        person = {"resource": {"resourceType": "Patient", "name": [{"family": "New"}], "telecom": [{"value": "1"}]}}
        asked = {"appointment_reference": ref(f"Appointment/{await first_offer(harness)}"), "patient_resource": person}
        answer = await book(harness, caller, **asked)
        assert offers(answer)[0]["status"] == "proposed"
        assert answer.json()["entry"][1]["resource"]["issue"][0]["severity"] == "information"
    assert (await harness.stored("Slot/0"))["status"] == "free"


@pytest.mark.requirement("R-10.1", "R-10.2")
async def test_patient_holds_and_proposes_and_the_rule_may_book(harness: Harness) -> None:
    await prepare(harness)
    for n, status in ((0, "proposed"), (1, "booked")):
        found = offers(await find(harness, practitioner=ref("Practitioner/dr-lee")))
        (held,) = offers(await hold(harness, found[n]["id"], "anna"))
        assert (await harness.get(f"Appointment/{held['id']}", "ben")).status_code == 404
        answer = await book(harness, "anna", appointment_reference=ref(f"Appointment/{held['id']}"))
        assert offers(answer)[0]["status"] == status, answer.text
        await harness.seed(service("care", auto_confirm=True, risk="low"))
    assert (await harness.stored("Slot/1"))["status"] == "busy"


@pytest.mark.requirement("R-10.3", "R-10.4")
async def test_book_modifies_and_cancels(harness: Harness) -> None:
    await prepare(harness)
    asked = {
        "appointment_reference": ref(f"Appointment/{await first_offer(harness)}"),
        "patient_resource": {"resource": patient("anna")},
    }
    (booked,) = offers(await book(harness, "dr-lee", **asked))
    moved = booked | {"slot": [{"reference": "Slot/3"}]}
    (changed,) = offers(await book(harness, "dr-lee", appointment_resource={"resource": moved}))
    assert changed["start"] == harness.at(2 * DAY + 3 * HOUR)
    only_outcome(
        await book(harness, "dr-lee", appointment_resource={"resource": changed | {"slot": [{"reference": "Slot/z"}]}})
    )
    cancelled = {"resource": changed | {"status": "cancelled"}}
    assert (await book(harness, "ben", appointment_resource=cancelled)).status_code == 200
    only_outcome(await book(harness, "ben", appointment_resource=cancelled))
    (ended,) = offers(await book(harness, "anna", appointment_resource=cancelled))
    assert ended["status"] == "cancelled"
    assert (await harness.stored("Slot/3"))["status"] == "free"


@pytest.mark.requirement("R-10.7")
async def test_operations_are_audited_with_their_numbers(harness: Harness) -> None:
    await prepare(harness)
    found = offers(await find(harness, "sam", patient_reference=ref("Patient/anna")))
    (held,) = offers(await hold(harness, found[0]["id"]))
    person = {"resource": patient("anna")}
    await book(harness, "sam", appointment_reference=ref(f"Appointment/{held['id']}"), patient_resource=person)
    events = [e for e in await harness.events() if e.transaction]
    told = {(e.transaction, e.action) for e in events if not e.entity or "Appointment" in e.entity}
    assert told == {("ITI-115", "C"), ("ITI-116", "C"), ("ITI-117", "U")}
    assert [e.patients for e in events if e.transaction == "ITI-115"] == [("anna",)]
    log = await harness.get("AuditEvent?subtype=ITI-117&_count=1", "auditor")
    codes = [each["code"] for each in log.json()["entry"][0]["resource"]["subtype"]]
    assert "ITI-117" in codes


async def test_candidate_of_another_clinic_or_time_is_none(harness: Harness) -> None:
    await prepare(harness)
    id_ = await first_offer(harness)
    for wrong in (id_[:-1] + ("a" if id_[-1] != "a" else "b"), "f-zzz", "f-"):
        only_outcome(await hold(harness, wrong))
    harness.clock.advance(2 * HOUR)
    only_outcome(await hold(harness, id_))


async def test_capability_statement_lists_the_operations(harness: Harness) -> None:
    statement = (await harness.get("metadata")).json()
    made = next(each for each in statement["rest"][0]["resource"] if each["type"] == "Appointment")
    operations = {each["name"]: each["definition"] for each in made["operation"]}
    assert {name: operations[name] for name in ("find", "hold", "book")} == {
        name: IHE + name for name in ("find", "hold", "book")
    }
    assert "create" in [each["code"] for each in made["interaction"]]


@pytest.mark.requirement("R-4.5", "R-7.20")
async def test_patient_accepts_another_time(harness: Harness) -> None:
    id_ = await _offered(harness)
    assert (await harness.stored("Slot/3"))["status"] == "busy-tentative"
    assert (await _respond(harness, id_, "ben", "accepted")).status_code in (403, 422)
    accepted = await _respond(harness, id_, "anna", "accepted")
    assert accepted.status_code == 201, accepted.text
    booked = await harness.stored(f"Appointment/{id_}")
    assert (booked["status"], booked["start"]) == ("booked", harness.at(2 * DAY + 3 * HOUR))
    assert [(await harness.stored(f"Slot/{n}"))["status"] for n in "03"] == ["free", "busy"]
    assert any("offered by Practitioner/dr-lee accepted" in e.rule for e in await harness.events())


@pytest.mark.requirement("R-4.5", "R-7.20")
async def test_patient_declines_another_time(harness: Harness) -> None:
    id_ = await _offered(harness)
    assert (await _respond(harness, id_, "anna", "declined")).status_code == 201
    left = await harness.stored(f"Appointment/{id_}")
    assert (left["status"], left["slot"][0]["reference"]) == ("proposed", "Slot/0")
    assert (await harness.stored("Slot/3"))["status"] == "free"
    assert (await _respond(harness, id_, "anna", "accepted")).status_code == 422


@pytest.mark.requirement("R-4.5", "R-8.2")
async def test_another_time_that_nobody_takes_ends(harness: Harness) -> None:
    """The proposal is one again, and no review list loses it; its own end is as it was."""
    id_ = await _offered(harness)
    harness.clock.advance(2 * DAY + 3 * HOUR)
    clinic = await harness.parts.clinics.get("demo")
    assert await sweeper.sweep(harness.parts.store, clinic) == 1
    left = await harness.stored(f"Appointment/{id_}")
    assert (left["status"], left["slot"][0]["reference"]) == ("proposed", "Slot/0")
    assert "offered" not in [tag["code"] for tag in left["meta"].get("tag", ())]
    assert (await harness.stored("Slot/3"))["status"] == "free"
    assert "R-4.5 another time not answered in time" in [event.rule for event in await harness.events()]
    assert await sweeper.sweep(harness.parts.store, clinic) == 1
    assert (await harness.stored(f"Appointment/{id_}"))["status"] == "cancelled"


@pytest.mark.requirement("R-4.5", "R-8.2")
async def test_an_offer_stands_when_one_before_it_ends(harness: Harness) -> None:
    """The first was over, and not swept, when the second was made."""
    id_ = await _offered(harness)
    harness.clock.advance(2 * DAY + 3 * HOUR)
    await harness.seed(harness.slot("later", DAY))
    times = {"start": harness.at(DAY), "end": harness.at(DAY + 30 * MINUTE)}
    again = await _respond(harness, id_, "dr-lee", "tentative", **times)
    assert again.status_code == 201, again.text
    assert await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo")) == 1
    assert (await harness.stored("Slot/3"))["status"] == "free"
    assert (await harness.stored("Slot/later"))["status"] == "busy-tentative"
    accepted = await _respond(harness, id_, "anna", "accepted")
    assert accepted.status_code == 201, accepted.text
    assert (await harness.stored(f"Appointment/{id_}"))["status"] == "booked"


async def _offered(harness: Harness) -> str:
    await prepare(harness)
    wanted = {"resourceType": "Appointment", "status": "proposed", "slot": [{"reference": "Slot/0"}]}
    person = {"actor": {"reference": "Patient/anna"}, "status": "accepted"}
    made = await harness.create(wanted | {"participant": [person]}, "anna")
    assert made.status_code == 201, made.text
    id_ = str(made.json()["id"])
    start, end = 2 * DAY + 3 * HOUR, 2 * DAY + 3 * HOUR + 30 * MINUTE
    times = {"start": harness.at(start), "end": harness.at(end)}
    offered = await _respond(harness, id_, "dr-lee", "tentative", **times)
    assert offered.status_code == 201, offered.text
    return id_


async def _respond(harness: Harness, id_: str, caller: str, status: str, **more: str) -> httpx.Response:
    actor = "Practitioner/dr-lee" if caller == "dr-lee" else f"Patient/{caller}"
    answer = {"resourceType": "AppointmentResponse", "appointment": {"reference": f"Appointment/{id_}"}}
    answer |= {"participantStatus": status, "actor": {"reference": actor}, **more}
    return await harness.create(answer, caller)


async def _pairs_of_rooms(harness: Harness) -> list[dict[str, Any]]:
    """Three times at which both dr-lee and the room are free."""
    await prepare(harness)
    await harness.seed(*(harness.slot(f"r{n}", 2 * DAY + n * HOUR, schedule="room") for n in (1, 2)))
    asked = {"practitioner": ref("Practitioner/dr-lee"), "location_reference": ref("Location/room")}
    first = await find(harness, count=2, **asked)
    assert first.json()["total"] == 3
    following = link(first, "next")
    assert following is not None
    second = await harness.http.get(following.replace(ORIGIN, ""))
    assert second.json()["total"] == 3
    assert link(second, "next") is None
    return offers(first) + offers(second)


async def test_find_pages_offers_of_several_schedules(harness: Harness) -> None:
    found = await _pairs_of_rooms(harness)
    slots = [sorted(slot["reference"] for slot in each["slot"]) for each in found]
    assert slots == [["Slot/0", "Slot/r"], ["Slot/1", "Slot/r1"], ["Slot/2", "Slot/r2"]]
    assert all(len(each["id"]) <= 64 for each in found)


@pytest.mark.requirement("R-8.2", "R-10.6")
async def test_reschedule_to_an_offer_takes_all_or_keeps_the_old(harness: Harness) -> None:
    first, second, third = await _pairs_of_rooms(harness)
    person = {"resource": patient("anna")}
    (booked,) = offers(
        await book(harness, "sam", appointment_reference=ref(f"Appointment/{first['id']}"), patient_resource=person)
    )
    assert booked["requestedPeriod"] == first["requestedPeriod"]
    resource = {"resource": booked}
    (moved,) = offers(
        await book(
            harness, "sam", appointment_resource=resource, appointment_reference=ref(f"Appointment/{second['id']}")
        )
    )
    assert (moved["id"], moved["start"]) == (booked["id"], second["start"])
    taken = {slot: (await harness.stored(f"Slot/{slot}"))["status"] for slot in ("0", "r", "1", "r1")}
    assert taken == {"0": "free", "r": "free", "1": "busy", "r1": "busy"}
    await harness.patch("Slot/r2", to_status("busy-unavailable"))
    only_outcome(
        await book(
            harness, "sam", appointment_resource=resource, appointment_reference=ref(f"Appointment/{third['id']}")
        )
    )
    assert (await harness.stored(f"Appointment/{booked['id']}"))["start"] == second["start"]
    assert [(await harness.stored(f"Slot/{slot}"))["status"] for slot in ("1", "r1", "2")] == ["busy", "busy", "free"]


async def test_find_of_several_schedules_merges_them_in_order_of_time(harness: Harness) -> None:
    """A few of many schedules are walked side by side; no time is lost or told twice between pages."""
    people = [f"d{n}" for n in range(12)]
    await harness.seed(
        *map(practitioner, people),
        *(schedule(f"s{n}", f"Practitioner/{who}") for n, who in enumerate(people)),
        *(
            harness.slot(f"{n}-{k}", 2 * DAY + (k * 60 + n) * MINUTE, schedule=f"s{n}")
            for n in range(12)
            for k in range(9)
        ),
    )
    asked = {"practitioner": [ref("Practitioner/d3"), ref("Practitioner/d5")]}
    whole = offers(await find(harness, **asked))
    assert len(whole) == 18
    assert [each["start"] for each in whole] == sorted(each["start"] for each in whole)
    seen, answer = [], await find(harness, count=4, **asked)
    while (following := link(answer, "next")) is not None:
        assert answer.json()["total"] == 18
        seen += offers(answer)
        answer = await harness.http.get(following.replace(ORIGIN, ""))
    seen += offers(answer)
    assert [each["slot"] for each in seen] == [each["slot"] for each in whole]
