"""The write rules of booking: they run on every path that writes an Appointment or a Slot.

An appointment and its slots change together, in one Unit: taken when it becomes occupying, given back when it stops.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.booking import holds, proposal, receipt, states
from fhir_server.booking.conflicts import Occupation, check, guard_slot, takers
from fhir_server.booking.states import OCCUPYING, OPEN, PATIENTS
from fhir_server.booking.wanted import Wanted, WantedSlot, look_up
from fhir_server.fhir import json
from fhir_server.fhir.errors import Conflict, Forbidden, Unprocessable
from fhir_server.interactions.clinic import Rule
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Query, Target, Test
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

_HOUR = 3_600_000_000
# All that a patient, or the holder of a receipt, may change of an appointment.
_PATIENTS_ELEMENTS = frozenset({"status", "cancelationReason", "meta"})


async def appointment(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The rule of Appointment. Raises Forbidden, Unprocessable, Conflict."""
    if after is None:
        _check_deletion(before or {})
        return None
    wanted = await look_up(repository, after)
    for each in wanted.slots:
        await guard_slot(repository, each.stored.id)
    old, new = (before or {}).get("status"), after["status"]
    if not repository.is_import:
        states.check(repository.access.agent, old, new)
        if before is not None:
            _check_patients_change(repository, before, after, wanted)
        elif new == "proposed":
            after = await proposal.prepare(repository, after, wanted)
            _follow_up(repository, wanted)
    if new in OCCUPYING:
        if not repository.is_import:
            proposal.add_actors(after, wanted, "accepted")
        await check(repository, _occupation(repository, (before or {}).get("id", ""), after, wanted))
        if old not in OCCUPYING and not repository.is_import:
            _accept(after)
    if old in OCCUPYING or new in OCCUPYING or (old in OPEN and new not in OPEN):
        repository.then(lambda stored: settle_slots(repository, stored.id, before, wanted))
    return after


def _check_deletion(before: Resource) -> None:
    if before.get("status") in OCCUPYING | OPEN:
        raise Conflict(
            "An appointment that is open or booked is not deleted; cancel it, or mark it entered-in-error.",
            expression="Appointment.status",
        )


def _check_patients_change(repository: Repository, before: Resource, after: Resource, wanted: Wanted) -> None:
    """A patient cancels, within the clinic's window, and changes nothing else (R-7.20, R-10.4)."""
    agent = repository.access.agent
    if agent.role not in (*PATIENTS, "public", "website"):
        return
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not _PATIENTS_ELEMENTS.issuperset(changed):
        raise Forbidden("Only the status may be changed, to cancelled.", expression=f"Appointment.{changed[0]}")
    if agent.role not in PATIENTS or before["status"] in OPEN:
        if not wanted.rules.withdrawal:
            raise Forbidden(
                "This clinic does not let proposals be withdrawn; call it.", expression="Appointment.status"
            )
        return
    hours = wanted.rules.cancellation_window_hours
    start = interval(before["start"])[0]
    if start - repository.clinic.server.clock() < hours * _HOUR:
        raise Unprocessable(
            f"An appointment can be cancelled here until {hours} hours before it begins; call the clinic.",
            expression="Appointment.status",
        )


def _follow_up(repository: Repository, wanted: Wanted) -> None:
    """After a proposal is stored: its receipt, and its confirmation where the clinic's rule allows that."""

    async def then(stored: Stored) -> None:
        clinic, rules = repository.clinic, wanted.rules
        if repository.access.agent.role == "public":
            expires = clinic.server.clock() + rules.proposal_expiry_hours * _HOUR
            token = receipt.issue(clinic, stored.id, expires, may_withdraw=rules.withdrawal)
            repository.headers[receipt.HEADER] = token
        if not (wanted.slots and rules.confirms_itself and await _confirm_by_rule(repository, stored, wanted)):
            await holds.place(repository, stored, wanted)

    repository.then(then)


async def _confirm_by_rule(repository: Repository, stored: Stored, wanted: Wanted) -> bool:
    """Book a low-risk proposal; one with a conflict is left for a human: False (R-10.2, R-10.5)."""
    assert stored.body is not None
    booked = json.parse(stored.body)
    try:
        await check(repository, _occupation(repository, stored.id, booked, wanted))
    except Conflict:
        return False
    booked["status"] = "booked"
    _accept(booked)
    await repository.put(stored, booked, rule=f"R-10.2 auto-confirmation by {wanted.rules.service}")
    await settle_slots(repository, stored.id, None, wanted)
    return True


def _occupation(repository: Repository, id_: str, resource: Resource, wanted: Wanted) -> Occupation:
    """What the appointment would occupy. Raises Unprocessable when it has no time."""
    for name in ("start", "end"):
        if name not in resource:
            raise Unprocessable(f"A booked appointment has its {name}.", expression=f"Appointment.{name}")
    zone = repository.clinic.zone
    start, end = interval(resource["start"], zone)[0], interval(resource["end"], zone)[0]
    if start >= end:
        raise Unprocessable("An appointment ends after it starts.", expression="Appointment.end")
    return Occupation(id_, resource, wanted, start, end)


def _accept(resource: Resource) -> None:
    """On confirmation everybody who had not answered takes part."""
    for participant in resource.get("participant", ()):
        if participant.get("status") in ("needs-action", "tentative"):
            participant["status"] = "accepted"


async def settle_slots(repository: Repository, appointment_id: str, before: Resource | None, wanted: Wanted) -> None:
    """Bring every slot that the appointment took, takes or held into line with how often it is now taken."""
    slots = {slot.stored.id: slot for slot in wanted.slots}
    if before is not None:
        slots |= {slot.stored.id: slot for slot in (await look_up(repository, before)).slots}
    for slot in slots.values():
        await settle(repository, slot, appointment_id)


async def settle(repository: Repository, slot: WantedSlot, appointment_id: str = "") -> None:
    """Bring one slot into line. What staff marked by hand (busy-unavailable, busy-tentative) stays as it is."""
    await guard_slot(repository, slot.stored.id)
    was_held = await holds.clear(repository, slot, appointment_id)
    taken = len(await takers(repository, slot.stored.id))
    status = "busy" if taken >= slot.rules.capacity else "free"
    if (was_held or slot.resource["status"] in ("free", "busy")) and slot.resource["status"] != status:
        await repository.put(
            slot.stored, slot.resource | {"status": status}, rule="R-8.2 slot follows its appointments"
        )


async def slot(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The rule of Slot: it agrees with the appointments that take it. Raises Unprocessable, Conflict."""
    if after is not None and interval(after["start"])[0] >= interval(after["end"])[0]:
        raise Unprocessable("A slot ends after it starts.", expression="Slot.end")
    if before is None:
        return after
    await guard_slot(repository, before["id"])
    taken = await takers(repository, before["id"])
    if after is None:
        if taken or await _has_open_proposals(repository, before["id"]):
            raise Conflict("Appointments or proposals want this slot; settle them first.", expression="Slot")
    elif taken and any(before.get(name) != after.get(name) for name in ("schedule", "start", "end", "status")):
        raise Conflict(
            f"This slot is taken by Appointment/{taken[0].id}; its time and status follow the appointment.",
            expression="Slot.status",
        )
    return after


async def _has_open_proposals(repository: Repository, slot_id: str) -> bool:
    test = Test("slot", "reference", Target(slot_id, "Slot"))
    page = await repository.unit.search(Query("Appointment", test, count=1_000))
    return any(stored.body is not None and json.parse(stored.body)["status"] in OPEN for stored in page.matches)


RULES: Mapping[str, Rule] = {"Appointment": appointment, "Slot": slot}
