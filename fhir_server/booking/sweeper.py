"""The sweeper: ends holds and proposals whose time is over, so that their slots show as free within a second (R-10.7),
and marks proposals that are overdue.

Any process may sweep; each ending is a Unit, so that two sweepers end a hold once.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from fhir_server.audit.changes import events_of
from fhir_server.audit.event import Event
from fhir_server.booking import deadline, expiry, holds, offers, slots
from fhir_server.booking.holds import Hold
from fhir_server.booking.wanted import slot_by_id
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.changes import Change
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Store, Unit

EVERY_SECONDS = 1.0
AGENT = Agent(role="service", client_id="server", name="sweeper of holds and proposals")
_RULE = "R-8.2 hold ended"

_logger = logging.getLogger(__name__)


async def sweep(store: Store, clinic: Clinic) -> int:
    """End what is over in one clinic, and mark what is overdue; how many there were."""
    now = clinic.server.clock()

    async def look(unit: Unit) -> int:
        proposals = [*await expiry.expired(unit, now), *await deadline.missed(unit, now)]
        return len(await holds.ended(unit, now)) + len(proposals)

    async def end(unit: Unit) -> None:
        repository = Repository(unit, clinic, Access(AGENT))
        like = Event("", "", "0", now, client=AGENT.client_id, role=AGENT.role, rule=_RULE)
        for stored in await expiry.expired(unit, now):
            before = len(repository.changes)
            await expiry.end(repository, stored)
            await _audit(unit, repository.changes[before:], replace(like, booking=stored.id))
        for stored in await deadline.missed(unit, now):
            before = len(repository.changes)
            await deadline.mark(repository, stored)
            await _audit(unit, repository.changes[before:], replace(like, booking=stored.id))
        for hold in await holds.ended(unit, now):
            before = len(repository.changes)
            await _end_hold(repository, hold)
            ended = [replace(change, rule=_rule_of(change)) for change in repository.changes[before:]]
            await _audit(unit, ended, replace(like, booking=hold.appointment_id))

    found = await store.run(clinic.name, look, write=False, quick=True)
    if found:
        await store.run(clinic.name, end, write=True)
    return found


async def _audit(unit: Unit, changes: Sequence[Change], like: Event) -> None:
    for event in events_of(changes, like):
        await unit.audit(event.entry())


def _rule_of(change: Change) -> str:
    return _RULE if change.stored.type == "Slot" else change.rule or _RULE


async def _end_hold(repository: Repository, hold: Hold) -> None:
    stored = await repository.unit.read("Appointment", hold.appointment_id)
    # What was held by $hold alone ends with its hold; a proposal goes on without, one whose offer has ended as before.
    if stored is not None and stored.body is not None:
        resource = json.parse(stored.body)
        if resource["status"] == "pending" and own.has_tag(resource, own.BOOKING, "held"):
            await expiry.end(repository, stored, why="hold-ended", rule=_RULE)
        elif resource["status"] == "pending" and own.has_tag(resource, own.BOOKING, "offered"):
            await offers.lapse(repository, stored, resource)
    slot = await slot_by_id(repository, hold.slot_id)
    if slot is None:
        await repository.unit.take(holds.KIND, hold.slot_id)
    else:
        await slots.settle(repository, slot, hold.appointment_id)


async def run(store: Store, clinics: Callable[[], Sequence[Clinic]]) -> None:
    """Sweep the clinics that this process serves, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for clinic in clinics():
            try:
                await sweep(store, clinic)
            except FhirError:
                _logger.warning("the holds of a clinic could not be swept; the next round tries again")
