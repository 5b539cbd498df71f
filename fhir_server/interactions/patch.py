"""patch: a new version by a description of the change (FHIR R4 http.html#patch)."""

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Forbidden, Unprocessable
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.if_match import check_if_match
from fhir_server.interactions.patches import Patch
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """200 with the new version; the result is validated as an update's body would be."""
    current = await repository.read(call.type, call.id, letter="u")
    check_if_match(call.headers, current)
    assert current.body is not None
    patch: Patch = call.body
    patch.check(call.clinic.server.structure)
    _check_elements(patch, repository.writable(current))
    resource = patch.apply(json.parse(current.body), call.clinic.server.elements)
    if not isinstance(resource, dict):
        raise Unprocessable("The patch leaves no resource: its root must stay an object.", code="structure")
    if resource.get("resourceType") != call.type or resource.get("id") != call.id:
        raise BadRequest("A patch changes neither resourceType nor id.", expression=f"{call.type}.id")
    issues = call.clinic.server.structure.check(resource, expected_type=call.type)
    if issues:
        raise Unprocessable(issues=issues)
    return answer_with(call, repository, await repository.update(current, resource, "PATCH"), 200)


def _check_elements(patch: Patch, writable: frozenset[str] | None) -> None:
    """Refuse a change of what the caller does not see, a test of it included. Raises Forbidden."""
    if writable is None:
        return
    for root, at in patch.roots():
        if root not in writable:
            raise Forbidden("This caller may not change this element.", expression=at)
