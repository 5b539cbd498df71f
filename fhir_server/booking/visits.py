"""The visit: an Encounter belongs to the appointment that it names (R-4.8)."""

from typing import Any

from fhir_server.booking.states import OCCUPYING
from fhir_server.fhir import json
from fhir_server.fhir.errors import Unprocessable
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]

_UNDER_WAY = frozenset({"arrived", "triaged", "in-progress", "onleave", "finished"})


async def encounter(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The write rule of Encounter: its appointments are its patient's, and booked when it begins.

    Raises Unprocessable.
    """
    if after is None or repository.is_import or _place(before) == _place(after):
        return after
    for n, reference in enumerate(after.get("appointment", ())):
        at = f"Encounter.appointment[{n}]"
        appointment = await _appointment(repository, reference)
        if appointment is None:
            raise Unprocessable("There is no such appointment here.", expression=at)
        people = [p.get("actor", {}).get("reference") for p in appointment.get("participant", ())]
        subject = local_reference(str(after.get("subject", {}).get("reference", "")), repository.clinic.base_url)
        if str(subject) not in people:
            raise Unprocessable("This appointment is another patient's.", expression=at)
        if after["status"] in _UNDER_WAY and appointment["status"] not in OCCUPYING:
            raise Unprocessable(
                f"The appointment is {appointment['status']}; a visit begins from one that is booked.", expression=at
            )
    return after


def _place(encounter: Resource | None) -> tuple[Any, ...]:
    return tuple((encounter or {}).get(name) for name in ("appointment", "subject", "status"))


async def _appointment(repository: Repository, reference: Resource) -> Resource | None:
    target = local_reference(str(reference.get("reference", "")), repository.clinic.base_url)
    if target is None or target.type != "Appointment":
        return None
    stored = await repository.peek("Appointment", target.id)
    return json.parse(stored.body) if stored is not None and stored.body is not None else None
