"""What a patient, or whoever submitted a proposal, may change of an appointment: its end (R-7.20, R-10.4)."""

from typing import Any

from fhir_server.booking.states import OPEN, PATIENTS
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import own
from fhir_server.fhir.errors import Forbidden, Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval

Resource = dict[str, Any]

_HOUR = 3_600_000_000
_ELEMENTS = frozenset({"status", "cancelationReason", "meta"})


def check(repository: Repository, before: Resource, after: Resource, wanted: Wanted) -> None:
    """A patient cancels, within the clinic's window, and changes nothing else. Raises Forbidden, Unprocessable."""
    agent = repository.access.agent
    if agent.role not in (*PATIENTS, "public", "website"):
        return
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not _ELEMENTS.issuperset(changed):
        raise Forbidden("Only the status may be changed, to cancelled.", expression=f"Appointment.{changed[0]}")
    if own.has_tag(before, own.BOOKING, "held"):
        return  # its holder's alone, to give up at any time (`hold_and_book.check_holder`)
    if agent.role not in PATIENTS or before["status"] in OPEN:
        if not wanted.rules.withdrawal:
            raise Forbidden(
                "This clinic does not let proposals be withdrawn; call it.", expression="Appointment.status"
            )
        return
    hours = wanted.rules.cancellation_window_hours
    if interval(before["start"])[0] - repository.clinic.server.clock() < hours * _HOUR:
        phone = f" ({wanted.phone})" if wanted.phone else ""
        raise Unprocessable(
            f"An appointment can be cancelled here until {hours} hours before it begins; call the clinic{phone}.",
            expression="Appointment.status",
        )
