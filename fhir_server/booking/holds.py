"""Holds: an appointment that nobody has booked may keep places of its slots from others for a while (R-8.2).

A hold is a kept value `hold/{slot id}` (JSON: the appointments that hold a place, each with its end in µs) beside the
slot's status `busy-tentative` once no place is left. It ends when the appointment is decided on, or by itself: whatever
touches the slot afterwards takes the place for free, and the sweeper makes that visible.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from fhir_server.booking.guards import guard_slots
from fhir_server.booking.wanted import Wanted, WantedSlot
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Unit

KIND = "hold"
RULE = "R-8.2 hold of a slot"
_MINUTE = 60_000_000


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds a place of a slot, and until when."""

    slot_id: str
    appointment_id: str
    ends: Micros


async def of_slot(unit: Unit, slot_id: str) -> list[Hold]:
    """The holds on a slot, those included that have ended and are still marked."""
    return _holds(slot_id, await unit.peek(KIND, slot_id))


async def place(repository: Repository, appointment_id: str, wanted: Wanted, ends: Micros) -> None:
    """Hold a place of each slot, in place of what the appointment held there. The slots' status is settled after."""
    await guard_slots(repository, (slot.stored.id for slot in wanted.slots))
    for slot in wanted.slots:
        others = await _others(repository, slot.stored.id, appointment_id)
        await _keep(repository.unit, slot.stored.id, [*others, Hold(slot.stored.id, appointment_id, ends)])


def proposals_end(repository: Repository, wanted: Wanted) -> Micros | None:
    """When the hold of a proposal ends; None where the clinic's rule holds nothing for proposals."""
    minutes = wanted.rules.hold_minutes
    if not minutes or any(slot.rules.capacity > 1 for slot in wanted.slots):
        return None
    return repository.clinic.server.clock() + minutes * _MINUTE


async def live(repository: Repository, slot: WantedSlot) -> list[Hold]:
    """The holds on a slot that have not ended."""
    return _live(repository, await of_slot(repository.unit, slot.stored.id))


async def _others(repository: Repository, slot_id: str, appointment_id: str) -> list[Hold]:
    return [hold for hold in await of_slot(repository.unit, slot_id) if hold.appointment_id != appointment_id]


def _live(repository: Repository, marked: list[Hold]) -> list[Hold]:
    now = repository.clinic.server.clock()
    return [hold for hold in marked if hold.ends > now]


async def is_free(repository: Repository, slot: WantedSlot, taken: int, *, appointment_id: str = "") -> bool:
    """Whether a place of a slot is free for an appointment, `taken` of them being booked by others.

    What staff marked by their own hand (busy-unavailable, or tentative without a hold) is not free.
    """
    status = slot.resource["status"]
    marked = await of_slot(repository.unit, slot.stored.id)
    if status != "free" and not (status == "busy-tentative" and marked):
        return False
    held = [hold for hold in _live(repository, marked) if hold.appointment_id != appointment_id]
    return taken + len(held) < slot.rules.capacity


async def is_held_by(repository: Repository, appointment: dict[str, Any]) -> bool:
    """Whether an appointment holds a place that it wants, and its hold has not ended."""
    slot_ids = [str(slot.get("reference", "")).rpartition("/")[2] for slot in appointment.get("slot", ())]
    found = [hold for slot_id in slot_ids for hold in await of_slot(repository.unit, slot_id)]
    return any(hold.appointment_id == appointment["id"] for hold in _live(repository, found))


async def clear(repository: Repository, slot: WantedSlot, appointment_id: str) -> tuple[bool, int]:
    """End the appointment's hold: whether the slot was held, and how many holds are left.

    Others that are over stay marked for the sweeper: it ends what was held by them alone, too.
    """
    marked = await of_slot(repository.unit, slot.stored.id)
    left = await _others(repository, slot.stored.id, appointment_id)
    if len(left) != len(marked):
        await _keep(repository.unit, slot.stored.id, left)
    return bool(marked), len(_live(repository, left))


async def ended(unit: Unit, now: Micros) -> list[Hold]:
    """The holds that have ended and are still marked."""
    kept = [hold for slot_id, value in await unit.kept(KIND) for hold in _holds(slot_id, value)]
    return [hold for hold in kept if hold.ends <= now]


def _holds(slot_id: str, value: bytes | None) -> list[Hold]:
    return [Hold(slot_id, *each) for each in orjson.loads(value)] if value is not None else []


async def _keep(unit: Unit, slot_id: str, left: list[Hold]) -> None:
    if left:
        await unit.keep(KIND, slot_id, orjson.dumps([[hold.appointment_id, hold.ends] for hold in left]))
    else:
        await unit.take(KIND, slot_id)
