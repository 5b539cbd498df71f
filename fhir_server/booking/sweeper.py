"""The sweeper: ends holds and proposals whose time is over, so that their slots show as free within a second (R-10.7),
and marks proposals that are overdue.

Any process may sweep. What is over is read again where it is ended, so that two sweepers end a hold once, and that one
ending which changes another proposal stands in nobody's way. What cannot be ended leaves the others to end.
"""

import asyncio
import logging
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath

from fhir_server.audit.changes import events_of
from fhir_server.audit.event import Event
from fhir_server.booking import deadline, expiry, holds, offers, slots
from fhir_server.booking.holds import Hold
from fhir_server.booking.index import EXPIRES, REVIEW_DUE, is_due
from fhir_server.booking.wanted import slot_by_id
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, Unavailable
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Store, Stored, Unit

EVERY_SECONDS = 1.0
AGENT = Agent(role="service", client_id="server", name="sweeper of holds and proposals")
# How many end in one Unit: a commit for each would take long, and one for all would keep others from writing.
TOGETHER = 20
# How long what could not be ended is left alone.
AGAIN: Micros = 60_000_000
_RULE = "R-8.2 hold ended"

_logger = logging.getLogger(__name__)

Failing = dict[str, Micros]  # the appointments that could not be ended, and when to try again


@dataclass(frozen=True, slots=True)
class _Over:
    """What is over: the appointment that it is of, and what ends it."""

    booking: str
    end: Callable[[Repository], Awaitable[None]]


async def sweep(store: Store, clinic: Clinic, failing: Failing | None = None) -> int:
    """End what is over in one clinic, and mark what is overdue; how many there were. `failing` is kept by the caller.

    Raises Unavailable.
    """
    now = clinic.server.clock()
    failing = {} if failing is None else failing
    for booking in [booking for booking, again in failing.items() if again <= now]:
        del failing[booking]

    async def look(unit: Unit) -> list[_Over]:
        expired = await expiry.expired(unit, now, len(failing))
        missed = await deadline.missed(unit, now, len(failing))
        return [
            *(_Over(stored.id, partial(_expire, id_=stored.id)) for stored in expired),
            *(_Over(stored.id, partial(_mark_overdue, id_=stored.id)) for stored in missed),
            *(_Over(hold.appointment_id, partial(_end_hold, hold=hold)) for hold in await holds.ended(unit, now)),
        ]

    looked = await store.run(clinic.name, look, write=False, quick=True)
    found = [each for each in looked if each.booking not in failing]
    for n in range(0, len(found), TOGETHER):
        together = found[n : n + TOGETHER]
        if not await _are_ended(store, clinic, together):
            for each in together:
                if not await _are_ended(store, clinic, [each]):
                    failing[each.booking] = now + AGAIN
    return len(found)


async def _are_ended(store: Store, clinic: Clinic, over: Sequence[_Over]) -> bool:
    """End all of them, or none. Raises Unavailable."""

    async def work(unit: Unit) -> None:
        await _end(Repository(unit, clinic, Access(AGENT)), over)

    try:
        await store.run(clinic.name, work, write=True)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - told by its kind and place alone: what it says may tell of a patient
        if len(over) == 1:
            at = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {PurePath(at.filename).name}:{at.lineno}"
            _logger.warning("something over in '%s' could not be ended, and is tried again: %s", clinic.name, kind)
        return False
    return True


async def _end(repository: Repository, over: Sequence[_Over]) -> None:
    now = repository.clinic.server.clock()
    like = Event("", "", "0", now, client=AGENT.client_id, role=AGENT.role, rule=_RULE)
    for each in over:
        before = len(repository.changes)
        await each.end(repository)
        for event in events_of(repository.changes[before:], replace(like, booking=each.booking)):
            await repository.unit.audit(event.entry())


async def _expire(repository: Repository, *, id_: str) -> None:
    stored = await _due(repository, id_, EXPIRES)
    if stored is not None:
        await expiry.end(repository, stored)


async def _mark_overdue(repository: Repository, *, id_: str) -> None:
    stored = await _due(repository, id_, REVIEW_DUE)
    if stored is not None:
        await deadline.mark(repository, stored)


async def _due(repository: Repository, id_: str, code: str) -> Stored | None:
    """An appointment as it is by now; None when it is not over any more."""
    stored = await repository.unit.read("Appointment", id_)
    if stored is None or stored.body is None:
        return None
    clinic = repository.clinic
    return stored if is_due(json.parse(stored.body), code, clinic.zone, clinic.server.clock()) else None


async def _end_hold(repository: Repository, *, hold: Hold) -> None:
    if hold not in await holds.of_slot(repository.unit, hold.slot_id):
        return
    before = len(repository.changes)
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
    for n, change in enumerate(repository.changes[before:], before):
        rule = _RULE if change.stored.type == "Slot" else change.rule or _RULE
        repository.changes[n] = replace(change, rule=rule)


async def run(store: Store, clinics: Callable[[], Sequence[Clinic]]) -> None:
    """Sweep the clinics that this process serves, until cancelled."""
    failing: defaultdict[str, Failing] = defaultdict(dict)
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for clinic in clinics():
            try:
                await sweep(store, clinic, failing[clinic.name])
            except FhirError:
                _logger.warning("the holds of a clinic could not be swept; the next round tries again")
