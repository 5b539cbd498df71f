"""Appointment/{id}/$conflicts: the open proposals and appointments that want the same (R-10.5), for staff."""

from fhir_server.booking import contested
from fhir_server.booking.states import STAFF
from fhir_server.fhir import json
from fhir_server.fhir.errors import Forbidden
from fhir_server.interactions import bundle
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """A searchset of those in the way."""
    if repository.access.agent.role not in (*STAFF, "administrator", "service"):
        raise Forbidden("Only staff see what else is wanted for a time.")
    stored = await repository.read("Appointment", call.id)
    assert stored.body is not None
    found = await contested.others(repository, json.parse(stored.body))
    seen = [each for each in found if await repository.may_see(each, "r")]
    entries = [bundle.match_entry(call.clinic.base_url, each, repository.shown(each)) for each in seen]
    server = call.clinic.server
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), (), entries, len(entries))
    return Answer(200, body, shown=seen)
