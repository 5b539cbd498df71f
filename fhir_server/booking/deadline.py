"""Until when a clinic wants its proposals decided on, and which are overdue (R-4.5).

When, stands in the server's extension `review-due`. Once it is over, the sweeper marks the proposal by the tag
`booking|overdue`, so that staff find it: nothing else becomes of it.
"""

from fhir_server.booking.index import REVIEW_DUE
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros, instant
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Query, Test
from fhir_server.store.protocol import Stored, Unit

RULE = "R-4.5 review overdue"
CODE = "overdue"
_HOUR = 3_600_000_000
_AT_ONCE = 50


def set_due(repository: Repository, proposal: dict[str, object], wanted: Wanted) -> None:
    """Note until when the clinic's rule wants a decision, if it does."""
    hours = wanted.rules.review_hours
    due = instant(repository.clinic.server.clock() + hours * _HOUR)
    own.set_extension(proposal, own.REVIEW_DUE, {"valueInstant": due} if hours else None)


async def missed(unit: Unit, now: Micros, beside: int = 0) -> list[Stored]:
    """Some of the open proposals that are overdue and not marked yet, though `beside` of them are of no use."""
    query = Query("Appointment", Test(REVIEW_DUE, "date", Interval(Box(lo_below=now + 1))), count=_AT_ONCE + beside)
    return list((await unit.search(query)).matches)


async def mark(repository: Repository, stored: Stored) -> None:
    """Mark a proposal as overdue."""
    assert stored.body is not None
    resource = json.parse(stored.body)
    own.tag(resource, own.BOOKING, CODE)
    await repository.put(stored, resource, rule=RULE)
