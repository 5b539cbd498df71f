"""Appointment/$find: times that could be booked, computed from free slots and the clinics' rules (IHE ITI-115).

Nothing is stored: an offered Appointment is `proposed` and its id says what it is (`booking.candidates`). What is
under a hold is not offered, for its slot is not free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.booking.candidates import id_of
from fhir_server.booking.conflicts import Occupation, check
from fhir_server.booking.find_asked import Asked, asked_of
from fhir_server.booking.find_schedules import Offering, offerings
from fhir_server.booking.index import FREE, free_for, free_in
from fhir_server.booking.pairing import pairs_of
from fhir_server.booking.wanted import Wanted, WantedSlot, of_slots
from fhir_server.fhir import json
from fhir_server.fhir.errors import Conflict
from fhir_server.interactions import bundle, paging
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Node, Not, Position, Query, Sort, Target, Test, Token, all_of, any_of
from fhir_server.store.protocol import Stored

PATH = "Appointment/$find"
_ORDER = (Sort(FREE, "date"),)
_MINUTE = 60_000_000
_LEAST = 20
# Above so many schedules the page is looked for among all slots, and each is asked for its schedule.
_ROUNDS = 50


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
        return await _pairs(repository, asked, found, count)
    now = call.clinic.server.clock()
    where, counted = _plans(asked, whole, now, all_=len(whole) == asked.schedules)
    total = (await repository.unit.search(Query("Slot", counted, count=0, total=-1))).total or 0
    page = _Page([], total)
    place = paging.place(call, PATH, asked.pairs)
    for _ in range(_ROUNDS if count else 0):
        ask = max(_LEAST, count - len(page.offers) + 1)
        step = await repository.unit.search(Query("Slot", where, _ORDER, ask, place))
        for stored in step.matches:
            if len(page.offers) == count:
                page.next = place
                return page
            wanted = _single(stored, whole, now)
            if wanted is not None and await _is_possible(repository, asked, wanted):
                page.offers.append(wanted)
            else:
                page.total -= 1
            place = (_start(wanted, stored), stored.key)
        if step.next is None:
            break
    return page


def _start(wanted: Wanted | None, stored: Stored) -> int:
    if wanted is not None:
        return wanted.slots[0].start
    assert stored.body is not None
    return WantedSlot(stored, json.parse(stored.body), {}, of_slots(()).rules, "").start


def _window(asked: Asked, whole: dict[str, Offering], now: int) -> Interval:
    """The time asked for; not sooner or later than any rule allows."""
    soonest = now + min(each.rules.minimum_notice_minutes for each in whole.values()) * _MINUTE
    latest = now + max(each.rules.furthest_advance_days for each in whole.values()) * 1_440 * _MINUTE
    return Interval(Box(lo_from=max(asked.start, soonest), lo_below=min(asked.end, latest + 1)))


def _plans(asked: Asked, whole: dict[str, Offering], now: int, *, all_: bool) -> tuple[Node, Node]:
    """What to walk in the order of time, and the same as it is counted best: by the narrowest index of free slots."""
    window = _window(asked, whole, now)
    free = Test(FREE, "date", window, True)
    codes = [*asked.visit_types, ("", "")] if asked.visit_types else []
    services = [any_of(*(Test(free_for(*code), "date", window, True) for code in codes))] if codes else []
    rest: list[Node] = []
    if asked.specialties:
        tests = [Test("specialty", "token", Token(code, system)) for system, code in asked.specialties]
        rest.append(any_of(*tests, Not(Test("specialty", "token", None))))
    if all_:
        return all_of(free, *services, *rest), all_of(*(services or [free]), *rest)
    on = any_of(*(Test("schedule", "reference", Target(id_, "Schedule")) for id_ in whole))
    in_all = any_of(*(Test(free_in(id_), "date", window, True) for id_ in whole))
    return all_of(free, on, *services, *rest), all_of(in_all, *services, *rest)


def _single(stored: Stored, whole: dict[str, Offering], now: int) -> Wanted | None:
    """The offer of one slot; None when its own service's rules do not allow it now."""
    assert stored.body is not None
    slot = json.parse(stored.body)
    offering = whole.get(str(slot["schedule"].get("reference", "")).rpartition("/")[2])
    if offering is None:
        return None
    wanted = WantedSlot(stored, slot, offering.schedule, offering.rules, "Appointment.slot[0]", people=offering.people)
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


async def _pairs(repository: Repository, asked: Asked, found: Sequence[Offering], count: int) -> _Page:
    """Offers that take one slot of each kind of actor asked for, at the same time."""
    now = repository.clinic.server.clock()
    offers = []
    for slots in await pairs_of(repository, asked, found):
        wanted = of_slots(slots)
        soonest = now + wanted.rules.minimum_notice_minutes * _MINUTE
        if wanted.slots[0].start >= soonest and await _is_possible(repository, asked, wanted):
            offers.append(wanted)
    return _Page(offers[:count], len(offers))


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
