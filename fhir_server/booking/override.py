"""The justified override: a provider books in spite of a conflict, where the clinic's rule allows it (R-10.5).

The reason is the extension `conflict-override` on the appointment; the audit names the rule, and a tag of the server
marks the appointment for as long as it is booked.
"""

from typing import Any

from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import own
from fhir_server.fhir.errors import Forbidden
from fhir_server.interactions.repository import Repository

RULE = "R-10.5 conflict overridden by a provider"


def is_asked(repository: Repository, appointment: dict[str, Any], wanted: Wanted) -> bool:
    """Whether the appointment carries a reason, and this caller may override. Raises Forbidden when it may not."""
    reason = str((own.extension(appointment, own.OVERRIDE) or {}).get("valueString", "")).strip()
    if not reason:
        return False
    agent = repository.access.agent
    if agent.role != "practitioner" or not agent.is_human:
        raise Forbidden("Only a provider overrides a conflict.", expression="Appointment.extension")
    if not wanted.rules.override:
        raise Forbidden("The clinic's rules for this service allow no override.", expression="Appointment.extension")
    return True


def record(repository: Repository, appointment: dict[str, Any]) -> None:
    """Mark the appointment, and have the audit name the rule."""
    own.tag(appointment, own.BOOKING, "override")
    repository.because = RULE
