"""delete: the resource is gone for read and search, and stays in history (FHIR R4 http.html#delete)."""

from fhir_server.fhir.errors import NotFound
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.if_match import check_if_match
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """204; so too for what is deleted already."""
    repository.granted(call.type, "d")
    current, is_there = await repository.look(call.type, call.id, "d")
    if current is None or not is_there:
        raise NotFound("There is no such resource here.")
    if current.is_deleted:
        return Answer(204)
    check_if_match(call.headers, current)
    return Answer(204, stored=await repository.delete(current))
