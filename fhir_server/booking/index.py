"""Index entries that only the booking rules search by: when an appointment occupies whom, and which slots it takes."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from fhir_server.booking.states import OCCUPYING
from fhir_server.fhir.reference import local_reference
from fhir_server.search.dates import interval
from fhir_server.search.plan import Entries

# Codes that no search parameter has, so that no query can name them.
TIME = "-occupied-time"
ACTOR = "-occupied-actor"
SLOT = "-occupied-slot"


def appointment_entries(appointment: dict[str, Any], zone: tzinfo, base_url: str) -> Entries:
    """The time, actors and slots that an appointment occupies; none unless its status does.

    References are read as `wanted` and `conflicts` read them: an absolute URL below `base_url` is local.
    """
    if appointment.get("status") not in OCCUPYING:
        return {}
    references = [(SLOT, slot.get("reference")) for slot in appointment.get("slot", ())]
    references += [
        (ACTOR, participant.get("actor", {}).get("reference"))
        for participant in appointment.get("participant", ())
        if participant.get("status") != "declined"
    ]
    targets = [(code, local_reference(text, base_url)) for code, text in references if isinstance(text, str)]
    found = dict.fromkeys((code, target.type, target.id) for code, target in targets if target is not None)
    entries: dict[Any, Any] = {"reference": list(found)}
    if "start" in appointment and "end" in appointment:
        start, end = interval(appointment["start"], zone)[0], interval(appointment["end"], zone)[0]
        if start < end:
            entries["date"] = [(TIME, start, end)]
    return entries


OWN_ENTRIES: Mapping[str, Callable[[dict[str, Any], tzinfo, str], Entries]] = {"Appointment": appointment_entries}
