"""What an answer to a write carries, by the Prefer header (FHIR R4 http.html#ops)."""

from fhir_server.fhir import json
from fhir_server.fhir.outcome import Issue, operation_outcome
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

# As FHIR writes them; some clients write them otherwise.
_VALUES = {value.lower(): value for value in ("minimal", "representation", "OperationOutcome", "strict", "lenient")}


def preference(call: Call, name: str) -> str:
    """The value of one preference; '' when it is not given (RFC 7240)."""
    for part in call.headers.get("prefer", "").replace(";", ",").split(","):
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            value = value.strip().strip('"')
            return _VALUES.get(value.lower(), value)
    return ""


def prefers(call: Call, name: str) -> bool:
    """Whether a preference is given, with or without a value."""
    parts = call.headers.get("prefer", "").replace(";", ",").split(",")
    return any(part.partition("=")[0].strip().lower() == name for part in parts)


def answer_with(call: Call, repository: Repository, stored: Stored, status: int, *, letter: str = "") -> Answer:
    """The stored resource, nothing, or an OperationOutcome; Location names the version.

    `letter` says by which grants the caller sees it; else it is that of the write.
    """
    wanted = preference(call, "return")
    was_there = bool(letter)
    if wanted == "minimal":
        body = b""
    elif wanted == "OperationOutcome":
        verb = "Created" if status == 201 else "Found" if was_there else "Updated"
        issue = Issue("informational", f"{verb} {stored.type}/{stored.id}.", severity="information")
        body = json.serialise(operation_outcome([issue]))
    else:
        body = repository.shown_to_maker(stored) if status == 201 else repository.shown(stored, letter or "u")
    headers = {"location": f"{call.clinic.base_url}/{stored.type}/{stored.id}/_history/{stored.version}"}
    shown = (stored,) if was_there else ()
    return Answer(status, body, stored, headers if status == 201 or was_there else {}, shown)
