"""Schedule/$generate-slots, $close and $reopen: a provider's availability in bulk (R-5.1, R-7.15)."""

from datetime import date
from typing import Any

from fhir_server.booking import closing
from fhir_server.booking.generate import generate
from fhir_server.booking.operations import parameters
from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import ended, interval

_DAYS = {"schedule": ("valueReference", 1), "start": ("valueDate", 1), "end": ("valueDate", 1)}
_RANGE = {"schedule": ("valueReference", 1), "start": ("valueDateTime", 1), "end": ("valueDateTime", 1)}


async def generate_slots(call: Call, repository: Repository) -> Answer:
    """Make the free slots of some days; how many were made, were there, and were left out for they would overlap."""
    repository.granted("Slot", "c")
    found = parameters.read(call, _DAYS)
    schedule = await _schedule(call, repository, found)
    try:
        first, last = (date.fromisoformat(str(parameters.one(found, name))) for name in ("start", "end"))
    except ValueError as error:
        raise BadRequest("'start' and 'end' are whole days such as 2026-11-22.", expression="start") from error
    made = await generate(repository, schedule, first, last)
    return _answer(made=made.made, there=made.there, left_out=made.left_out)


async def close(call: Call, repository: Repository) -> Answer:
    """Close a range: how many slots were closed, and how many are taken and stay."""
    schedule, lo, hi = await _range(call, repository)
    closed, left = await closing.close(repository, schedule, lo, hi)
    return _answer(closed=closed, taken=left)


async def reopen(call: Call, repository: Repository) -> Answer:
    """Reopen what was closed in a range: how many slots."""
    return _answer(reopened=await closing.reopen(repository, *await _range(call, repository)))


async def _range(call: Call, repository: Repository) -> tuple[str, int, int]:
    repository.granted("Slot", "u")
    found = parameters.read(call, _RANGE)
    try:
        lo = interval(str(parameters.one(found, "start")), call.clinic.zone)[0]
        hi = ended(str(parameters.one(found, "end")), call.clinic.zone)
    except ValueError as error:
        raise BadRequest("'start' and 'end' are dateTimes.", expression="start") from error
    if lo >= hi:
        raise BadRequest("The range ends after it starts.", expression="end")
    return await _schedule(call, repository, found), lo, hi


async def _schedule(call: Call, repository: Repository, found: dict[str, list[Any]]) -> str:
    target = parameters.target(call, parameters.one(found, "schedule"), "Schedule", "schedule")
    return (await repository.read("Schedule", target.id)).id


def _answer(**counts: int) -> Answer:
    made = [{"name": name.replace("_", "-"), "valueInteger": count} for name, count in counts.items()]
    return Answer(200, json.serialise({"resourceType": "Parameters", "parameter": made}))
