"""Slots follow the capacity of their service: when it changes, those that are taken are full or not any more (R-8.2).

Of a service with more appointments ahead than one Unit settles, the first: whoever owns a later slot sets it free.
"""

from fhir_server.booking import slots
from fhir_server.booking.index import ACTOR, TIME
from fhir_server.booking.wanted import slot_by_id
from fhir_server.fhir import json
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Query, Sort, Target, Test, all_of

RULE = "R-8.2 slot follows its service"


async def settle(repository: Repository, service_id: str) -> None:
    """Bring the slots into line that the service's appointments take, from now on."""
    ahead = Test(TIME, "date", Interval(Box(hi_above=repository.clinic.server.clock())))
    where = all_of(Test(ACTOR, "reference", Target(service_id, "HealthcareService")), ahead)
    page = await repository.unit.search(Query("Appointment", where, (Sort(TIME, "date"),), slots.MOST_AT_ONCE))
    appointments = [json.parse(stored.body) for stored in page.matches if stored.body is not None]
    references = [str(slot.get("reference", "")) for each in appointments for slot in each.get("slot", ())]
    for reference in dict.fromkeys(references):
        target = local_reference(reference, repository.clinic.base_url)
        slot = await slot_by_id(repository, target.id) if target is not None else None
        if slot is not None:
            await slots.settle(repository, slot, rule=RULE, took=True)
