"""An appointment takes its time: checked against everything at that instant, or overridden with a reason (R-10.6)."""

from typing import Any

from fhir_server.booking import override, preparation, taking_part, times
from fhir_server.booking.conflicts import Occupation, actors, check, check_others
from fhir_server.booking.states import OCCUPYING
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import own
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval

Resource = dict[str, Any]


async def occupy(repository: Repository, before: Resource | None, appointment: Resource, wanted: Wanted) -> None:
    """Check that an appointment can take its time; what the server notes of it is noted on it.

    `before` is the appointment as it was. Raises Conflict, Unprocessable, Forbidden.
    """
    if not repository.is_import:
        taking_part.require_actors(appointment, wanted.actors)
    taking = occupation(repository, (before or {}).get("id", ""), appointment, wanted)
    was_overridden = own.has_tag(appointment, own.BOOKING, "override")
    own.tag(appointment, own.BOOKING, "override", on=False)
    try:
        await check(repository, taking)
    except Conflict:
        if not repository.is_import and override.is_asked(before, appointment):
            override.record(repository, appointment, wanted)
        elif before is not None and _stays(before, appointment):
            # What is in the way was overridden, by this one or by the other: only who is new has to be free.
            await check_others(repository, taking, frozenset(actors(before, Wanted(()))))
            own.tag(appointment, own.BOOKING, "override", on=was_overridden)
        else:
            raise
    _note_buffers(appointment, wanted)


def _stays(before: Resource, after: Resource) -> bool:
    """Whether an appointment takes its slots and time already."""
    return before["status"] in OCCUPYING and not times.is_moved(before, after)


def accept(appointment: Resource, wanted: Wanted) -> None:
    """On confirmation everybody who had not answered takes part, and the patient is told how to prepare."""
    for participant in appointment.get("participant", ()):
        if participant.get("status") in ("needs-action", "tentative"):
            participant["status"] = "accepted"
    preparation.add(appointment, wanted)


def occupation(repository: Repository, id_: str, resource: Resource, wanted: Wanted) -> Occupation:
    """What the appointment would occupy. Raises Unprocessable when it has no time."""
    for name in ("start", "end"):
        if name not in resource:
            raise Unprocessable(f"A booked appointment has its {name}.", expression=f"Appointment.{name}")
    zone = repository.clinic.zone
    start, end = interval(resource["start"], zone)[0], interval(resource["end"], zone)[0]
    if start >= end:
        raise Unprocessable("An appointment ends after it starts.", expression="Appointment.end")
    return Occupation(id_, resource, wanted, start, end)


def _note_buffers(appointment: Resource, wanted: Wanted) -> None:
    minutes = (("before", wanted.rules.buffer_before_minutes), ("after", wanted.rules.buffer_after_minutes))
    parts = [{"url": name, "valueUnsignedInt": value} for name, value in minutes if value]
    own.set_extension(appointment, own.BUFFERS, {"extension": parts} if parts else None)
