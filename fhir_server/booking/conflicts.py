"""Conflicts: what stands in the way of an appointment. They are told, never resolved (R-10.5), and never let through
(R-10.6).
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from fhir_server.booking import holds
from fhir_server.booking.index import ACTOR, SLOT, TIME
from fhir_server.booking.wanted import Wanted, WantedSlot
from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Conflict
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Not, Query, Target, Test, all_of, any_of
from fhir_server.store.protocol import Stored

# Of a place, only a room or a bed is taken by one appointment at a time (Location.physicalType).
_EXCLUSIVE_PLACES = frozenset({"ro", "bd"})
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Occupation:
    """An appointment about to occupy its slots and actors; `id` is its own, '' when it is new."""

    id: str
    appointment: dict[str, Any]
    wanted: Wanted
    start: Micros
    end: Micros


async def guard_slot(repository: Repository, slot_id: str) -> None:
    """Have whoever decides on a slot, by who takes or wants it, do so one after another."""
    await repository.unit.guard(f"Slot/{slot_id}")


async def check(repository: Repository, occupation: Occupation) -> None:
    """Raises Conflict that names every slot and appointment in the way."""
    for slot in occupation.wanted.slots:
        await guard_slot(repository, slot.stored.id)
    issues = [issue async for issue in _slots_in_the_way(repository, occupation)]
    issues += [issue async for issue in _actors_in_the_way(repository, occupation)]
    if issues:
        raise Conflict(issues=issues[:_MOST_NAMED])


async def takers(repository: Repository, slot_id: str) -> list[Stored]:
    """The appointments that take a slot."""
    test = Test(SLOT, "reference", Target(slot_id, "Slot"))
    page = await repository.unit.search(Query("Appointment", test, count=1_000))
    return list(page.matches)


async def _slots_in_the_way(repository: Repository, occupation: Occupation) -> AsyncIterator[Issue]:
    for slot in occupation.wanted.slots:
        taken = await takers(repository, slot.stored.id)
        others = [stored for stored in taken if stored.id != occupation.id]
        keeps_it = len(others) < len(taken)  # it took the slot before, whatever has become of the slot's status
        if len(others) >= slot.rules.capacity:
            yield _taken(slot, others)
        elif repository.is_import and slot.resource["status"] == "busy":
            continue  # busy because of the appointment that comes along with it
        elif not keeps_it and not await holds.is_free(repository, slot, appointment_id=occupation.id):
            yield Issue(
                "conflict",
                f"Slot/{slot.stored.id} is {slot.resource['status']}, not free; choose another.",
                slot.at,
            )


def _taken(slot: WantedSlot, taken: list[Stored]) -> Issue:
    by = ", ".join(f"Appointment/{stored.id}" for stored in taken[:_MOST_NAMED])
    text = f"Slot/{slot.stored.id} is taken ({len(taken)} of {slot.rules.capacity}) by {by}; choose another."
    return Issue("conflict", text, slot.at)


async def _actors_in_the_way(repository: Repository, occupation: Occupation) -> AsyncIterator[Issue]:
    own_slots = [Test(SLOT, "reference", Target(slot.stored.id, "Slot")) for slot in occupation.wanted.slots]
    for n, actor in enumerate(_actors(occupation)):
        target = local_reference(actor, repository.clinic.base_url)
        if target is None or not await _is_exclusive(repository, target.type, target.id):
            continue
        overlapping = all_of(
            Test(ACTOR, "reference", Target(target.id, target.type)),
            Test(TIME, "date", Interval(Box(lo_below=occupation.end, hi_above=occupation.start))),
        )
        days = _local_days(occupation, repository.clinic.zone)
        await repository.unit.guard(*(f"{target.type}/{target.id}/{day}" for day in days))
        # Those who share a slot within its capacity share its actors too, but a patient is never there twice.
        if target.type != "Patient" and own_slots:
            overlapping = all_of(overlapping, Not(any_of(*own_slots)))
        page = await repository.unit.search(Query("Appointment", overlapping, count=_MOST_NAMED + 1))
        for stored in page.matches:
            if stored.id != occupation.id:
                text = f"{target} is already booked at that time: Appointment/{stored.id}."
                yield Issue("conflict", text, f"Appointment.participant[{n}].actor")


def _local_days(occupation: Occupation, zone: tzinfo) -> Iterable[date]:
    """The clinic's days that the appointment touches: two that overlap have one in common."""
    first = datetime.fromtimestamp(occupation.start / 1_000_000, zone).date()
    last = datetime.fromtimestamp((occupation.end - 1) / 1_000_000, zone).date()
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _actors(occupation: Occupation) -> Iterable[str]:
    participants = occupation.appointment.get("participant", ())
    given = [p.get("actor", {}).get("reference", "") for p in participants if p.get("status") != "declined"]
    return dict.fromkeys((*given, *occupation.wanted.actors))


async def _is_exclusive(repository: Repository, type_: str, id_: str) -> bool:
    if type_ in ("Practitioner", "PractitionerRole", "Patient", "Device"):
        return True
    if type_ != "Location":
        return False
    stored = await repository.unit.read("Location", id_)
    if stored is None or stored.body is None:
        return False
    physical = json.parse(stored.body).get("physicalType", {})
    return any(coding.get("code") in _EXCLUSIVE_PLACES for coding in physical.get("coding", ()))
