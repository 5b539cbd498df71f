"""Slots agree with the appointments that take them, and with the holds on them (R-8.2).

A slot is `busy` when it is taken as often as it can be, `busy-tentative` when holds take the last places, else `free`.
"""

from typing import Any

from fhir_server.booking import holds, times, waitlist
from fhir_server.booking.conflicts import takers
from fhir_server.booking.guards import guard_slots
from fhir_server.booking.index import WANTED_SLOT
from fhir_server.booking.wanted import Wanted, WantedSlot, look_up, slot_by_id
from fhir_server.fhir import own
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Query, Target, Test

Resource = dict[str, Any]

# Slots that one Unit makes or changes: what a store can take back whole.
MOST_AT_ONCE = 1_000
CLOSED = "closed"  # the tag of what `$close` closed
_CLOSED = ("busy-unavailable", "entered-in-error")
_TIME = ("schedule", "start", "end")
_RULE = "R-8.2 slot follows its appointments"


async def settle_all(
    repository: Repository,
    appointment_id: str,
    wanted: Wanted,
    moved_from: Resource | None = None,
    *,
    took: bool = False,
) -> None:
    """Bring every slot that the appointment took, takes or held into line with how often it is now taken.

    `took`: whether it took its slots until now.
    """
    slots = {slot.stored.id: slot for slot in wanted.slots}
    if moved_from is not None:
        slots |= {slot.stored.id: slot for slot in (await look_up(repository, moved_from)).slots}
    for slot in slots.values():
        await settle(repository, slot, appointment_id, took=took)


async def settle(
    repository: Repository, slot: WantedSlot, appointment_id: str = "", *, rule: str = _RULE, took: bool = False
) -> None:
    """End the appointment's hold on a slot, which it `took` until now or not, and bring the slot into line."""
    await guard_slots(repository, (slot.stored.id,))
    was_held, held = await holds.clear(repository, slot, appointment_id)
    taken = await takers(repository, slot.stored.id, most=slot.rules.capacity)
    # What nobody gives back is busy by a provider's hand.
    if slot.resource["status"] == "busy" and not (took and all(each.id != appointment_id for each in taken)):
        return
    await _mark(repository, slot, _due(slot, len(taken), held), was_held=was_held, rule=rule)


async def due(repository: Repository, slot: WantedSlot) -> str:
    """The status of a slot that nobody closes by hand: by who takes it, and who holds it."""
    taken = len(await takers(repository, slot.stored.id, most=slot.rules.capacity))
    return _due(slot, taken, len(await holds.live(repository, slot)))


def _due(slot: WantedSlot, taken: int, held: int) -> str:
    capacity = slot.rules.capacity
    return "busy" if taken >= capacity else "busy-tentative" if taken + held >= capacity else "free"


async def mark_held(repository: Repository, wanted: Wanted) -> None:
    """Bring slots into line with holds that were just placed."""
    for slot in wanted.slots:
        await _mark(repository, slot, await due(repository, slot), was_held=True, rule=holds.RULE)


async def _mark(repository: Repository, slot: WantedSlot, wanted: str, *, was_held: bool, rule: str) -> None:
    # What staff marked by hand (busy-unavailable, or busy-tentative without a hold) stays as it is.
    status = slot.resource["status"]
    if not (status in ("free", "busy") or (was_held and status == "busy-tentative")):
        return
    if status != wanted:
        current = await repository.unit.read("Slot", slot.stored.id)
        await repository.put(current, slot.resource | {"status": wanted}, rule=rule)
        await waitlist.tell(repository, slot.stored.id)


async def rule(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The write rule of Slot. Raises Unprocessable, Conflict."""
    if after is not None and interval(after["start"])[0] >= interval(after["end"])[0]:
        raise Unprocessable("A slot ends after it starts.", expression="Slot.end")
    if after is not None and (before is None or _moved(before, after)):
        times.check_length(after, repository.clinic.zone)
    if after is not None and after["status"] != "busy-unavailable":
        own.tag(after, own.BOOKING, CLOSED, on=False)
    if before is None:
        return after
    if after is not None and after["status"] != before["status"]:
        repository.then(lambda stored: waitlist.tell(repository, stored.id))
    await guard_slots(repository, (before["id"],))
    taken = await takers(repository, before["id"], most=1)
    if after is None:
        if taken or await is_wanted(repository, before["id"]):
            raise Conflict("Appointments or proposals want this slot; settle them first.", expression="Slot")
    elif taken and _moved(before, after) and not await _shows_a_place(repository, before, after):
        raise Conflict(
            f"This slot is taken by Appointment/{taken[0].id}; its time and status follow the appointment.",
            expression="Slot.status",
        )
    elif _moved(before, after, _TIME) and await is_wanted(repository, before["id"]):
        raise Conflict("Proposals want this slot at its time; settle them first, or make another.", expression="Slot")
    elif _may_disturb_holds(before, after) and await _is_held(repository, before["id"]):
        raise Conflict(
            "This slot is held for somebody; wait until the hold ends, or close it (busy-unavailable).",
            expression="Slot.status",
        )
    return after


def _moved(before: Resource, after: Resource, names: tuple[str, ...] = (*_TIME, "status")) -> bool:
    return any(before.get(name) != after.get(name) for name in names)


def _may_disturb_holds(before: Resource, after: Resource) -> bool:
    """Anything but closing: who holds a time is not to find another one when it is opened again."""
    return _moved(before, after, _TIME) or (after.get("status") not in _CLOSED and _moved(before, after))


async def _shows_a_place(repository: Repository, before: Resource, after: Resource) -> bool:
    """Whether a change does no more than to show as free what has a place left, as when other rules have come."""
    slot = await slot_by_id(repository, before["id"])
    is_freed = after["status"] == "free" and not _moved(before, after | {"status": before["status"]})
    return is_freed and slot is not None and await due(repository, slot) == "free"


async def _is_held(repository: Repository, slot_id: str) -> bool:
    now = repository.clinic.server.clock()
    return any(hold.ends > now for hold in await holds.of_slot(repository.unit, slot_id))


async def is_wanted(repository: Repository, slot_id: str) -> bool:
    """Whether an open proposal wants the slot."""
    test = Test(WANTED_SLOT, "reference", Target(slot_id, "Slot"))
    return bool((await repository.unit.search(Query("Appointment", test, count=1))).matches)
