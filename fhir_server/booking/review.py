"""Review: what staff must give to decline a proposal, and what follows for those who were asked (R-4.5)."""

from typing import Any

from fhir_server.booking.states import OPEN, STAFF
from fhir_server.fhir import own
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]


def decide(repository: Repository, before: Resource, after: Resource) -> None:
    """A proposal that staff decline has a reason, and its providers declined. Raises Unprocessable."""
    old, new = before["status"], after["status"]
    if old in OPEN and new not in OPEN:
        for code in ("contested", "overdue"):
            own.tag(after, own.BOOKING, code, on=False)
    if new == "waitlist":  # decided: it waits
        own.tag(after, own.BOOKING, "overdue", on=False)
    if old not in OPEN or new != "cancelled" or repository.access.agent.role not in STAFF:
        return
    if not after.get("cancelationReason"):
        raise Unprocessable(
            "Who declines a proposal says why: give a cancelationReason.", expression="Appointment.cancelationReason"
        )
    for participant in after.get("participant", ()):
        if participant.get("status") in ("needs-action", "tentative"):
            participant["status"] = "declined"
