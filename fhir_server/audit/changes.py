"""The events of what a Unit stored: one for each version, whoever made it (R-10.7)."""

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.audit.event import Event
from fhir_server.interactions.repository import Change

_SUBTYPES = {"POST": ("create", "C"), "PUT": ("update", "U"), "PATCH": ("patch", "U"), "DELETE": ("delete", "D")}


def events_of(changes: Sequence[Change], like: Event) -> list[Event]:
    """One event a change, with the time, agent and context of `like`, whose `rule` stands where none decided."""
    made = []
    for change in changes:
        stored = change.stored
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
                rule=change.rule or like.rule,
            )
        )
    return made
