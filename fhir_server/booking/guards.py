"""What a Unit guards before it decides about time, so that on every store two that could conflict run in turn.

A slot stands for all who take, hold or want it; a day of an actor, by the clinic's calendar, for all that overlaps.
"""

from collections.abc import Iterable
from datetime import date, timedelta, tzinfo

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.reference import LocalReference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import shown


async def guard_slots(repository: Repository, slot_ids: Iterable[str]) -> None:
    """For whoever decides by who takes, holds or wants a slot."""
    await repository.unit.guard(*(f"Slot/{slot_id}" for slot_id in slot_ids))


async def guard_days(repository: Repository, actors: Iterable[LocalReference], start: Micros, end: Micros) -> None:
    """For whoever decides by what an actor does from `start` to `end`: two times that overlap have a day in common."""
    days = days_of(start, end, repository.clinic.zone)
    await repository.unit.guard(*(f"{actor.type}/{actor.id}/{day}" for actor in actors for day in days))


def days_of(start: Micros, end: Micros, zone: tzinfo) -> list[date]:
    """The days of which a time takes something, by the zone's calendar."""
    first, last = (shown(moment, zone).date() for moment in (start, max(start, end - 1)))
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
