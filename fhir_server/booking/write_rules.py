"""The write rules of booking: they run on every path that writes an Appointment, a Slot or what rules them.

An appointment and its slots change together, in one Unit: taken when it becomes occupying, given back when it stops.
"""

from collections.abc import Mapping
from typing import Any

from fhir_server.booking import (
    after_proposal,
    configuration,
    expiry,
    forms,
    hold_and_book,
    offers,
    patients_change,
    proposal,
    review,
    roles,
    slots,
    states,
    taking_part,
    times,
    visits,
    waitlist,
)
from fhir_server.booking.conflicts import look_near
from fhir_server.booking.contested import mark
from fhir_server.booking.guards import guard_slots
from fhir_server.booking.occupy import accept, occupy
from fhir_server.booking.operations import break_glass
from fhir_server.booking.states import OCCUPYING, OPEN
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir.errors import Conflict
from fhir_server.interactions.clinic import Rule
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]


async def appointment(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The rule of Appointment. Raises Forbidden, Unprocessable, Conflict, TooMany."""
    if after is None:
        _check_deletion(before or {})
        return None
    times.localise(repository, after)
    if after["status"] in OCCUPYING | OPEN:
        times.check_length(after, repository.clinic.zone)
    wanted = await look_up(repository, after)
    await guard_slots(repository, (slot.stored.id for slot in wanted.slots))
    old, new = (before or {}).get("status"), after["status"]
    if {old, new} & (OCCUPYING | OPEN) and (old != new or not _takes_the_same(before or {}, after)):
        await look_near(repository, after, wanted)
    if not repository.is_import:
        await _check(repository, before, after, wanted)
        if before is None and new == "proposed":
            after = await proposal.prepare(repository, after, wanted)
            after_proposal.follow_up(repository, wanted)
    if new in OCCUPYING and not repository.is_import:
        await times.add_actors(repository, after, wanted, "accepted")
    if new in OCCUPYING | OPEN and repository.is_import:
        await roles.note_occupied(repository, after, wanted.actors)
    if new in OCCUPYING and not (old in OCCUPYING and before is not None and _takes_the_same(before, after)):
        await occupy(repository, before, after, wanted)
    if new in OCCUPYING and old not in OCCUPYING and not repository.is_import:
        accept(after, wanted)
    _then_settle(repository, before, after, wanted)
    return after


async def _check(repository: Repository, before: Resource | None, after: Resource, wanted: Wanted) -> None:
    """Whether this caller may make this change, and what follows for the appointment itself."""
    old, new = (before or {}).get("status"), after["status"]
    states.check(repository.access.agent, old, new)
    if before is not None:
        await hold_and_book.check_holder(repository, before, after)
        patients_change.check(repository, before, after, wanted)
        expiry.check(repository, before, after)
        review.decide(repository, before, after)
        waitlist.leave(before, after)
    times.check_order(after)
    await taking_part.check(repository, before, after)
    # A new proposal is prepared by rules of its own.
    if new in OCCUPYING | OPEN and (before is not None or new != "proposed") and times.is_moved(before, after):
        await times.follow_slots(repository, before, after, wanted)
    if before is not None:
        expiry.renew(repository, before, after, wanted)
    if new in OCCUPYING and old not in OCCUPYING:
        times.set_times(after, wanted)
        taking_part.require_patient(after)
        times.check_ahead(repository, after)


def _check_deletion(before: Resource) -> None:
    if before.get("status") in OCCUPYING | OPEN:
        raise Conflict(
            "An appointment that is open or booked is not deleted; cancel it, or mark it entered-in-error.",
            expression="Appointment.status",
        )


def _takes_the_same(before: Resource, after: Resource) -> bool:
    """Whether an appointment that occupies goes on to occupy just the same."""
    return all(before.get(name) == after.get(name) for name in ("slot", "start", "end", "participant"))


def _then_settle(repository: Repository, before: Resource | None, after: Resource, wanted: Wanted) -> None:
    old, new = (before or {}).get("status"), after["status"]
    ends_open = old in OPEN and new not in OPEN
    waits = new == "waitlist" and old != new  # it keeps nothing from others any more
    moved_from = before if before is not None and before.get("slot") != after.get("slot") else None
    if old in OCCUPYING or new in OCCUPYING or ends_open or waits or (old in OPEN and moved_from is not None):
        took = old in OCCUPYING
        repository.then(lambda stored: slots.settle_all(repository, stored.id, wanted, moved_from, took=took))
    if before is not None:
        offers.end(repository, before, after)
    if new == "waitlist":
        repository.then(lambda stored: _tell_who_waits(repository, stored))
    if (old in OPEN | OCCUPYING or new in OPEN | OCCUPYING) and (old != new or times.is_moved(before, after)):
        repository.then(lambda _: mark(repository, after, before, wanted))


async def _tell_who_waits(repository: Repository, stored: Stored) -> None:
    newest = await repository.unit.read(stored.type, stored.id)  # a rule before may have marked it
    await waitlist.tell_one(repository, newest or stored)


RULES: Mapping[str, Rule] = {
    "Appointment": appointment,
    "AppointmentResponse": offers.response,
    "Flag": break_glass.rule,
    "Encounter": visits.encounter,
    "HealthcareService": configuration.service,
    "QuestionnaireResponse": forms.answers,
    "Slot": slots.rule,
}
