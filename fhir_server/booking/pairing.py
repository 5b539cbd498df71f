"""Offers of several schedules: a practitioner's and a room's slot at the same time, say (IHE ITI-115, R-8.2)."""

from collections.abc import Sequence

from fhir_server.booking.find_asked import Asked, body_of
from fhir_server.booking.find_schedules import Offering
from fhir_server.booking.index import free_in
from fhir_server.booking.wanted import WantedSlot
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Query, Sort, Test

MOST_SLOTS = 2_000

_ByTime = dict[tuple[Micros, Micros], WantedSlot]


async def pairs_of(repository: Repository, asked: Asked, found: Sequence[Offering]) -> list[tuple[WantedSlot, ...]]:
    """Two slots of one time, of schedules that fulfil together what is asked; in order of time."""
    kinds = frozenset[str]().union(*(each.lacks for each in found))
    slots = {each.schedule["id"]: await _free(repository, asked, each) for each in found}
    made = []
    for n, first in enumerate(found):
        for second in found[n + 1 :]:
            # Each brings what the other lacks, and neither comes along for nothing.
            if first.lacks & second.lacks or not first.lacks or not second.lacks or not kinds:
                continue
            one, other = slots[first.schedule["id"]], slots[second.schedule["id"]]
            made += [(one[time], other[time]) for time in one.keys() & other.keys()]
    return sorted(made, key=lambda pair: (pair[0].start, pair[0].stored.key, pair[1].stored.key))


async def _free(repository: Repository, asked: Asked, offering: Offering) -> _ByTime:
    code = free_in(offering.schedule["id"])
    window = Test(code, "date", Interval(Box(lo_from=asked.start, lo_below=asked.end)), True)
    page = await repository.unit.search(Query("Slot", window, (Sort(code, "date"),), MOST_SLOTS))
    found: _ByTime = {}
    for n, stored in enumerate(page.matches):
        slot = WantedSlot(
            stored, body_of(stored), offering.schedule, offering.rules, f"Appointment.slot[{n}]", people=offering.people
        )
        found.setdefault((slot.start, slot.end), slot)
    return found
