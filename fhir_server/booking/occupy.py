"""An appointment takes its time: checked against everything at that instant, or overridden with a reason (R-10.6)."""

from typing import Any

from fhir_server.booking import override, preparation, taking_part
from fhir_server.booking.conflicts import Occupation, check
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import own
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval

Resource = dict[str, Any]


async def occupy(repository: Repository, id_: str, appointment: Resource, wanted: Wanted) -> None:
    """Check that an appointment can take its time; what the server notes of it is noted on it.

    Raises Conflict, Unprocessable.
    """
    if not repository.is_import:
        taking_part.require_actors(appointment, wanted.actors)
    asked = not repository.is_import and override.is_asked(repository, appointment, wanted)
    own.tag(appointment, own.BOOKING, "override", on=False)
    try:
        await check(repository, occupation(repository, id_, appointment, wanted))
    except Conflict:
        if not asked:
            raise
        override.record(repository, appointment)
    _note_buffers(appointment, wanted)


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
