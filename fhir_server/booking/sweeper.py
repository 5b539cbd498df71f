"""The sweeper: ends holds whose time is over, so that their slots show as free within a second (R-10.7).

Any process may sweep; each ending is a Unit, so that two sweepers end a hold once.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from fhir_server.audit.changes import events_of
from fhir_server.audit.event import Event
from fhir_server.booking import holds
from fhir_server.booking.wanted import slot_by_id
from fhir_server.booking.write_rules import settle
from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Store, Unit

EVERY_SECONDS = 1.0
AGENT = Agent(role="service", client_id="server", name="sweeper of holds")
_RULE = "R-8.2 hold ended"

_logger = logging.getLogger(__name__)


async def sweep(store: Store, clinic: Clinic) -> int:
    """End the holds of one clinic that are over; how many there were."""
    now = clinic.server.clock()

    async def look(unit: Unit) -> int:
        return len(await holds.ended(unit, now))

    async def end(unit: Unit) -> None:
        repository = Repository(unit, clinic, Access(AGENT))
        for hold in await holds.ended(unit, now):
            slot = await slot_by_id(repository, hold.slot_id)
            if slot is None:
                await unit.take(holds.KIND, hold.slot_id)
            else:
                await settle(repository, slot)
        like = Event("", "", "0", now, client=AGENT.client_id, role=AGENT.role, rule=_RULE)
        for event in events_of(repository.changes, like):
            await unit.audit(event.entry())

    found = await store.run(clinic.name, look, write=False, quick=True)
    if found:
        await store.run(clinic.name, end, write=True)
    return found


async def run(store: Store, clinics: Callable[[], Sequence[Clinic]]) -> None:
    """Sweep the clinics that this process serves, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        for clinic in clinics():
            try:
                await sweep(store, clinic)
            except FhirError:
                _logger.warning("the holds of a clinic could not be swept; the next round tries again")
