"""Slots of a schedule, made from the hours of its providers (R-5.1, R-7.15). Making them again changes nothing.

A slot that is there stays as it is, whatever its status; a time that overlaps one is left out.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, timedelta
from itertools import accumulate
from typing import Any

from fhir_server.booking.availability import Hours, Piece, pieces
from fhir_server.booking.clinic_rules import of_service
from fhir_server.booking.slots import MOST_AT_ONCE
from fhir_server.booking.times import LONGEST_DAYS
from fhir_server.fhir import json
from fhir_server.fhir.errors import Unprocessable
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Query, Target, Test, all_of
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

RULE = "R-7.15 slots from opening hours"
MOST_DAYS = 366
_MOST_SLOTS = 100_000
_STANDARD_MINUTES = 30


class _Taken:
    """The times of slots that are there, to ask for what overlaps one of them."""

    def __init__(self, times: Iterable[tuple[int, int]]) -> None:
        in_order = sorted(times)
        self._starts = [lo for lo, _ in in_order]
        self._ended = list(accumulate((hi for _, hi in in_order), max))

    def overlaps(self, lo: int, hi: int) -> bool:
        """Whether one of the times overlaps this one."""
        before = bisect_left(self._starts, hi)
        return before > 0 and self._ended[before - 1] > lo


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it."""

    made: int
    there: int
    left_out: int


async def generate(repository: Repository, schedule_id: str, first: date, last: date) -> Made:
    """Make the free slots of the days from `first` to `last`. Raises Unprocessable."""
    if first > last or (last - first).days > MOST_DAYS:
        raise Unprocessable(f"The days run from the first to the last, {MOST_DAYS} at most.", expression="end")
    if first.year == MINYEAR or last.year == MAXYEAR:
        raise Unprocessable("The days are near the end of the calendar; name days of today's.", expression="start")
    schedule = await _resource(repository, LocalReference("Schedule", schedule_id))
    if schedule is None:
        raise Unprocessable("There is no such schedule.", expression="schedule")
    hours, minutes = await _hours(repository, schedule)
    zone = repository.clinic.zone
    there = await _times_of(repository, schedule_id, first, last)
    taken = _Taken(there)
    known = left_out = 0
    to_make = []
    for piece in pieces(hours, first, last, minutes, zone):
        if piece.micros in there:
            known += 1
        elif taken.overlaps(*piece.micros):
            left_out += 1
        else:
            to_make.append(piece)
    if len(to_make) > MOST_AT_ONCE:
        raise Unprocessable(
            f"These days have {len(to_make)} new slots, {MOST_AT_ONCE} at most; name fewer days.", expression="end"
        )
    for piece in to_make:
        await _make(repository, schedule, piece)
    return Made(len(to_make), known, left_out)


async def _make(repository: Repository, schedule: Resource, piece: Piece) -> Stored:
    zone = repository.clinic.zone
    start, end = (moment.astimezone(zone).isoformat() for moment in (piece.start, piece.end))
    slot: Resource = {"resourceType": "Slot", "id": _id(schedule["id"], piece)}
    for name in ("serviceCategory", "serviceType", "specialty"):
        if name in schedule:
            slot[name] = schedule[name]
    slot |= {"schedule": {"reference": f"Schedule/{schedule['id']}"}, "status": "free", "start": start, "end": end}
    gone = await repository.unit.read("Slot", slot["id"])  # one that was deleted comes back under its id
    if gone is not None:
        return await repository.put(gone, slot, rule=RULE)
    return await repository.create(slot, id_=slot["id"])


def _id(schedule_id: str, piece: Piece) -> str:
    """The same time of the same schedule always has the same id, so that two runs at once cannot make it twice."""
    text = f"{schedule_id} {piece.start.isoformat()} {piece.end.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def _hours(repository: Repository, schedule: Resource) -> tuple[Hours, int]:
    """The hours of the schedule's providers, without the absences of anybody on it; and how long a slot is."""
    available: list[Resource] = []
    absent: list[Resource] = []
    minutes = []
    for actor in schedule.get("actor", ()):
        target = local_reference(actor.get("reference", ""), repository.clinic.base_url)
        for resource in await _with_hours(repository, target):
            if resource["resourceType"] == "PractitionerRole":
                available += resource.get("availableTime", ())
            absent += resource.get("notAvailable", ())
            if resource["resourceType"] == "HealthcareService":
                minutes.append(of_service(resource).duration_minutes)
    if not available:
        raise Unprocessable(
            "Nobody on this schedule says when they are there: give a PractitionerRole its availableTime.",
            expression="schedule",
        )
    return Hours(available, absent), max(minutes, default=0) or _STANDARD_MINUTES


async def _with_hours(repository: Repository, target: LocalReference | None) -> list[Resource]:
    """The resources that say when an actor is there; a practitioner's roles speak for them."""
    if target is None:
        return []
    if target.type == "Practitioner":
        test = Test("practitioner", "reference", Target(target.id, "Practitioner"))
        page = await repository.unit.search(Query("PractitionerRole", test, count=100))
        return [json.parse(stored.body) for stored in page.matches if stored.body is not None]
    resource = await _resource(repository, target)
    return [resource] if resource is not None else []


async def _times_of(repository: Repository, schedule_id: str, first: date, last: date) -> set[tuple[int, int]]:
    """The times of all slots that the schedule has in these days or that may reach into them, of any status."""
    zone = repository.clinic.zone
    await repository.unit.guard(f"Schedule/{schedule_id}")  # no two fill one schedule at once
    # A piece of the last day may end on the next one.
    from_, until = first - timedelta(days=LONGEST_DAYS), last + timedelta(days=1)
    window = Box(lo_from=interval(from_.isoformat(), zone)[0], lo_below=interval(until.isoformat(), zone)[1])
    on = Test("schedule", "reference", Target(schedule_id, "Schedule"))
    query = Query("Slot", all_of(on, Test("start", "date", Interval(window))), count=_MOST_SLOTS)
    found = set()
    for stored in (await repository.unit.search(query)).matches:
        assert stored.body is not None
        slot = json.parse(stored.body)
        if slot["status"] != "entered-in-error":
            found.add((interval(slot["start"], zone)[0], interval(slot["end"], zone)[0]))
    return found


async def _resource(repository: Repository, target: LocalReference) -> Resource | None:
    stored = await repository.unit.read(target.type, target.id)
    return json.parse(stored.body) if stored is not None and stored.body is not None else None
