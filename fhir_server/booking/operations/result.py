"""The Bundle that `$find`, `$hold` and `$book` answer with (IHE Scheduling, ihe-sched-avail-bundle)."""

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.fhir.errors import FhirError
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions import bundle
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

# Refusals by the business: they are told in a Bundle with 200. Others (400, 401, 403, 429, 5xx) stay as they are.
_TOLD = frozenset({404, 409, 410, 412, 422})
# So is what is wrong with the shape of the Parameters: nobody has tried to do anything then.
_MALFORMED = "Parameters."


def of_one(call: Call, repository: Repository, stored: Stored, issues: Sequence[Issue] = ()) -> Answer:
    """One Appointment as the caller may see it, and what is to be said of it."""
    letter = next((letter for letter in "rsuc" if repository.access.of("Appointment", letter)), "c")
    entries = [bundle.match_entry(call.clinic.base_url, stored, repository.shown(stored, letter))]
    if issues:
        entries.append(bundle.outcome_entry(issues))
    return Answer(200, _bundle(call.clinic, entries, 1), shown=(stored,))


def refused(clinic: Clinic, error: FhirError) -> Answer | None:
    """A Bundle with nothing but the OperationOutcome; None for refusals that HTTP tells."""
    is_malformed = error.status == 422 and any((each.expression or "").startswith(_MALFORMED) for each in error.issues)
    if error.status not in _TOLD or is_malformed:
        return None
    issues = [replace(issue, severity="fatal", code="not-found") for issue in error.issues]
    if error.status == 422:
        issues = [replace(issue, severity="fatal") for issue in error.issues]
    return Answer(200, _bundle(clinic, [bundle.outcome_entry(issues)], 0))


def _bundle(clinic: Clinic, entries: Sequence[bytes], total: int) -> bytes:
    server = clinic.server
    return bundle.bundle("searchset", server.ids.resource_id(), server.clock(), (), entries, total)
