"""$validate: what is wrong with a resource, without storing it (FHIR R4 resource-operation-validate.html)."""

from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository

_MODES = frozenset({"create", "update", "delete"})


async def handle(call: Call, repository: Repository) -> Answer:
    """200 with an OperationOutcome; its issues are of the structural check."""
    resource, parameters = _given(call.body)
    mode = str(parameters.get("mode", dict(call.query).get("mode", "")))
    if mode and mode not in _MODES:
        raise BadRequest("'mode' is create, update or delete.", expression="mode")
    if "profile" in parameters or "profile" in dict(call.query):
        raise BadRequest(
            "This server cannot validate against a named profile.", expression="profile", code="not-supported"
        )
    if resource is None:
        if mode != "delete" and not call.id:
            raise BadRequest("The body is a resource, or Parameters with a parameter 'resource'.", code="required")
        await repository.read(call.type, call.id)
        return Answer(200, json.serialise(operation_outcome(())))
    issues = call.clinic.server.structure.check(resource, expected_type=call.type)
    return Answer(200, json.serialise(operation_outcome(issues)))


def _given(body: Any) -> tuple[Any, dict[str, Any]]:
    """The resource in question, and the other parameters by name."""
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        return body, {}
    found: dict[str, Any] = {}
    resource = None
    for parameter in body.get("parameter", ()):
        if isinstance(parameter, dict) and parameter.get("name") == "resource":
            resource = parameter.get("resource")
        elif isinstance(parameter, dict):
            value = next((held for name, held in parameter.items() if name.startswith("value")), None)
            found[str(parameter.get("name"))] = value
    return resource, found
