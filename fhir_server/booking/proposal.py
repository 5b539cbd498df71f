"""A booking proposal: intent that a person submits, checked against the slots it wants (R-4.2, R-4.3, R-7.19)."""

from typing import Any

from fhir_server.booking import holds, identity
from fhir_server.booking.states import PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted, WantedSlot
from fhir_server.fhir import own
from fhir_server.fhir.clock import instant
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval

Resource = dict[str, Any]

# What somebody from outside may say in a proposal.
ELEMENTS = frozenset(
    ("resourceType", "id", "meta", "language", "contained", "status", "serviceCategory", "serviceType", "specialty",
     "appointmentType", "reasonCode", "comment", "start", "end", "slot", "participant", "requestedPeriod",
     "minutesDuration", "description")
)  # fmt: skip
_MINUTE = 60_000_000


async def prepare(repository: Repository, proposal: Resource, wanted: Wanted) -> Resource:
    """The proposal as it is stored. Raises Unprocessable, Conflict; a new person becomes a provisional Patient."""
    agent = repository.access.agent
    if agent.role not in STAFF:
        _check_elements(proposal)
        if not wanted.slots:
            raise Unprocessable("A proposal names the slot that it wants.", expression="Appointment.slot")
    for slot in wanted.slots:
        await _check_slot(repository, slot)
    _check_service(proposal, wanted)
    _set_times(proposal, wanted)
    if agent.role in ("public", "website"):
        await identity.admit(repository, proposal)
    elif agent.role in PATIENTS:
        identity.require_own(repository, proposal)
    add_actors(proposal, wanted, "needs-action")
    submitter = agent.client_id or "anonymous"
    own.set_tags(proposal, [{"system": own.SUBMITTER, "code": submitter}])
    return proposal


def _check_elements(proposal: Resource) -> None:
    unknown = sorted(name for name in proposal if name.removeprefix("_") not in ELEMENTS)
    if unknown:
        issues = [
            Issue("business-rule", f"A proposal has no '{n}'; leave it out.", f"Appointment.{n}") for n in unknown
        ]
        raise Unprocessable(issues=issues)


async def _check_slot(repository: Repository, slot: WantedSlot) -> None:
    """The slot is free, and neither too soon nor too far."""
    if not await holds.is_free(repository, slot):
        raise Conflict("This time is not free any more; choose another.", expression=slot.at)
    now, rules = repository.clinic.server.clock(), slot.rules
    if slot.start < now + rules.minimum_notice_minutes * _MINUTE:
        soonest = f"at least {rules.minimum_notice_minutes} minutes ahead" if rules.minimum_notice_minutes else "ahead"
        raise Unprocessable(f"This time is too soon: book {soonest}.", expression=slot.at)
    if slot.start > now + rules.furthest_advance_days * 1_440 * _MINUTE:
        raise Unprocessable(
            f"This time is too far ahead: book at most {rules.furthest_advance_days} days ahead.", expression=slot.at
        )


def _check_service(proposal: Resource, wanted: Wanted) -> None:
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


def _set_times(proposal: Resource, wanted: Wanted) -> None:
    """Start and end span the slots; they are filled in where the proposal leaves them out."""
    if not wanted.slots:
        return
    first = min(wanted.slots, key=lambda slot: slot.start)
    last = max(wanted.slots, key=lambda slot: slot.end)
    for name, slot, moment in (("start", first, first.start), ("end", last, last.end)):
        given = proposal.setdefault(name, slot.resource[name])
        if interval(given)[0] != moment:
            raise Unprocessable(
                f"The appointment's {name} must be that of its slots, {instant(moment)}.",
                expression=f"Appointment.{name}",
            )


def add_actors(appointment: Resource, wanted: Wanted, status: str) -> None:
    """The schedules' actors take part: their time is taken with the slots, whoever wrote the appointment."""
    participants = appointment.setdefault("participant", [])
    there = {participant.get("actor", {}).get("reference") for participant in participants}
    for actor in wanted.actors:
        if actor not in there:
            participants.append({"actor": {"reference": actor}, "required": "required", "status": status})
