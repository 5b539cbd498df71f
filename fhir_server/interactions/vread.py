"""vread: one version of a resource (FHIR R4 http.html#vread)."""

from fhir_server.fhir.errors import NotFound
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """The version with its ETag; a version that was a deletion is 410."""
    # Versions are numbers from 1; SQLite and MongoDB hold them in 64 bits.
    if not call.version.isascii() or not call.version.isdigit() or len(call.version) > 18:
        raise NotFound("There is no such resource here.")
    stored = await repository.vread(call.type, call.id, int(call.version))
    return Answer(200, repository.shown(stored), stored, shown=(stored,))
