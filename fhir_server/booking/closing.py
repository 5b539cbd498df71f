"""Closing a range of a schedule, and reopening it: free slots become unavailable and back; taken ones stay (R-7.15)."""

from fhir_server.booking import waitlist
from fhir_server.booking.index import free_in
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Node, Query, Target, Test, Token, all_of

_MOST = 100_000
_CODE = "closed"


async def close(repository: Repository, schedule_id: str, lo: Micros, hi: Micros) -> tuple[int, int]:
    """Close the free slots that lie in the range: how many, and how many stay for they are taken or held."""
    free = Test(free_in(schedule_id), "date", Interval(Box(lo_below=hi, hi_above=lo)))
    closed = await _set(repository, free, "busy-unavailable", closed=True)
    on = Test("schedule", "reference", Target(schedule_id, "Schedule"))
    time = Test("start", "date", Interval(Box(lo_from=lo, lo_below=hi)))
    left = 0
    for stored in (await repository.unit.search(Query("Slot", all_of(on, time), count=_MOST))).matches:
        assert stored.body is not None
        left += json.parse(stored.body)["status"] in ("busy", "busy-tentative")
    return closed, left


async def reopen(repository: Repository, schedule_id: str, lo: Micros, hi: Micros) -> int:
    """Free the slots in the range that `close` closed; what staff marked otherwise stays."""
    on = Test("schedule", "reference", Target(schedule_id, "Schedule"))
    time = Test("start", "date", Interval(Box(lo_from=lo, lo_below=hi)))
    tagged = Test("_tag", "token", Token(_CODE, own.BOOKING))
    return await _set(repository, all_of(on, time, tagged), "free", closed=False)


async def _set(repository: Repository, where: Node, status: str, *, closed: bool) -> int:
    found = (await repository.unit.search(Query("Slot", where, count=_MOST))).matches
    for stored in found:
        assert stored.body is not None
        slot = json.parse(stored.body) | {"status": status}
        own.tag(slot, own.BOOKING, _CODE, on=closed)
        await repository.put(stored, slot, rule=f"R-7.15 range {'closed' if closed else 'reopened'}")
        await waitlist.tell(repository, stored.id)
    return len(found)
