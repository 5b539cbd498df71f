"""delete: the resource is gone for read and search, and stays in history (FHIR R4 http.html#delete)."""

from fhir_server.fhir.errors import NotFound
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository, check_if_match


async def handle(call: Call, repository: Repository) -> Answer:
    """204; so too for what is deleted already."""
    repository.granted(call.type, "d")
    current = await repository.unit.read(call.type, call.id)
    if current is None or not await repository.version_is_visible(current, "d"):
        raise NotFound("There is no such resource here.")
    if current.is_deleted:
        return Answer(204)
    check_if_match(call.headers, current)
    return Answer(204, stored=await repository.delete(current))
