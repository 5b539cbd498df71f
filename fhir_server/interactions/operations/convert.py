"""$convert: a resource from one format to another (FHIR R4 resource-operation-convert.html)."""

from fhir_server.fhir import json
from fhir_server.fhir.errors import Forbidden, Unprocessable
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """The very resource, in the format that the caller takes."""
    if repository.access.agent.role == "public":
        raise Forbidden("Nothing grants this caller $convert.")
    issues = call.clinic.server.structure.check(call.body)
    if issues:
        raise Unprocessable(issues=issues)
    return Answer(200, json.serialise(call.body))
