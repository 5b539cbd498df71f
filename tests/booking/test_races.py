"""Holds and offers against each other and against staff: nothing is double-booked, nothing is half done (R-10.6)."""

import asyncio
from typing import Any

import httpx
import pytest

from fhir_server.booking import sweeper
from tests.booking.test_find_hold_book import book, find, hold, offers, only_outcome, prepare, ref
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    cared_for,
    issue,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

pytestmark = pytest.mark.requirement("R-8.2", "R-10.6")
ANNA = {"resource": patient("anna")}


def won(*answers: httpx.Response) -> list[str]:
    """The ids of what was held or booked; the others were told that it is gone."""
    for answer in answers:
        assert answer.status_code == 200, answer.text
    return [offers(answer)[0]["id"] for answer in answers if offers(answer)]


def new(status: str, patient_: str, *slots: str) -> dict[str, Any]:
    made = appointment("", status, patient_, *slots)
    del made["id"]
    return made


async def statuses(harness: Harness, *slots: str) -> list[str]:
    return [(await harness.stored(f"Slot/{slot}"))["status"] for slot in slots]


async def by_slots(harness: Harness, **asked: Any) -> dict[str, str]:
    """The ids of what is offered, by its slots."""
    found = offers(await find(harness, count=100, **asked))
    return {" ".join(sorted(slot["reference"][5:] for slot in each["slot"])): each["id"] for each in found}


async def sweep(harness: Harness) -> None:
    await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))


async def test_thirty_hold_one_slot(harness: Harness) -> None:
    await prepare(harness)
    offer = (await by_slots(harness))["0"]
    callers = ("sam", "anna", "ben", "dr-lee", "dr-kim")
    answers = await asyncio.gather(*(hold(harness, offer, callers[n % 5]) for n in range(30)))
    assert len(won(*answers)) == 1
    held = await harness.get("Appointment?status=pending&_summary=count", "admin")
    assert (held.json()["total"], await statuses(harness, "0")) == (1, ["busy-tentative"])


async def test_what_is_held_is_nobody_elses_to_book_or_give_up(harness: Harness) -> None:
    await prepare(harness)
    (held,) = won(await hold(harness, (await by_slots(harness))["0"], "anna"))
    for caller in ("ben", "sam", "dr-lee"):
        assert only_outcome(await book(harness, caller, appointment_reference=ref(f"Appointment/{held}")))
    assert (await harness.patch(f"Appointment/{held}", to_status("booked"), "dr-lee")).status_code == 409
    assert (await harness.patch(f"Appointment/{held}", to_status("cancelled"), "ben")).status_code == 404
    # Its holder gives it up, whatever the clinic's rule says of proposals.
    answer = await harness.patch(f"Appointment/{held}", to_status("cancelled"), "anna")
    assert answer.status_code == 200, answer.text
    assert await statuses(harness, "0") == ["free"]
    assert only_outcome(await book(harness, "anna", appointment_reference=ref(f"Appointment/{held}")))


async def test_a_hold_that_has_ended_is_over_for_its_holder_and_for_the_next(harness: Harness) -> None:
    """At once, before it was swept; and it ends then too, though the slot has been taken since (R-8.2)."""
    await prepare(harness)
    offer = await by_slots(harness)
    first, other = won(await hold(harness, offer["0"], "sam"), await hold(harness, offer["1"], "sam"))
    harness.clock.advance(11 * MINUTE)
    assert only_outcome(
        await book(harness, "sam", appointment_reference=ref(f"Appointment/{first}"), patient_resource=ANNA)
    )
    (second,) = won(await hold(harness, offer["0"], "anna"))
    assert (await harness.create(new("booked", "ben", "1"), "dr-lee")).status_code == 201
    await sweep(harness)
    found = [(await harness.stored(f"Appointment/{id_}"))["status"] for id_ in (first, second, other)]
    assert found == ["cancelled", "pending", "cancelled"]
    assert await statuses(harness, "0", "1") == ["busy-tentative", "busy"]


async def test_a_hold_and_a_confirmation_of_one_slot(harness: Harness) -> None:
    await prepare(harness)
    offer = await by_slots(harness)
    for slot in "0123":
        made = await harness.create(proposal(slot), "anonymous")
        path = f"Appointment/{made.json()['id']}"
        held, confirmed = await asyncio.gather(
            hold(harness, offer[slot], "anna"), harness.patch(path, to_status("booked"), "dr-lee")
        )
        assert (len(won(held)), confirmed.status_code) in ((1, 409), (0, 200))
        assert await statuses(harness, slot) == ["busy-tentative" if won(held) else "busy"]


async def test_holds_of_one_practitioner_by_two_schedules(harness: Harness) -> None:
    """Both slots are kept from others, and one is booked; who is booked already is not held any more."""
    await prepare(harness)
    await harness.seed(
        schedule("also-lee", "Practitioner/dr-lee"),
        *(harness.slot(f"a{n}", 2 * DAY + n * HOUR + 15 * MINUTE, schedule="also-lee") for n in range(2)),
    )
    offer = await by_slots(harness)
    held = won(*await asyncio.gather(hold(harness, offer["0"], "sam"), hold(harness, offer["a0"], "sam")))
    answers = await asyncio.gather(
        *(
            book(harness, "sam", appointment_reference=ref(f"Appointment/{id_}"), patient_resource={"resource": who})
            for id_, who in zip(held, (patient("anna"), patient("ben")), strict=True)
        )
    )
    assert (len(held), len(won(*answers))) == (2, 1)
    assert sorted(await statuses(harness, "0", "a0")) == ["busy", "busy-tentative"]
    assert (await harness.create(new("booked", "anna", "1"), "sam")).status_code == 201
    refused = only_outcome(await hold(harness, offer["a1"], "ben"))
    assert "Appointment/" not in refused["diagnostics"]
    assert await statuses(harness, "a1") == ["free"]


async def test_groups_are_filled_exactly(harness: Harness) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        practitioner("dr-kim"),
        *(cared_for(name) for name in ("anna", "ben")),
        *(patient(f"p{n}") for n in range(6)),
        service("group", capacity=3),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/group"),
        harness.slot("held"),
        harness.slot("booked", 3 * DAY),
        harness.slot("both", 4 * DAY),
    )
    offer = await by_slots(harness)
    answers = await asyncio.gather(*(hold(harness, offer["held"], ("sam", "dr-kim")[n % 2]) for n in range(8)))
    assert (len(won(*answers)), await statuses(harness, "held")) == (3, ["busy-tentative"])
    created = await asyncio.gather(*(harness.create(new("booked", f"p{n}", "booked"), "sam") for n in range(6)))
    assert sorted(answer.status_code for answer in created) == [201] * 3 + [409] * 3
    assert await statuses(harness, "booked") == ["busy"]
    mixed = await asyncio.gather(
        *(hold(harness, offer["both"], "sam") for _ in range(3)),
        *(harness.create(new("booked", f"p{n}", "both"), "dr-lee") for n in range(3)),
    )
    places = len(won(*mixed[:3])) + sum(answer.status_code == 201 for answer in mixed[3:])
    assert places == 3
    assert (await statuses(harness, "both"))[0] in ("busy", "busy-tentative")
    assert (await harness.create(new("booked", "p5", "both"), "sam")).status_code == 409


async def _four(harness: Harness) -> dict[str, str]:
    """A practitioner, a room, a device and an organization's place of their own, at six times; what combines them."""
    await prepare(harness)
    await harness.seed(
        {"resourceType": "Device", "id": "laser"},
        {"resourceType": "Organization", "id": "ward", "active": True},
        service("ward") | {"providedBy": {"reference": "Organization/ward"}},
        schedule("laser", "Device/laser"),
        schedule("ward", "HealthcareService/ward"),
        *(patient(f"p{n}") for n in range(5)),
        *(
            harness.slot(f"{name}{n}", 3 * DAY + n * HOUR, schedule=schedule_)
            for n in range(4)
            for name, schedule_ in (("l", "lee"), ("r", "room"), ("d", "laser"), ("w", "ward"))
        ),
    )
    return await by_slots(
        harness,
        practitioner=ref("Practitioner/dr-lee"),
        location_reference=ref("Location/room"),
        device=ref("Device/laser"),
        organization=ref("Organization/ward"),
    )


async def test_four_schedules_are_taken_together_or_not_at_all(harness: Harness) -> None:
    """One of them is taken after the search, or at the same moment, or all are wanted by many at once."""
    offer = await _four(harness)
    assert list(offer) == [f"d{n} l{n} r{n} w{n}" for n in range(4)]
    for n, taken in enumerate(("r0", "w1")):
        assert (await harness.create(new("booked", "p0", taken), "dr-kim")).status_code == 201
        slots = [f"d{n}", f"l{n}", f"r{n}", f"w{n}"]
        id_ = offer[" ".join(slots)]
        versions = await harness.versions()
        only_outcome(await hold(harness, id_))
        only_outcome(await book(harness, "sam", appointment_reference=ref(f"Appointment/{id_}"), patient_resource=ANNA))
        assert await harness.versions() == versions
        assert await statuses(harness, *slots) == ["busy" if slot == taken else "free" for slot in slots]
    held, single = await asyncio.gather(
        hold(harness, offer["d2 l2 r2 w2"], "sam"), harness.create(new("booked", "p1", "d2"), "dr-kim")
    )
    found = await statuses(harness, "d2", "l2", "r2", "w2")
    if won(held):
        assert (single.status_code, found) == (409, ["busy-tentative"] * 4)
        assert issue(single)["code"] == "conflict"
    else:
        assert (single.status_code, found) == (201, ["busy", "free", "free", "free"])
    reference = ref(f"Appointment/{offer['d3 l3 r3 w3']}")
    answers = await asyncio.gather(
        *(
            book(harness, "sam", appointment_reference=reference, patient_resource={"resource": patient(f"p{n}")})
            for n in range(5)
        )
    )
    assert len(won(*answers)) == 1
    assert await statuses(harness, "d3", "l3", "r3", "w3") == ["busy"] * 4
