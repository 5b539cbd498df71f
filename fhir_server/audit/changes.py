"""The events of what a Unit stored: one for each version, whoever made it (R-10.7)."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from fhir_server.audit.event import Event
from fhir_server.interactions.access import Grant
from fhir_server.interactions.changes import Change
from fhir_server.store.protocol import Stored

_SUBTYPES = {"POST": ("create", "C"), "PUT": ("update", "U"), "PATCH": ("patch", "U"), "DELETE": ("delete", "D")}


def _digest(stored: Stored) -> str:
    """What a client's own AuditEvent says, for ever."""
    return sha256(stored.body).hexdigest() if stored.type == "AuditEvent" and stored.body is not None else ""


def _booking(changes: Sequence[Change]) -> str:
    """The one appointment that was made, or else changed; one that is marked along with a new one is not meant."""
    changed = [change for change in changes if change.stored.type == "Appointment"]
    ids = {change.stored.id for change in changed if change.before == 0} or {change.stored.id for change in changed}
    return ids.pop() if len(ids) == 1 else ""


def events_of(
    changes: Sequence[Change], like: Event, decided: Mapping[tuple[str, str], Grant] | None = None
) -> list[Event]:
    """One event a change, with the time, agent and context of `like`.

    The rule is the server's that decided, else that of the grant which let the change through (`decided`, by type and
    id), else that of `like`.
    """
    made = []
    booking = _booking(changes) or like.booking
    for change in changes:
        stored = change.stored
        grant = (decided or {}).get((stored.type, stored.id))
        subtype, action = _SUBTYPES[stored.method]
        if action == "U" and change.before == 0:
            subtype, action = "create", "C"  # update-as-create made a new resource
        entity = f"{stored.type}/{stored.id}/_history/{stored.version}"
        rule = change.rule or (grant.rule if grant is not None else like.rule)
        # Not dataclasses.replace, which takes as long as the rest of this.
        made.append(
            Event(
                subtype, action, like.outcome, like.recorded, like.client, like.user, like.user_name, like.role,
                like.token_id, like.address, like.request_id, like.correlation, entity, change.before, like.query,
                stored.patients, rule, like.description, change.rule_author,
                purpose=grant.purpose if grant is not None else "",
                booking=stored.id if stored.type == "Appointment" else booking,
                digest=_digest(stored), count=like.count, transaction=like.transaction,
            )
        )  # fmt: skip
    return made
