"""Appointment/$find: times that could be booked, computed from free slots and the clinics' rules (IHE ITI-115).

Nothing is stored: an offered Appointment is `proposed` and its id says what it is (`booking.candidates`). What is
under a hold is not offered, for its slot is not free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.booking.candidates import id_of
from fhir_server.booking.conflicts import Occupation, check
from fhir_server.booking.find_asked import Asked, asked_of
from fhir_server.booking.find_schedules import Offering, offerings
from fhir_server.booking.find_walk import Found, Walk
from fhir_server.booking.pairing import pairs_of
from fhir_server.booking.wanted import Wanted, WantedSlot, of_slots
from fhir_server.fhir import json
from fhir_server.fhir.errors import Conflict
from fhir_server.interactions import bundle, paging
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Position

PATH = "Appointment/$find"
_MINUTE = 60_000_000
# A page walks so many free slots at most; what is taken through other schedules is passed over.
_MOST_WALKED = 5_000


@dataclass(slots=True)
class _Page:
    """What is offered, how many there are, and where the next page begins."""

    offers: list[Wanted]
    total: int
    next: Position | None = None


async def handle(call: Call, repository: Repository) -> Answer:
    """A searchset of proposed Appointments."""
    repository.granted("Slot", "s")
    asked = await asked_of(call, repository)
    settings = call.clinic.server.settings
    count = min(settings.page_size if asked.count is None else asked.count, settings.largest_page)
    found = await offerings(repository, asked)
    page = await _page(call, repository, asked, found, count)
    entries = [_entry(call, asked, offer) for offer in page.offers]
    if asked.informed:
        entries.append(bundle.outcome_entry(asked.informed))
    links = [("self", bundle.link(call.clinic.base_url, PATH, asked.pairs))]
    if page.next is not None:
        place = paging.cursor(call, PATH, asked.pairs, page.next)
        links.append(("next", bundle.link(call.clinic.base_url, PATH, [*asked.pairs, (paging.PARAMETER, place)])))
    server = call.clinic.server
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, page.total)
    return Answer(200, body, shown=asked.patients)


async def _page(call: Call, repository: Repository, asked: Asked, found: Sequence[Offering], count: int) -> _Page:
    whole = {each.schedule["id"]: each for each in found if each.is_whole}
    if not whole:
        return await _pairs(call, repository, asked, found, count)
    now = call.clinic.server.clock()
    walk = Walk(repository, asked, whole, now, paging.place(call, PATH, asked.pairs), count)
    page = _Page([], await walk.total())
    place = walk.place
    for _ in range(_MOST_WALKED if count else 0):
        found_slot = await walk.next()
        if found_slot is None:
            break
        if len(page.offers) == count:
            page.next = place
            break
        if _offering(found_slot, whole) is None:
            continue
        wanted = _single(found_slot, whole, now)
        if wanted is not None and await _is_possible(repository, asked, wanted):
            page.offers.append(wanted)
        else:
            page.total -= 1
        place = found_slot.place
    return page


def _offering(found: Found, whole: Mapping[str, Offering]) -> Offering | None:
    """Of which of the schedules a slot is; None for another."""
    return whole.get(str(found.slot["schedule"].get("reference", "")).rpartition("/")[2])


def _single(found: Found, whole: Mapping[str, Offering], now: int) -> Wanted | None:
    """The offer of one slot; None when its own service's rules do not allow it now."""
    offering = _offering(found, whole)
    assert offering is not None
    wanted = WantedSlot(
        found.stored, found.slot, offering.schedule, offering.rules, "Appointment.slot[0]", people=offering.people
    )
    soonest = now + offering.rules.minimum_notice_minutes * _MINUTE
    latest = now + offering.rules.furthest_advance_days * 1_440 * _MINUTE
    return of_slots([wanted]) if soonest <= wanted.start <= latest else None


async def _is_possible(repository: Repository, asked: Asked, wanted: Wanted) -> bool:
    """Whether everybody who would take part is free, whatever schedule they are on."""
    start, end = min(slot.start for slot in wanted.slots), max(slot.end for slot in wanted.slots)
    people = [{"actor": {"reference": reference}, "status": "accepted"} for reference in asked.patient_references]
    try:
        await check(repository, Occupation("", {"participant": people}, wanted, start, end))
    except Conflict:
        return False
    return True


async def _pairs(call: Call, repository: Repository, asked: Asked, found: Sequence[Offering], count: int) -> _Page:
    """Offers that take one slot of each kind of actor asked for, at the same time."""
    now, offers = call.clinic.server.clock(), []
    for slots in await pairs_of(repository, asked, found):
        wanted = of_slots(slots)
        soonest = now + wanted.rules.minimum_notice_minutes * _MINUTE
        latest = now + wanted.rules.furthest_advance_days * 1_440 * _MINUTE
        if soonest <= wanted.slots[0].start <= latest and await _is_possible(repository, asked, wanted):
            offers.append(wanted)
    place = paging.place(call, PATH, asked.pairs)
    following = [offer for offer in offers if place is None or _pair_place(offer) > place]
    is_more = 0 < count < len(following)
    return _Page(following[:count], len(offers), _pair_place(following[count - 1]) if is_more else None)


def _pair_place(offer: Wanted) -> tuple[int, ...]:
    """The place of an offer of several slots: its start, then the slots in the order of their creation."""
    return (offer.slots[0].start, *(slot.stored.key for slot in offer.slots))


def _entry(call: Call, asked: Asked, wanted: Wanted) -> bytes:
    slots = wanted.slots
    start = min(slots, key=lambda slot: slot.start)
    ids = [slot.stored.id for slot in slots]
    id_ = id_of(call.clinic, start.start, ids)
    begin, end = start.resource["start"], max(slots, key=lambda slot: slot.end).resource["end"]
    people = [(reference, "needs-action") for reference in (*asked.patient_references, *wanted.actors)]
    made: dict[str, Any] = {"resourceType": "Appointment", "id": id_, "status": "proposed"}
    for name in ("serviceCategory", "serviceType", "specialty", "appointmentType"):
        if name in start.resource:
            made[name] = start.resource[name]
    made |= {"start": begin, "end": end, "slot": [{"reference": f"Slot/{slot_id}"} for slot_id in ids]}
    made["participant"] = [{"actor": {"reference": reference}, "status": status} for reference, status in people]
    made["requestedPeriod"] = [{"start": begin, "end": end}]
    head = f'{{"fullUrl":"{call.clinic.base_url}/Appointment/{id_}","resource":'.encode()
    return head + json.serialise(made) + b',"search":{"mode":"match"}}'
