"""The limit of appointments per provider and day, where a clinic's rule sets one (docs/booking.md)."""

from datetime import tzinfo

from fhir_server.booking.index import ACTOR, TIME
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval, shown
from fhir_server.search.plan import Box, Interval, Query, Target, Test, all_of

_PROVIDERS = ("Practitioner", "PractitionerRole")


async def issues(repository: Repository, appointment_id: str, wanted: Wanted, start: Micros) -> list[Issue]:
    """One for each provider whose day is full."""
    limit = wanted.rules.daily_limit
    if not limit:
        return []
    lo, hi = local_day(start, repository.clinic.zone)
    found = []
    for reference in wanted.actors:
        actor = local_reference(reference, repository.clinic.base_url)
        if actor is None or actor.type not in _PROVIDERS:
            continue
        that_day = Test(TIME, "date", Interval(Box(lo_from=lo, lo_below=hi)))
        query = Query(
            "Appointment", all_of(Test(ACTOR, "reference", Target(actor.id, actor.type)), that_day), count=limit + 1
        )
        others = [stored for stored in (await repository.unit.search(query)).matches if stored.id != appointment_id]
        if len(others) >= limit:
            text = f"{actor} has {limit} appointments on that day, the most that the clinic allows; choose another day."
            found.append(Issue("conflict", text, "Appointment.start"))
    return found


def local_day(moment: Micros, zone: tzinfo) -> tuple[Micros, Micros]:
    """The day on the zone's calendar in which a moment lies."""
    return interval(shown(moment, zone).date().isoformat(), zone)
