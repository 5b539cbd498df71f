"""The events of what a Unit stored: one for each version, whoever made it (R-10.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from fhir_server.audit.event import Event
from fhir_server.interactions.access import Grant
from fhir_server.interactions.changes import Change
from fhir_server.store.protocol import Stored

_SUBTYPES = {"POST": ("create", "C"), "PUT": ("update", "U"), "PATCH": ("patch", "U"), "DELETE": ("delete", "D")}


def _digest(stored: Stored) -> str:
    """What a client's own AuditEvent says, for ever."""
    return sha256(stored.body).hexdigest() if stored.type == "AuditEvent" and stored.body is not None else ""


def events_of(
    changes: Sequence[Change], like: Event, decided: Mapping[tuple[str, str], Grant] | None = None
) -> list[Event]:
    """One event a change, with the time, agent and context of `like`.

    The rule is the server's that decided, else that of the grant which let the change through (`decided`, by type and
    id), else that of `like`.
    """
    made = []
    bookings = {change.stored.id for change in changes if change.stored.type == "Appointment"}
    booking = next(iter(bookings)) if len(bookings) == 1 else like.booking
    for change in changes:
        stored = change.stored
        grant = (decided or {}).get((stored.type, stored.id))
        subtype, action = _SUBTYPES[stored.method]
        if action == "U" and change.before == 0:
            subtype, action = "create", "C"  # update-as-create made a new resource
        made.append(
            replace(
                like,
                subtype=subtype,
                action=action,
                entity=f"{stored.type}/{stored.id}/_history/{stored.version}",
                before=change.before,
                patients=stored.patients,
                rule=change.rule or (grant.rule if grant is not None else like.rule),
                purpose=grant.purpose if grant is not None else "",
                rule_author=change.rule_author,
                digest=_digest(stored),
                booking=stored.id if stored.type == "Appointment" else booking,
            )
        )
    return made
