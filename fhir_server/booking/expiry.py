"""Proposals end by themselves when nobody has decided on them in time, or their time has begun (R-10.7).

When, stands in the server's extension `proposal-expires`. The sweeper cancels what is over within about a second, and
until then nobody can book it. What staff are reviewing (`pending`) does not expire.
"""

from typing import Any

from fhir_server.booking import slots
from fhir_server.booking.contested import mark
from fhir_server.booking.index import EXPIRES, expires_at
from fhir_server.booking.states import OPEN
from fhir_server.booking.times import is_moved
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Query, Test
from fhir_server.store.protocol import Stored, Unit

Resource = dict[str, Any]

RULE = "R-10.7 proposal expired"
AT_ONCE = 50  # what a sweeper ends in its second
_HOUR = 3_600_000_000


def set_end(repository: Repository, proposal: Resource, wanted: Wanted) -> None:
    """Note when the proposal ends. Raises Unprocessable when it would at once."""
    if note_end(repository, proposal, wanted) <= repository.clinic.server.clock():
        raise Unprocessable("This time has begun; choose another.", expression="Appointment.start")


def renew(repository: Repository, before: Resource, after: Resource, wanted: Wanted) -> None:
    """What staff move, or make a proposal again, ends by its new time, its hours counted anew. Raises Unprocessable."""
    becomes_one = after["status"] == "proposed" != before["status"]
    if after["status"] == "proposed" and (becomes_one or is_moved(before, after)):
        set_end(repository, after, wanted)
    elif after["status"] in OPEN and is_moved(before, after):  # it does not expire as it is, and may be proposed again
        note_end(repository, after, wanted)


def note_end(repository: Repository, proposal: Resource, wanted: Wanted) -> Micros:
    """When the proposal ends: after the clinic's hours, counted from now, or when its time begins."""
    ends = repository.clinic.server.clock() + wanted.rules.proposal_expiry_hours * _HOUR
    begins = [interval(proposal["start"], repository.clinic.zone)[0]] if "start" in proposal else []
    ends = min([ends, *begins])
    own.set_extension(proposal, own.EXPIRES, {"valueInstant": instant(ends)})
    return ends


def check(repository: Repository, before: Resource, after: Resource) -> None:
    """An expired proposal leads to nothing but its end. Raises Unprocessable."""
    if is_over(repository, before) and after["status"] not in ("cancelled", "entered-in-error"):
        raise Unprocessable("This proposal has expired; a new one is needed.", expression="Appointment.status")


def is_over(repository: Repository, appointment: Resource) -> bool:
    """Whether a proposal's time to be decided on is over."""
    expires = expires_at(appointment)
    over = expires is not None and expires <= repository.clinic.server.clock()
    return over and appointment["status"] == "proposed"


async def expired(unit: Unit, now: Micros, beside: int = 0) -> list[Stored]:
    """Some of the proposals that are over, though as many as `beside` of them are of no use."""
    query = Query("Appointment", Test(EXPIRES, "date", Interval(Box(lo_below=now + 1))), count=AT_ONCE + beside)
    return list((await unit.search(query)).matches)


async def end(repository: Repository, stored: Stored, *, why: str = "expired", rule: str = RULE) -> None:
    """Cancel an appointment that nobody decided on in time, and give back what it held."""
    assert stored.body is not None
    before = json.parse(stored.body)
    after = json.parse(stored.body)
    after["status"] = "cancelled"
    after["cancelationReason"] = {"coding": [{"system": f"{own.CODES}cancelation", "code": why}]}
    for code in ("contested", "held", "overdue", "place-free"):
        own.tag(after, own.BOOKING, code, on=False)
    wanted = await look_up(repository, before, lenient=True)
    await repository.put(stored, after, rule=rule)
    await slots.settle_all(repository, stored.id, wanted)
    await mark(repository, after, before, wanted)
