"""Holds: a proposal may keep its slot from others for a while, where the clinic's rule says so (R-8.2).

A hold is a kept value `hold/{slot id}` (JSON: the appointment's id, when it ends in µs) beside the slot's status
`busy-tentative`. It ends when the proposal is decided on, or by itself: whatever touches the slot afterwards takes it
for free, and the sweeper makes that visible. Slots that several may take are not held.
"""

from dataclasses import dataclass

import orjson

from fhir_server.booking.wanted import Wanted, WantedSlot
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored, Unit

KIND = "hold"
RULE = "R-8.2 hold of a slot"
_MINUTE = 60_000_000


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds a slot, and until when."""

    slot_id: str
    appointment_id: str
    ends: Micros


async def place(repository: Repository, proposal: Stored, wanted: Wanted) -> None:
    """Hold the slots of a proposal whose services hold."""
    for slot in wanted.slots:
        if slot.rules.hold_minutes and slot.rules.capacity == 1:
            ends = repository.clinic.server.clock() + slot.rules.hold_minutes * _MINUTE
            await repository.unit.keep(KIND, slot.stored.id, orjson.dumps([proposal.id, ends]))
            await repository.put(slot.stored, slot.resource | {"status": "busy-tentative"}, rule=RULE)


async def holder(repository: Repository, slot: WantedSlot) -> Hold | None:
    """The hold on a slot; None when there is none, or it has ended."""
    kept = await repository.unit.peek(KIND, slot.stored.id)
    hold = Hold(slot.stored.id, *orjson.loads(kept)) if kept is not None else None
    return hold if hold is not None and hold.ends > repository.clinic.server.clock() else None


async def is_free(repository: Repository, slot: WantedSlot, *, appointment_id: str = "") -> bool:
    """Whether a slot is free for an appointment: by its status, by its own hold, or by a hold that has ended."""
    if slot.resource["status"] == "free":
        return True
    if slot.resource["status"] != "busy-tentative":
        return False
    kept = await repository.unit.peek(KIND, slot.stored.id)
    if kept is None:
        return False  # tentative by the staff's own hand
    hold = await holder(repository, slot)
    return hold is None or hold.appointment_id == appointment_id


async def clear(repository: Repository, slot: WantedSlot, appointment_id: str) -> bool:
    """End the hold on a slot if it is the appointment's, or has ended by itself; False when there is none such."""
    kept = await repository.unit.peek(KIND, slot.stored.id)
    hold = Hold(slot.stored.id, *orjson.loads(kept)) if kept is not None else None
    if hold is None or (hold.ends > repository.clinic.server.clock() and hold.appointment_id != appointment_id):
        return False
    await repository.unit.take(KIND, slot.stored.id)
    return True


async def ended(unit: Unit, now: Micros) -> list[Hold]:
    """The holds that have ended and are still marked."""
    holds = [Hold(slot_id, *orjson.loads(value)) for slot_id, value in await unit.kept(KIND)]
    return [hold for hold in holds if hold.ends <= now]
