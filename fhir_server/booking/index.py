"""Index entries that only the booking rules search by.

Of an appointment: when it occupies whom and which slots, what an open proposal wants, and when it expires. Of a slot:
that it is free, over all schedules and for its own.
"""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from fhir_server.booking.states import OCCUPYING, OPEN
from fhir_server.fhir import own
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.reference import local_reference
from fhir_server.search.dates import interval
from fhir_server.search.plan import Entries

# Codes that no search parameter has, so that no query can name them.
TIME = "-occupied-time"
BLOCKED = "-blocked-time"  # the same, with the buffers of its services; only where there are any
ACTOR = "-occupied-actor"
SLOT = "-occupied-slot"
WANTED_TIME = "-wanted-time"
WANTED_ACTOR = "-wanted-actor"
WANTED_SLOT = "-wanted-slot"
EXPIRES = "-expires"
REVIEW_DUE = "-review-due"
FREE = "-free"
NEAR = "-near"  # the halves of hours, days or more in which somebody's time is taken or wanted (`pieces`)
_MINUTE = 60_000_000
_HALF_HOUR, _DAY = 30 * _MINUTE, 1_440 * _MINUTE
_MOST_HALF_HOURS, _MOST_DAYS = 8, 31
_ALONE = frozenset({"Practitioner", "PractitionerRole", "Patient", "Device", "Location"})


def free_in(schedule_id: str) -> str:
    """The code of a schedule's own free slots."""
    return f"{FREE}@{schedule_id}"


def free_for(system: str, code: str) -> str:
    """The code of the free slots for a service; of those that name none when both are empty."""
    return f"{FREE}+{system}|{code}"


def appointment_entries(appointment: dict[str, Any], zone: tzinfo, base_url: str) -> Entries:
    """What an appointment occupies, or wants; none once it is over.

    References are read as `wanted` and `conflicts` read them: an absolute URL below `base_url` is local.
    """
    status = appointment.get("status")
    if status in OCCUPYING:
        codes = (SLOT, ACTOR, TIME)
    elif status in OPEN:
        codes = (WANTED_SLOT, WANTED_ACTOR, WANTED_TIME)
    else:
        return {}
    entries: dict[Any, Any] = {"reference": _references(appointment, codes[0], codes[1], base_url)}
    dates = []
    if "start" in appointment and "end" in appointment:
        start, end = interval(appointment["start"], zone)[0], interval(appointment["end"], zone)[0]
        if start < end:
            dates.append((codes[2], start, end))
            before, after = buffers(appointment)
            if status in OCCUPYING and (before or after):
                dates.append((BLOCKED, start - before, end + after))
            entries["token"] = [
                (NEAR, near(f"{type_}/{id_}", piece), "")
                for _, type_, id_ in entries["reference"]
                if type_ in _ALONE
                for piece in _pieces(start - before, end + after)
            ]
    if status in OPEN:
        dates += [(code, moment, moment + 1) for code, moment in _ends(appointment, zone)]
    return entries | ({"date": dates} if dates else {})


def slot_entries(slot: dict[str, Any], zone: tzinfo, base_url: str) -> Entries:
    """That a slot is free, and when."""
    schedule = local_reference(slot.get("schedule", {}).get("reference", ""), base_url)
    if slot.get("status") != "free" or schedule is None:
        return {}
    start, end = interval(slot["start"], zone)[0], interval(slot["end"], zone)[0]
    codings = [coding for concept in slot.get("serviceType", ()) for coding in concept.get("coding", ())]
    services = [free_for(coding.get("system", ""), coding.get("code", "")) for coding in codings] or [free_for("", "")]
    codes = dict.fromkeys((FREE, free_in(schedule.id), *services))
    return {"date": [(code, start, end) for code in codes]} if start < end else {}


def near(actor: str, piece: str) -> str:
    """The code under which an appointment is found by somebody and a piece of time."""
    return f"{actor}/{piece}"


def pieces_around(start: Micros, end: Micros) -> list[str]:
    """The pieces of time of all appointments that overlap one, and of some that do not."""
    return [*_each("h", start, end, _HALF_HOUR), *_each("d", start, end, _DAY), "long"]


def _pieces(start: Micros, end: Micros) -> list[str]:
    """The pieces of time in which an appointment is: few, however long it is."""
    if end - start <= _MOST_HALF_HOURS * _HALF_HOUR:
        return _each("h", start, end, _HALF_HOUR)
    return _each("d", start, end, _DAY) if end - start <= _MOST_DAYS * _DAY else ["long"]


def _each(letter: str, start: Micros, end: Micros, length: Micros) -> list[str]:
    return [f"{letter}{n}" for n in range(start // length, (end - 1) // length + 1)]


def buffers(appointment: dict[str, Any]) -> tuple[Micros, Micros]:
    """What is kept free before and after a booked appointment."""
    parts = (own.extension(appointment, own.BUFFERS) or {}).get("extension", ())
    minutes = {part.get("url"): part.get("valueUnsignedInt", 0) for part in parts}
    return minutes.get("before", 0) * _MINUTE, minutes.get("after", 0) * _MINUTE


def expires_at(appointment: dict[str, Any]) -> Micros | None:
    """When a proposal ends if nobody decides on it."""
    return _instant(appointment, own.EXPIRES)


def is_due(appointment: dict[str, Any], code: str, zone: tzinfo, now: Micros) -> bool:
    """Whether what an appointment is found by under EXPIRES or REVIEW_DUE has come."""
    if appointment["status"] not in OPEN:
        return False
    return any(found == code and moment <= now for found, moment in _ends(appointment, zone))


def _ends(appointment: dict[str, Any], zone: tzinfo) -> list[tuple[str, Micros]]:
    """When something comes to an open appointment by itself: its end, or the end of the time to decide on it.

    Who waits for a place waits until the time begins, and nobody has to decide before.
    """
    if appointment["status"] == "waitlist":
        return [(EXPIRES, interval(appointment["start"], zone)[0])] if "start" in appointment else []
    found = []
    expires, due = expires_at(appointment), _instant(appointment, own.REVIEW_DUE)
    if appointment["status"] == "proposed" and expires is not None:
        found.append((EXPIRES, expires))
    if due is not None and not own.has_tag(appointment, own.BOOKING, "overdue"):
        found.append((REVIEW_DUE, due))
    return found


def _instant(appointment: dict[str, Any], url: str) -> Micros | None:
    text = (own.extension(appointment, url) or {}).get("valueInstant")
    return interval(text)[0] if text is not None else None


def occupied_beside(appointment: dict[str, Any]) -> list[str]:
    """The references of whose time an imported appointment takes beside its participants'."""
    parts = (own.extension(appointment, own.OCCUPIES) or {}).get("extension", ())
    return [str(part.get("valueReference", {}).get("reference", "")) for part in parts]


def _references(
    appointment: dict[str, Any], slot_code: str, actor_code: str, base_url: str
) -> list[tuple[str, str, str]]:
    references = [(slot_code, slot.get("reference")) for slot in appointment.get("slot", ())]
    references += [
        (actor_code, participant.get("actor", {}).get("reference"))
        for participant in appointment.get("participant", ())
        if participant.get("status") != "declined"
    ]
    references += [(actor_code, text) for text in occupied_beside(appointment)]
    targets = [(code, local_reference(text, base_url)) for code, text in references if isinstance(text, str)]
    return list(dict.fromkeys((code, target.type, target.id) for code, target in targets if target is not None))


OWN_ENTRIES: Mapping[str, Callable[[dict[str, Any], tzinfo, str], Entries]] = {
    "Appointment": appointment_entries,
    "Slot": slot_entries,
}
