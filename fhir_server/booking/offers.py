"""Another time: a provider offers it by an AppointmentResponse, the patient answers by another (R-4.5, R-7.20).

The offer is the provider's confirmation for that time. It holds the time's slot; the patient's acceptance books it
after everything is checked again, a refusal releases it. It is kept as `offer/{appointment id}` until then.
"""

from typing import Any

import orjson

from fhir_server.booking import contested, expiry, holds, proposal, slots, times
from fhir_server.booking.index import expires_at, free_in
from fhir_server.booking.occupy import accept, occupy
from fhir_server.booking.states import OPEN, PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted, look_up, of_slots, slot_by_id
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import instant
from fhir_server.fhir.errors import Conflict, Forbidden, Unprocessable
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Query, Test
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

KIND = "offer"
_RULE = "R-4.5 another time"
_HOUR = 3_600_000_000
_MOST_AT_ONCE = 100  # slots of one schedule that begin together


async def response(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The write rule of AppointmentResponse. Raises Unprocessable, Forbidden, Conflict."""
    if repository.is_import:
        return after
    if before is not None or after is None:
        raise Unprocessable("An answer stands as it was given; give another one.", expression="AppointmentResponse")
    agent = repository.access.agent
    if not agent.is_human or agent.role not in (*STAFF, *PATIENTS):
        raise Forbidden("People answer for themselves.", expression="AppointmentResponse.participantStatus")
    stored, appointment = await _appointment(repository, after)
    if agent.role in STAFF:
        repository.then(lambda _: _offer(repository, stored, appointment, after))
    else:
        _check_own(repository, appointment, after)
        repository.then(lambda _: _answer(repository, stored, appointment, after))
    return after


def end(repository: Repository, before: Resource, after: Resource) -> None:
    """End the offer of what is decided on otherwise: it is not open any more, waits for a place, or is moved."""
    old, new = before["status"], after["status"]
    waits = new == "waitlist" != old
    if old in OPEN and (new not in OPEN or waits or times.is_moved(before, after)):
        own.tag(after, own.BOOKING, "offered", on=False)
        repository.then(lambda stored: forget(repository, stored.id))


async def forget(repository: Repository, appointment_id: str) -> None:
    """End an appointment's offer: it was decided on otherwise."""
    kept = await repository.unit.take(KIND, appointment_id)
    if kept is not None:
        await _release(repository, appointment_id, orjson.loads(kept))


async def lapse(repository: Repository, stored: Stored, appointment: Resource) -> None:
    """Make a proposal again of one whose offered time has ended unanswered, unless another is offered by now."""
    if await repository.unit.peek(KIND, stored.id) is None:
        after = await _proposed_again(repository, appointment)
        await repository.put(stored, after, rule=f"{_RULE} not answered in time")


async def _proposed_again(repository: Repository, appointment: Resource) -> Resource:
    """With the end that it had; what was never proposed before has one from now on."""
    after = appointment | {"status": "proposed"}
    own.tag(after, own.BOOKING, "offered", on=False)
    if expires_at(after) is None:
        expiry.note_end(repository, after, await look_up(repository, after, lenient=True))
    return after


async def _appointment(repository: Repository, answer: Resource) -> tuple[Stored, Resource]:
    target = local_reference(answer["appointment"].get("reference", ""), repository.clinic.base_url)
    stored = await repository.peek("Appointment", target.id) if target and target.type == "Appointment" else None
    if stored is None or stored.body is None:
        raise Unprocessable("There is no such appointment here.", expression="AppointmentResponse.appointment")
    appointment = json.parse(stored.body)
    if appointment["status"] not in OPEN or own.has_tag(appointment, own.BOOKING, "held"):
        raise Unprocessable(
            f"The appointment is {appointment['status']}; only an open proposal has other times.",
            expression="AppointmentResponse.appointment",
        )
    return stored, appointment


def _check_own(repository: Repository, appointment: Resource, answer: Resource) -> None:
    """A patient answers for themselves, on their own appointment."""
    agent = repository.access.agent
    own_reference = f"Patient/{agent.patient or agent.fhir_user.partition('/')[2]}"
    takes_part = [p.get("actor", {}).get("reference") for p in appointment.get("participant", ())]
    if answer.get("actor", {}).get("reference") != own_reference or own_reference not in takes_part:
        raise Forbidden("A patient answers for themselves only.", expression="AppointmentResponse.actor")


async def _offer(repository: Repository, stored: Stored, appointment: Resource, answer: Resource) -> None:
    if answer["participantStatus"] != "tentative" or "start" not in answer or "end" not in answer:
        raise Unprocessable(
            "Another time is offered as 'tentative' with its start and end; confirm or decline the appointment itself.",
            expression="AppointmentResponse.participantStatus",
        )
    await forget(repository, stored.id)
    wanted = await _slots_at(repository, appointment, answer)
    for slot in wanted.slots:
        await proposal.check_slot(repository, slot)
    ends = repository.clinic.server.clock() + wanted.rules.proposal_expiry_hours * _HOUR
    ends = min([ends, *(slot.start for slot in wanted.slots)])
    slot_ids = [slot.stored.id for slot in wanted.slots]
    by = repository.access.agent.fhir_user
    await repository.unit.keep(KIND, stored.id, orjson.dumps([slot_ids, answer["start"], answer["end"], by]), ends)
    await holds.place(repository, stored.id, wanted, ends)
    await slots.mark_held(repository, wanted)
    after = appointment | {"status": "pending"}
    own.tag(after, own.BOOKING, "offered")
    await repository.put(stored, after, rule=f"{_RULE} offered by {by}")


async def _slots_at(repository: Repository, appointment: Resource, answer: Resource) -> Wanted:
    """The free slots of the proposal's own schedules at the offered time. Raises Conflict."""
    zone = repository.clinic.zone
    start, end = interval(answer["start"], zone)[0], interval(answer["end"], zone)[0]
    found, schedules = [], {slot.schedule["id"] for slot in (await look_up(repository, appointment)).slots}
    for schedule_id in sorted(schedules):
        at = Test(free_in(schedule_id), "date", Interval(Box(lo_from=start, lo_below=start + 1)))
        there = (await repository.unit.search(Query("Slot", at, count=_MOST_AT_ONCE))).matches
        slots_there = [await slot_by_id(repository, each.id) for each in there]
        found += [slot for slot in slots_there if slot is not None and slot.end == end][:1]
    if not found or len(found) < len(schedules):
        raise Conflict(
            f"There is no free slot from {instant(start)} to {instant(end)} for all of the proposal's schedules.",
            expression="AppointmentResponse.start",
        )
    return of_slots(found)


async def _answer(repository: Repository, stored: Stored, appointment: Resource, answer: Resource) -> None:
    kept = await repository.unit.peek(KIND, stored.id)
    if kept is None:
        raise Unprocessable(
            "No other time is offered, or the offer has ended.", expression="AppointmentResponse.appointment"
        )
    slot_ids, start, end, by = orjson.loads(kept)
    for name, offered in (("start", start), ("end", end)):
        if name in answer and interval(answer[name]) != interval(offered):
            raise Unprocessable(
                f"The time that is offered has the {name} {offered}.", expression=f"AppointmentResponse.{name}"
            )
    match answer["participantStatus"]:
        case "accepted":
            await repository.unit.take(KIND, stored.id)
            await _book(repository, stored, appointment, slot_ids, by)
        case "declined":
            await forget(repository, stored.id)
            after = await _proposed_again(repository, appointment)
            await repository.put(stored, after, rule=f"{_RULE} declined by the patient")
        case _:
            raise Unprocessable(
                "An offered time is accepted or declined.", expression="AppointmentResponse.participantStatus"
            )


async def _book(repository: Repository, stored: Stored, appointment: Resource, slot_ids: list[str], by: str) -> None:
    """Move the proposal to the offered time and book it: the provider confirmed by offering, the patient accepts."""
    after = appointment | {"slot": [{"reference": f"Slot/{id_}"} for id_ in slot_ids]}
    wanted = await look_up(repository, after)
    await times.follow_slots(repository, appointment, after, wanted)
    await occupy(repository, appointment, after, wanted)
    after["status"] = "booked"
    accept(after, wanted)
    own.tag(after, own.BOOKING, "offered", on=False)
    own.tag(after, own.BOOKING, "contested", on=False)
    await repository.put(stored, after, rule=f"{_RULE} offered by {by} accepted")
    await slots.settle_all(repository, stored.id, wanted, appointment)
    await contested.mark(repository, after, appointment, wanted)


async def _release(repository: Repository, appointment_id: str, offer: list[Any]) -> None:
    for slot_id in offer[0]:
        slot = await slot_by_id(repository, slot_id)
        if slot is not None:
            await slots.settle(repository, slot, appointment_id)
