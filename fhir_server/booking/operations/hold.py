"""Appointment/$hold: keep a time that `$find` offered from others for a while (IHE Scheduling ITI-116)."""

from fhir_server.booking import hold_and_book
from fhir_server.booking.candidates import look_up_candidate
from fhir_server.booking.operations import parameters, result
from fhir_server.fhir.errors import NotFound
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.idempotency import once
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

KNOWN = {"appointment-reference": ("valueReference", 1)}


async def handle(call: Call, repository: Repository) -> Answer:
    """A Bundle with the pending Appointment; nothing but an OperationOutcome when the time is gone."""
    reference = parameters.one(parameters.read(call, KNOWN), "appointment-reference")
    target = parameters.target(call, reference, "Appointment", "appointment-reference")
    stored = await once(call, repository, "Appointment/$hold", lambda: _hold(repository, target.id))
    return result.of_one(call, repository, stored)


async def _hold(repository: Repository, candidate: str) -> Stored:
    wanted = await look_up_candidate(repository, candidate)
    if wanted is None:
        raise NotFound("This time is not available any more; search again.", expression="Parameters.parameter[0]")
    return await hold_and_book.hold(repository, wanted)
