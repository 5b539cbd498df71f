"""The justified override: a provider books in spite of a conflict, where the clinic's rule allows it (R-10.5).

The reason is the extension `conflict-override` on the appointment, and counts in the write that gives it. The audit
names the rule, and a tag of the server marks the appointment for as long as it is booked there.
"""

from typing import Any

from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import own
from fhir_server.fhir.errors import Forbidden
from fhir_server.interactions.repository import Repository

RULE = "R-10.5 conflict overridden by a provider"


def is_asked(before: dict[str, Any] | None, after: dict[str, Any]) -> bool:
    """Whether a write gives a reason: one that stood there before was for another conflict."""
    return _reason(after) not in ("", _reason(before or {}))


def record(repository: Repository, appointment: dict[str, Any], wanted: Wanted) -> None:
    """Mark an appointment that this caller overrides a conflict for, and have the audit name the rule.

    Raises Forbidden when this caller may not.
    """
    agent = repository.access.agent
    if agent.role != "practitioner" or not agent.is_human:
        raise Forbidden("Only a provider overrides a conflict.", expression="Appointment.extension")
    if not wanted.rules.override:
        raise Forbidden("The clinic's rules for this service allow no override.", expression="Appointment.extension")
    own.tag(appointment, own.BOOKING, "override")
    repository.because = RULE


def _reason(appointment: dict[str, Any]) -> str:
    return str((own.extension(appointment, own.OVERRIDE) or {}).get("valueString", "")).strip()
