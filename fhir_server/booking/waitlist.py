"""Who waits for a place: told when there is one, and promoted by people alone (R-10.5).

An appointment of status `waitlist` whose slots are all free carries the tag `booking|place-free`, until one is taken or
it leaves the list. Staff then make it `pending` or `booked`; nothing is booked for anybody by itself.
"""

from typing import Any

from fhir_server.booking import near
from fhir_server.booking.guards import guard_slots
from fhir_server.booking.index import WANTED_SLOT
from fhir_server.booking.wanted import look_up
from fhir_server.fhir import json, own
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query, Target, Test, Token, all_of
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

RULE = "R-10.5 place free for the waiting list"
CODE = "place-free"
_MOST = 1_000


async def tell(repository: Repository, slot_id: str) -> None:
    """Mark those who wait for a slot, or take the mark away, after its status has changed."""
    waits = Test("status", "token", Token("waitlist", None))
    where = all_of(Test(WANTED_SLOT, "reference", Target(slot_id, "Slot")), waits)
    query = Query("Appointment", where, count=_MOST)
    for stored in (await near.search(repository, query, near.about_slots((slot_id,)))).matches:
        await tell_one(repository, stored)


async def tell_one(repository: Repository, stored: Stored) -> None:
    """Mark one who waits if all of its slots are free, else take the mark away."""
    assert stored.body is not None
    resource = json.parse(stored.body)
    slots = (await look_up(repository, resource, lenient=True)).slots
    await guard_slots(repository, (slot.stored.id for slot in slots))
    is_free = bool(slots) and all(slot.resource["status"] == "free" for slot in slots)
    if is_free != own.has_tag(resource, own.BOOKING, CODE):
        own.tag(resource, own.BOOKING, CODE, on=is_free)
        await repository.put(stored, resource, rule=RULE)


def leave(before: Resource, after: Resource) -> None:
    """Who leaves the list is not marked any more."""
    if before["status"] == "waitlist" and after["status"] != "waitlist":
        own.tag(after, own.BOOKING, CODE, on=False)
