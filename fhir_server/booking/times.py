"""When an appointment is, and who takes part: what its slots say (R-8.2, IS-01 §4)."""

from datetime import tzinfo
from typing import Any

from fhir_server.booking import roles, taking_part
from fhir_server.booking.states import OPEN
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.errors import Unprocessable
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval

Resource = dict[str, Any]

# Of a slot, and of an appointment that takes or wants time.
LONGEST_DAYS = 366
LONGEST: Micros = LONGEST_DAYS * 86_400_000_000
_PLACE = ("slot", "start", "end")


def is_moved(before: Resource | None, after: Resource) -> bool:
    """Whether an appointment is new, or takes other slots or another time than before."""
    return before is None or any(before.get(name) != after.get(name) for name in _PLACE)


async def follow_slots(repository: Repository, before: Resource | None, after: Resource, wanted: Wanted) -> None:
    """After a move: the new slots' time where the old one was left as it was, and their actors for the old ones.

    A new time of an open proposal is a new question to them.
    """
    if before is not None and before.get("slot") != after.get("slot"):
        if all(before.get(name) == after.get(name) for name in ("start", "end")) and wanted.slots:
            after.pop("start", None)
            after.pop("end", None)
        gone = set((await look_up(repository, before)).actors) - set(wanted.actors)
        kept = [p for p in after.get("participant", ()) if p.get("actor", {}).get("reference") not in gone]
        after["participant"] = kept
    if after["status"] in OPEN:
        taking_part.ask(after, wanted.actors)
    set_times(after, wanted)
    await add_actors(repository, after, wanted)


def set_times(appointment: Resource, wanted: Wanted) -> None:
    """Start and end span the slots; they are filled in where the appointment leaves them out. Raises Unprocessable."""
    if not wanted.slots:
        return
    first = min(wanted.slots, key=lambda slot: slot.start)
    last = max(wanted.slots, key=lambda slot: slot.end)
    for name, slot, moment in (("start", first, first.start), ("end", last, last.end)):
        given = appointment.setdefault(name, slot.resource[name])
        if interval(given)[0] != moment:
            raise Unprocessable(
                f"The appointment's {name} must be that of its slots, {instant(moment)}.",
                expression=f"Appointment.{name}",
            )


async def add_actors(
    repository: Repository, appointment: Resource, wanted: Wanted, status: str = "needs-action"
) -> None:
    """The schedules' actors take part, and the practitioners of roles that do; they have not agreed yet."""
    participants = appointment.setdefault("participant", [])
    there = {str(p.get("actor", {}).get("reference", "")) for p in participants if p.get("status") != "declined"}
    people = await roles.people_of(repository, there)
    there |= {str(p.get("actor", {}).get("reference", "")) for p in participants}
    for actor in dict.fromkeys((*wanted.actors, *people)):
        if actor not in there:
            participants.append({"actor": {"reference": actor}, "required": "required", "status": status})


def check_order(appointment: Resource) -> None:
    """An appointment ends after it starts, whatever its status. Raises Unprocessable."""
    times = [interval(appointment[name])[0] for name in ("start", "end") if name in appointment]
    if len(times) == 2 and times[0] >= times[1]:
        raise Unprocessable("An appointment ends after it starts.", expression="Appointment.end")


def check_length(resource: Resource, zone: tzinfo) -> None:
    """A time is no longer than anybody means: each of its days is looked at. Raises Unprocessable."""
    if "start" not in resource or "end" not in resource:
        return
    if interval(resource["end"], zone)[0] - interval(resource["start"], zone)[0] > LONGEST:
        raise Unprocessable(
            f"This lasts longer than {LONGEST_DAYS} days; check the years, or make several.",
            expression=f"{resource['resourceType']}.end",
        )


def check_ahead(repository: Repository, appointment: Resource) -> None:
    """What is over is not booked any more. Raises Unprocessable."""
    if "end" in appointment and interval(appointment["end"])[0] <= repository.clinic.server.clock():
        raise Unprocessable("This time is over; choose another.", expression="Appointment.start")


def localise(repository: Repository, appointment: Resource) -> None:
    """Write references to this server's own resources relatively, so that everybody finds them by one name."""
    references = [slot for slot in appointment.get("slot", ()) if isinstance(slot, dict)]
    references += [p["actor"] for p in appointment.get("participant", ()) if isinstance(p.get("actor"), dict)]
    for reference in references:
        text = reference.get("reference", "")
        target = local_reference(text, repository.clinic.base_url) if isinstance(text, str) else None
        if target is not None and not text.startswith("#"):
            reference["reference"] = str(target)
