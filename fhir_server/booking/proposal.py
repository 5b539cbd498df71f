"""A booking proposal: intent that a person submits, checked against the slots it wants (R-4.2, R-4.3, R-7.19)."""

from itertools import pairwise
from typing import Any

from fhir_server.booking import contested, day_limit, deadline, expiry, holds, identity, limits, taking_part, times
from fhir_server.booking.candidates import MOST_SLOTS
from fhir_server.booking.conflicts import takers
from fhir_server.booking.states import PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted, WantedSlot, is_offered
from fhir_server.fhir import own
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]

# What somebody from outside may say in a proposal.
ELEMENTS = frozenset(
    ("resourceType", "id", "meta", "language", "contained", "status", "serviceCategory", "serviceType", "specialty",
     "appointmentType", "reasonCode", "comment", "start", "end", "slot", "participant", "requestedPeriod",
     "minutesDuration", "description")
)  # fmt: skip
_MINUTE = 60_000_000


async def prepare(repository: Repository, proposal: Resource, wanted: Wanted, *, own_id: str = "") -> Resource:
    """The proposal as it is stored; a new person becomes a provisional Patient.

    Raises Unprocessable, Conflict, TooMany. `own_id` is the appointment's where a hold becomes a proposal.
    """
    agent = repository.access.agent
    if agent.role not in STAFF:
        _check_elements(proposal, ELEMENTS | {"basedOn"} if agent.role in PATIENTS else ELEMENTS)
        await _check_referrals(repository, proposal)
        if not wanted.slots:
            raise Unprocessable("A proposal names the slot that it wants.", expression="Appointment.slot")
        _check_together(wanted)
        own_name = agent.fhir_user if agent.role in PATIENTS else ""
        taking_part.check_named(proposal, (*wanted.actors, own_name))
    for slot in wanted.slots:
        await check_slot(repository, slot, own_id)
    check_service(proposal, wanted)
    times.set_times(proposal, wanted)
    if wanted.slots and wanted.rules.daily_limit:
        full = await day_limit.issues(repository, own_id, wanted)
        if full:
            raise Conflict(issues=full)
    await limits.check(repository, proposal, wanted, own_id=own_id)
    if agent.role in ("public", "website"):
        await identity.admit(repository, proposal)
    elif agent.role in PATIENTS:
        identity.require_own(repository, proposal)
    if agent.role not in STAFF:
        taking_part.ask_all(proposal)
    taking_part.ask(proposal, wanted.actors)
    await times.add_actors(repository, proposal, wanted)
    expiry.set_end(repository, proposal, wanted)
    deadline.set_due(repository, proposal, wanted)
    submitter = agent.client_id or "anonymous"
    own.set_tags(proposal, [{"system": own.SUBMITTER, "code": submitter}])
    if not own_id:
        await contested.tag_if_contested(repository, proposal, wanted)
    return proposal


def _check_elements(proposal: Resource, known: frozenset[str]) -> None:
    unknown = sorted(name for name in proposal if name.removeprefix("_") not in known)
    if unknown:
        issues = [
            Issue("business-rule", f"A proposal has no '{n}'; leave it out.", f"Appointment.{n}") for n in unknown
        ]
        raise Unprocessable(issues=issues)


async def _check_referrals(repository: Repository, proposal: Resource) -> None:
    """A follow-up is asked for on a ServiceRequest that the patient sees. Raises Unprocessable."""
    for n, reference in enumerate(proposal.get("basedOn", ())):
        target = local_reference(str(reference.get("reference", "")), repository.clinic.base_url)
        is_request = target is not None and target.type == "ServiceRequest"
        if target is None or not is_request or await repository.peek("ServiceRequest", target.id) is None:
            raise Unprocessable("There is no such request for a follow-up.", expression=f"Appointment.basedOn[{n}]")


def _check_together(wanted: Wanted) -> None:
    """Slots from outside are one appointment: of one time, or one after the other. Raises Unprocessable."""
    times_of = sorted({(slot.start, slot.end) for slot in wanted.slots})
    follow = all(before[1] == after[0] for before, after in pairwise(times_of))
    if not follow or len(wanted.slots) > MOST_SLOTS:
        raise Unprocessable(
            f"A proposal takes slots of one time or that follow each other, {MOST_SLOTS} at most; make several.",
            expression="Appointment.slot",
        )


async def check_slot(repository: Repository, slot: WantedSlot, own_id: str = "") -> None:
    """The slot is offered and free, and neither too soon nor too far. Raises Conflict, Unprocessable."""
    if repository.access.agent.role not in STAFF and not is_offered(slot.schedule, slot.services):
        raise Unprocessable("This time is not offered any more; choose another.", expression=slot.at)
    taken = len(await takers(repository, slot.stored.id, but=own_id, most=slot.rules.capacity))
    if not await holds.is_free(repository, slot, taken, appointment_id=own_id):
        raise Conflict("This time is not free any more; choose another.", expression=slot.at)
    now, rules = repository.clinic.server.clock(), slot.rules
    if slot.start < now + rules.minimum_notice_minutes * _MINUTE:
        soonest = f"at least {rules.minimum_notice_minutes} minutes ahead" if rules.minimum_notice_minutes else "ahead"
        raise Unprocessable(f"This time is too soon: book {soonest}.", expression=slot.at)
    if slot.start > now + rules.furthest_advance_days * 1_440 * _MINUTE:
        raise Unprocessable(
            f"This time is too far ahead: book at most {rules.furthest_advance_days} days ahead.", expression=slot.at
        )


def check_service(proposal: Resource, wanted: Wanted) -> None:
    """What is asked for is what every slot is for; taken from the slots where the proposal does not say."""
    offered = [codes for slot in wanted.slots if (codes := _codes(slot.resource.get("serviceType", ())))]
    asked = _codes(proposal.get("serviceType", ()))
    if asked and any(not asked & codes for codes in offered):
        raise Unprocessable(
            "The slot is for another service; search Slot by service-type.", expression="Appointment.serviceType"
        )
    if not asked and wanted.slots and "serviceType" in wanted.slots[0].resource:
        proposal["serviceType"] = wanted.slots[0].resource["serviceType"]


def _codes(concepts: Any) -> set[tuple[str, str]]:
    return {(c.get("system", ""), c.get("code", "")) for concept in concepts for c in concept.get("coding", ())}
