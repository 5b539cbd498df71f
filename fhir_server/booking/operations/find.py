"""Appointment/$find: times that could be booked, computed from free slots and the clinics' rules (IHE ITI-115).

Nothing is stored: an offered Appointment is `proposed` and its id says what it is (`booking.candidates`). What is
under a hold is not offered, for its slot is not free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.booking import find_context
from fhir_server.booking.candidates import id_of
from fhir_server.booking.clinic_rules import ClinicRules
from fhir_server.booking.combining import combinations, place
from fhir_server.booking.conflicts import Occupation, check
from fhir_server.booking.find_asked import Asked, asked_of, given
from fhir_server.booking.find_schedules import Offering, offerings
from fhir_server.booking.find_walk import Found, Walk
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
    found_in = given(call)
    asked = await asked_of(call, repository, found_in)
    await find_context.add(repository, asked, found_in)
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
        return await _combined(call, repository, asked, found, count)
    now = call.clinic.server.clock()
    walk = Walk(repository, asked, whole, now, paging.place(call, PATH, asked.pairs), count)
    page = _Page([], await walk.total())
    at = walk.place
    for _ in range(_MOST_WALKED if count else 0):
        found_slot = await walk.next()
        if found_slot is None:
            break
        if len(page.offers) == count:
            page.next = at
            break
        if _offering(found_slot, whole) is None:
            continue
        wanted = _single(asked, found_slot, whole, now)
        if wanted is not None and await _is_possible(repository, asked, wanted):
            page.offers.append(wanted)
        else:
            page.total -= 1
        at = found_slot.place
    return page


def _offering(found: Found, whole: Mapping[str, Offering]) -> Offering | None:
    """Of which of the schedules a slot is; None for another."""
    return whole.get(str(found.slot["schedule"].get("reference", "")).rpartition("/")[2])


def _single(asked: Asked, found: Found, whole: Mapping[str, Offering], now: int) -> Wanted | None:
    """The offer of one slot; None when it is too short, or its own service's rules do not allow it now."""
    offering = _offering(found, whole)
    assert offering is not None
    wanted = WantedSlot(
        found.stored, found.slot, offering.schedule, offering.rules, "Appointment.slot[0]", people=offering.people
    )
    is_long = wanted.end - wanted.start >= asked.lasts
    return of_slots([wanted]) if is_long and _is_in_time(offering.rules, wanted.start, now) else None


def _is_in_time(rules: ClinicRules, start: int, now: int) -> bool:
    soonest = now + rules.minimum_notice_minutes * _MINUTE
    return soonest <= start <= now + rules.furthest_advance_days * 1_440 * _MINUTE


async def _is_possible(repository: Repository, asked: Asked, wanted: Wanted) -> bool:
    """Whether everybody who would take part is free, whatever schedule they are on."""
    start, end = min(slot.start for slot in wanted.slots), max(slot.end for slot in wanted.slots)
    people = [{"actor": {"reference": reference}, "status": "accepted"} for reference in asked.patient_references]
    try:
        await check(repository, Occupation("", {"participant": people}, wanted, start, end))
    except Conflict:
        return False
    return True


async def _combined(call: Call, repository: Repository, asked: Asked, found: Sequence[Offering], count: int) -> _Page:
    """Offers that take one slot of each kind of actor asked for, at the same time."""
    now, after = call.clinic.server.clock(), paging.place(call, PATH, asked.pairs)
    made = [slots for slots in await combinations(repository, asked, found)
            if _is_in_time(of_slots(slots).rules, slots[0].start, now)]  # fmt: skip
    page = _Page([], len(made))
    at = after
    for slots in made if count else ():
        if after is not None and place(slots) <= after:
            continue
        wanted = of_slots(slots)
        if not await _is_possible(repository, asked, wanted):
            page.total -= 1
        elif len(page.offers) == count:
            page.next = at
            break
        else:
            page.offers.append(wanted)
            at = place(slots)
    return page


def _entry(call: Call, asked: Asked, wanted: Wanted) -> bytes:
    slots = wanted.slots
    start = min(slots, key=lambda slot: slot.start)
    ids = [slot.stored.id for slot in slots]
    id_ = id_of(call.clinic, start.start, ids)
    begin, end = start.resource["start"], max(slots, key=lambda slot: slot.end).resource["end"]
    new = [f"#{person['id']}" for person in asked.people]
    people = [(reference, "needs-action") for reference in (*asked.patient_references, *new, *wanted.actors)]
    made: dict[str, Any] = {"resourceType": "Appointment", "id": id_, "status": "proposed"}
    for name in ("serviceCategory", "serviceType", "specialty", "appointmentType"):
        if name in start.resource:
            made[name] = start.resource[name]
    if asked.people:
        made["contained"] = asked.people
    if asked.reasons:
        made["reasonCode"] = [{"coding": [{"system": system, "code": code}]} for system, code in asked.reasons]
    if asked.based_on:
        made["basedOn"] = [{"reference": asked.based_on}]
    made |= {"start": begin, "end": end, "slot": [{"reference": f"Slot/{slot_id}"} for slot_id in ids]}
    made["participant"] = [{"actor": {"reference": reference}, "status": status} for reference, status in people]
    made["requestedPeriod"] = [{"start": begin, "end": end}]
    head = f'{{"fullUrl":"{call.clinic.base_url}/Appointment/{id_}","resource":'.encode()
    return head + json.serialise(made) + b',"search":{"mode":"match"}}'
