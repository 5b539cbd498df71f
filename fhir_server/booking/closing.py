"""Closing a range of a schedule, and reopening it: free slots become unavailable and back; taken ones stay (R-7.15)."""

from typing import Any

from fhir_server.booking import waitlist
from fhir_server.booking.guards import guard_slots
from fhir_server.booking.index import free_in
from fhir_server.booking.slots import CLOSED, MOST_AT_ONCE, due
from fhir_server.booking.times import LONGEST
from fhir_server.booking.wanted import slot_by_id
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Node, Query, Target, Test, Token, all_of
from fhir_server.store.protocol import Stored

_MOST = 100_000

_Found = tuple[Stored, dict[str, Any]]


async def close(repository: Repository, schedule_id: str, lo: Micros, hi: Micros) -> tuple[int, int]:
    """Close the free slots that lie in the range: how many, and how many stay for they are taken or held."""
    free = Test(free_in(schedule_id), "date", Interval(Box(lo_below=hi, hi_above=lo)))
    closed = await _set(repository, await _found(repository, free), "busy-unavailable", closed=True)
    there = [slot for _, slot in await _in_range(repository, schedule_id, lo, hi)]
    return closed, sum(slot["status"] in ("busy", "busy-tentative") for slot in there)


async def reopen(repository: Repository, schedule_id: str, lo: Micros, hi: Micros) -> int:
    """Open the slots in the range that `close` closed; what staff marked otherwise stays, and what is taken is busy."""
    tagged = Test("_tag", "token", Token(CLOSED, own.BOOKING))
    found = await _in_range(repository, schedule_id, lo, hi, tagged)
    closed = [each for each in found if each[1]["status"] == "busy-unavailable"]
    return await _set(repository, closed, "", closed=False)


async def _in_range(repository: Repository, schedule_id: str, lo: Micros, hi: Micros, *more: Node) -> list[_Found]:
    """The slots of a schedule that overlap a range, whatever their status; so does what began before it."""
    on = Test("schedule", "reference", Target(schedule_id, "Schedule"))
    time = Test("start", "date", Interval(Box(lo_from=lo - LONGEST, lo_below=hi)))
    found = await _found(repository, all_of(on, time, *more))
    return [(stored, slot) for stored, slot in found if interval(slot["end"])[0] > lo]


async def _found(repository: Repository, where: Node) -> list[_Found]:
    page = await repository.unit.search(Query("Slot", where, count=_MOST))
    return [(stored, json.parse(stored.body)) for stored in page.matches if stored.body is not None]


async def _due(repository: Repository, slot_id: str) -> str:
    await guard_slots(repository, (slot_id,))
    slot = await slot_by_id(repository, slot_id)
    return await due(repository, slot) if slot is not None else "free"


async def _set(repository: Repository, found: list[_Found], status: str, *, closed: bool) -> int:
    """Give the slots a status; '' for what follows from who takes them."""
    if len(found) > MOST_AT_ONCE:
        raise Unprocessable(
            f"In this range are {len(found)} such slots, {MOST_AT_ONCE} at most; name a shorter one.", expression="end"
        )
    for stored, slot in found:
        slot |= {"status": status or await _due(repository, stored.id)}
        own.tag(slot, own.BOOKING, CLOSED, on=closed)
        await repository.put(stored, slot, rule=f"R-7.15 range {'closed' if closed else 'reopened'}")
        await waitlist.tell(repository, stored.id)
    return len(found)
