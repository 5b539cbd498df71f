"""The limit of appointments per provider and day, where a clinic's rule sets one (docs/booking.md).

An appointment counts on each day that it takes time of, by the clinic's calendar.
"""

from collections.abc import Iterable
from datetime import date

from fhir_server.booking.guards import days_of
from fhir_server.booking.index import ACTOR, TIME
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Query, Target, Test, all_of

_PROVIDERS = ("Practitioner", "PractitionerRole")


async def issues(repository: Repository, appointment_id: str, wanted: Wanted) -> list[Issue]:
    """One for each provider of whom a day of the slots is full."""
    limit = wanted.rules.daily_limit
    if not limit:
        return []
    zone = repository.clinic.zone
    days = sorted({day for slot in wanted.slots for day in days_of(slot.start, slot.end, zone)})
    found = []
    for reference in wanted.actors:
        actor = local_reference(reference, repository.clinic.base_url)
        if actor is None or actor.type not in _PROVIDERS:
            continue
        full = await _first_full(repository, actor, days, limit, appointment_id)
        if full is not None:
            text = f"{actor} has {limit} appointments on {full}, the most that the clinic allows; choose another day."
            found.append(Issue("conflict", text, "Appointment.start"))
    return found


async def _first_full(
    repository: Repository, actor: LocalReference, days: Iterable[date], limit: int, appointment_id: str
) -> date | None:
    for day in days:
        lo, hi = interval(day.isoformat(), repository.clinic.zone)
        that_day = Test(TIME, "date", Interval(Box(lo_below=hi, hi_above=lo)))
        where = all_of(Test(ACTOR, "reference", Target(actor.id, actor.type)), that_day)
        page = await repository.unit.search(Query("Appointment", where, count=limit + 1))
        if sum(stored.id != appointment_id for stored in page.matches) >= limit:
            return day
    return None
