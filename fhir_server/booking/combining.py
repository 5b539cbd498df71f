"""Offers of several schedules: slots of a practitioner, a room and a device at the same time, say (ITI-115, R-8.2).

Of the schedules that are taken together each brings a kind of actor that none of the others has.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from fhir_server.booking.candidates import MOST_SLOTS
from fhir_server.booking.find_asked import Asked, body_of
from fhir_server.booking.find_schedules import Offering
from fhir_server.booking.index import free_in
from fhir_server.booking.wanted import WantedSlot
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Query, Sort, Test, any_of

# Of one schedule, and of combinations in all.
_MOST_READ, MOST = 2_000, 5_000
# How many combinations of one time are looked at, however many schedules are asked for.
_MOST_TRIED = 20_000

Slots = tuple[WantedSlot, ...]


async def combinations(repository: Repository, asked: Asked, found: Sequence[Offering]) -> list[Slots]:
    """Slots of one time, of schedules that fulfil together what is asked; in order of time, and no more than MOST."""
    kinds = frozenset[str]().union(*(each.lacks for each in found))
    by_time: dict[tuple[Micros, Micros], list[tuple[frozenset[str], WantedSlot]]] = {}
    for offering in found:
        brings = kinds - offering.lacks
        for slot in await _free(repository, asked, offering) if brings else ():
            by_time.setdefault((slot.start, slot.end), []).append((brings, slot))
    made: list[Slots] = []
    for time in sorted(by_time):
        made += sorted(together(kinds, by_time[time]), key=place)
        if len(made) >= MOST:
            break
    return made[:MOST]


def place(slots: Slots) -> tuple[int, ...]:
    """The place of an offer of several slots: its start, then the slots in the order of their creation."""
    return (slots[0].start, *(slot.stored.key for slot in slots))


def together(kinds: frozenset[str], there: Sequence[tuple[frozenset[str], WantedSlot]]) -> Iterator[Slots]:
    """Each set of slots that brings all kinds and has none to spare, once; of many, some."""
    there = sorted(there, key=lambda each: (-len(each[0]), each[1].stored.key))  # who brings most, first
    seen = set()
    for chosen in islice(_chosen(kinds, there, ()), _MOST_TRIED):
        ids = frozenset(there[n][1].stored.id for n in chosen)
        if ids not in seen and all(_is_needed(n, chosen, there) for n in chosen):
            seen.add(ids)
            yield tuple(sorted((there[n][1] for n in chosen), key=lambda slot: slot.stored.key))


def _chosen(
    missing: frozenset[str], there: Sequence[tuple[frozenset[str], WantedSlot]], so_far: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    if not missing:
        yield so_far
    elif len(so_far) < MOST_SLOTS:
        kind = min(missing)
        for n, (brings, _) in enumerate(there):
            if kind in brings:
                yield from _chosen(missing - brings, there, (*so_far, n))


def _is_needed(n: int, chosen: tuple[int, ...], there: Sequence[tuple[frozenset[str], WantedSlot]]) -> bool:
    others = frozenset[str]().union(*(there[m][0] for m in chosen if m != n))
    return not there[n][0] <= others


async def _free(repository: Repository, asked: Asked, offering: Offering) -> list[WantedSlot]:
    """The free slots of a schedule in the time asked for, one of each time."""
    code = free_in(offering.schedule["id"])
    windows = (Test(code, "date", Interval(Box(lo_from=lo, lo_below=hi)), True) for lo, hi in asked.windows)
    page = await repository.unit.search(Query("Slot", any_of(*windows), (Sort(code, "date"),), _MOST_READ))
    found: dict[tuple[Micros, Micros], WantedSlot] = {}
    for stored in page.matches:
        slot = WantedSlot(
            stored, body_of(stored), offering.schedule, offering.rules, "Appointment.slot", people=offering.people
        )
        if slot.end - slot.start >= asked.lasts:
            found.setdefault((slot.start, slot.end), slot)
    return list(found.values())
