"""Events of the authorization server as audit events (IHE BALP; IHE IUA ITI-71; DICOM 110122 and 110123)."""

from fhir_server.audit import masking
from fhir_server.audit.event import Event
from smart_auth.services import AuthEvent

_SUBTYPES = {"patient-search": "search-type"}


def to_events(event: AuthEvent) -> list[Event]:
    """The audit events: one, or for patients that were listed one for each of them."""
    of_patients: list[tuple[str, ...]] = [event.patients]
    if event.kind == "patient-search":
        of_patients = [(patient,) for patient in event.patients] or [()]
    return [_event(event, patients) for patients in of_patients]


def _event(event: AuthEvent, patients: tuple[str, ...]) -> Event:
    is_person = event.subject != event.client_id
    return Event(
        _SUBTYPES.get(event.kind, event.kind),
        "E",
        "0" if event.outcome == "done" else "4",
        event.at,
        client=event.client_id,
        user=event.fhir_user if event.outcome == "done" else "",
        user_name=event.subject if is_person else "",
        role=event.role,
        token_id=event.token_id,
        address=event.address,
        request_id=event.request_id,
        query=_query(event),
        patients=patients,
        description=event.error if event.outcome == "refused" else "",
    )


def _query(event: AuthEvent) -> str:
    if event.query:
        return masking.visible(f"GET {event.query}")
    parts = {"grant_type": event.grant_type, "scope": event.scope, "method": event.method}
    return " ".join(f"{name}={value}" for name, value in parts.items() if value)
