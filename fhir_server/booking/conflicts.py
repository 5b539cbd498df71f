"""Conflicts: what stands in the way of an appointment. They are told, never resolved (R-10.5), and never let through
(R-10.6).
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from fhir_server.booking import day_limit, holds, near
from fhir_server.booking.guards import guard_days, guard_slots
from fhir_server.booking.index import ACTOR, BLOCKED, SLOT, TIME, occupied_beside
from fhir_server.booking.near import About, about_slots
from fhir_server.booking.states import OCCUPYING
from fhir_server.booking.wanted import Wanted, WantedSlot
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Conflict
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Node, Not, Query, Target, Test, all_of, any_of
from fhir_server.store.protocol import Stored

# Of a place, only a room or a bed is taken by one appointment at a time (Location.physicalType).
_EXCLUSIVE_PLACES = frozenset({"ro", "bd"})
_EXCLUSIVE = frozenset({"Practitioner", "PractitionerRole", "Patient", "Device"})
_MOST_NAMED = 10
_MINUTE = 60_000_000


@dataclass(frozen=True, slots=True)
class Occupation:
    """An appointment about to occupy its slots and actors; `id` is its own, '' when it is new."""

    id: str
    appointment: dict[str, Any]
    wanted: Wanted
    start: Micros
    end: Micros


async def check(repository: Repository, occupation: Occupation) -> None:
    """Raises Conflict that names every slot and appointment in the way."""
    await guard_slots(repository, (slot.stored.id for slot in occupation.wanted.slots))
    issues = [issue async for issue in _slots_in_the_way(repository, occupation)]
    issues += [issue async for issue in _actors_in_the_way(repository, occupation)]
    issues += await day_limit.issues(repository, occupation.id, occupation.wanted)
    if issues:
        raise Conflict(issues=issues[:_MOST_NAMED])


async def check_others(repository: Repository, occupation: Occupation, but: frozenset[str]) -> None:
    """Raises Conflict where somebody has no time, those left out who have the time by the appointment already."""
    issues = [issue async for issue in _actors_in_the_way(repository, occupation, but)]
    if issues:
        raise Conflict(issues=issues[:_MOST_NAMED])


async def look_near(repository: Repository, appointment: dict[str, Any], wanted: Wanted) -> None:
    """Read at once whom `check` and `contested` will ask about, for an appointment that is about to be stored."""
    is_booking = appointment["status"] in OCCUPYING or wanted.rules.confirms_itself
    span = _span(repository, appointment, wanted)
    if span is None or not (wanted.slots or is_booking):
        return
    people = set()
    for reference in actors(appointment, wanted) if is_booking else wanted.actors:
        target = local_reference(reference, repository.clinic.base_url)
        if target is not None and await is_exclusive(repository, target):
            people.add(target)
    before, after = _buffers(wanted) if is_booking else (0, 0)
    slots = frozenset(slot.stored.id for slot in wanted.slots)
    await near.look(repository, About(slots, frozenset(people), span[0] - before, span[1] + after))


def _span(repository: Repository, appointment: dict[str, Any], wanted: Wanted) -> tuple[Micros, Micros] | None:
    """The time of its slots, else its own; None when it has none."""
    if wanted.slots:
        return min(slot.start for slot in wanted.slots), max(slot.end for slot in wanted.slots)
    if "start" not in appointment or "end" not in appointment:
        return None
    zone = repository.clinic.zone
    return interval(appointment["start"], zone)[0], interval(appointment["end"], zone)[0]


async def takers(repository: Repository, slot_id: str, *, but: str = "", most: int = 1_000) -> list[Stored]:
    """The appointments that take a slot, except one; about `most` of them."""
    test = Test(SLOT, "reference", Target(slot_id, "Slot"))
    page = await near.search(repository, Query("Appointment", test, count=most + 1), about_slots((slot_id,)))
    return [stored for stored in page.matches if stored.id != but]


async def _slots_in_the_way(repository: Repository, occupation: Occupation) -> AsyncIterator[Issue]:
    for slot in occupation.wanted.slots:
        taken = await takers(repository, slot.stored.id, most=slot.rules.capacity + _MOST_NAMED)
        others = [stored for stored in taken if stored.id != occupation.id]
        keeps_it = len(others) < len(taken)  # it took the slot before, whatever has become of the slot's status
        if len(others) >= slot.rules.capacity:
            yield _taken(slot, others)
        elif repository.is_import and slot.resource["status"] == "busy":
            continue  # busy because of the appointment that comes along with it
        elif not keeps_it and not await holds.is_free(repository, slot, len(others), appointment_id=occupation.id):
            yield Issue(
                "conflict",
                f"Slot/{slot.stored.id} is {slot.resource['status']}, not free; choose another.",
                slot.at,
            )


def _taken(slot: WantedSlot, taken: list[Stored]) -> Issue:
    by = ", ".join(f"Appointment/{stored.id}" for stored in taken[:_MOST_NAMED])
    text = f"Slot/{slot.stored.id} is taken ({len(taken)} of {slot.rules.capacity}) by {by}; choose another."
    return Issue("conflict", text, slot.at)


async def _actors_in_the_way(
    repository: Repository, occupation: Occupation, but: frozenset[str] = frozenset()
) -> AsyncIterator[Issue]:
    for n, actor in enumerate(actors(occupation.appointment, occupation.wanted)):
        target = local_reference(actor, repository.clinic.base_url)
        if target is None or actor in but or not await is_exclusive(repository, target):
            continue
        await guard_days(repository, (target,), *_kept_free(occupation))
        query = Query("Appointment", _elsewhere(occupation, target), count=_MOST_NAMED + 1)
        about = About(frozenset(), frozenset({target}), *_kept_free(occupation))
        page = await near.search(repository, query, about)
        for stored in page.matches:
            if stored.id != occupation.id:
                text = f"{target} is already booked at that time: Appointment/{stored.id}."
                yield Issue("conflict", text, f"Appointment.participant[{n}].actor")


def _elsewhere(occupation: Occupation, actor: LocalReference) -> Node:
    """What has an actor's time elsewhere than in the slots by which the appointment has it.

    Those who share a slot within its capacity share the actors whom it brings, in its time; a patient is never there
    twice.
    """
    where = _overlapping(occupation, actor)
    slots = [slot for slot in occupation.wanted.slots if str(actor) in slot.actors]
    if actor.type == "Patient" or not slots:
        return where
    takes = [Test(SLOT, "reference", Target(slot.stored.id, "Slot")) for slot in slots]
    where = all_of(where, Not(any_of(*takes)))
    if len(slots) == 1:
        return where
    # Who shares one of several is not there for the others.
    who = Test(ACTOR, "reference", Target(actor.id, actor.type))
    spans = [Test(TIME, "date", Interval(Box(lo_below=slot.end, hi_above=slot.start))) for slot in slots]
    return any_of(where, *(all_of(who, span, Not(takes_it)) for span, takes_it in zip(spans, takes, strict=True)))


def _overlapping(occupation: Occupation, actor: LocalReference) -> Node:
    """What occupies an actor in the same time, each side's buffers kept free; a patient needs no buffer."""
    start, end = occupation.start, occupation.end
    who = Test(ACTOR, "reference", Target(actor.id, actor.type))
    if actor.type == "Patient":
        return all_of(who, Test(TIME, "date", Interval(Box(lo_below=end, hi_above=start))))
    free_from, free_to = _kept_free(occupation)
    bare = Test(TIME, "date", Interval(Box(lo_below=free_to, hi_above=free_from)))
    return all_of(who, any_of(bare, Test(BLOCKED, "date", Interval(Box(lo_below=end, hi_above=start)))))


def _kept_free(occupation: Occupation) -> tuple[Micros, Micros]:
    """The time with its buffers."""
    before, after = _buffers(occupation.wanted)
    return occupation.start - before, occupation.end + after


def _buffers(wanted: Wanted) -> tuple[Micros, Micros]:
    return wanted.rules.buffer_before_minutes * _MINUTE, wanted.rules.buffer_after_minutes * _MINUTE


def actors(appointment: dict[str, Any], wanted: Wanted) -> Iterable[str]:
    """The references of those who take part, the slots' own actors among them."""
    participants = appointment.get("participant", ())
    given = [p.get("actor", {}).get("reference", "") for p in participants if p.get("status") != "declined"]
    return dict.fromkeys((*given, *occupied_beside(appointment), *wanted.actors))


async def is_exclusive(repository: Repository, actor: LocalReference) -> bool:
    """Whether an actor can take part in one appointment at a time only."""
    if actor.type in _EXCLUSIVE:
        return True
    if actor.type != "Location":
        return False
    stored = await repository.unit.read("Location", actor.id)
    if stored is None or stored.body is None:
        return False
    physical = orjson.loads(stored.body).get("physicalType", {})
    return any(coding.get("code") in _EXCLUSIVE_PLACES for coding in physical.get("coding", ()))
