"""From a request to the Call that its handler takes: media types, parsing, the structural check (FHIR R4 http.html)."""

import base64
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from fhir_server.fhir import json
from fhir_server.fhir.errors import (
    BadRequest,
    FhirError,
    Forbidden,
    NotAcceptable,
    NotAllowed,
    NotFound,
    Unprocessable,
    UnsupportedMediaType,
)
from fhir_server.fhir.reference import is_id
from fhir_server.interactions import patches
from fhir_server.interactions.access import Access
from fhir_server.interactions.call import Call, EntryRequest
from fhir_server.interactions.clinic import Clinic, Server
from fhir_server.rest import negotiate
from fhir_server.rest.request import Request
from fhir_server.rest.table import Found, Router
from fhir_server.search.parse import pairs
from profiles import xml


def find(router: Router, server: Server, method: str, segments: tuple[str, ...]) -> Found:
    """The row for a request. Raises NotFound for an unknown type or path, NotAllowed for the method."""
    found = router.find(method, segments)
    types = server.definitions.resource_types
    if found is None:
        raise _nothing_at(router, segments, is_type=bool(segments) and segments[0] in types)
    if "" in segments:
        raise NotFound("There is nothing at this path.", code="not-found" if segments[0] in types else "not-supported")
    if found.type and found.type not in types:
        raise NotFound(f"'{found.type[:64]}' is no resource type of FHIR R4.", code="not-supported")
    if found.other and found.other != "*" and found.other not in types:
        raise NotFound(f"'{found.other[:64]}' is no resource type of FHIR R4.")
    if found.id and not is_id(found.id):
        raise NotFound("There is no such resource here.")
    return found


def found(router: Router, server: Server, request: Request) -> Found | None:
    """The row for a request; None where there is none, or nothing at its path."""
    try:
        return find(router, server, request.method, request.segments)
    except FhirError:
        return None


def _nothing_at(router: Router, segments: tuple[str, ...], *, is_type: bool) -> FhirError:
    """What is wrong with a method and path that have no row."""
    type_ = segments[0] if segments else ""
    methods = router.methods(segments)
    if methods and (is_type or type_[:1] in ("_", "$", "") or type_ == "metadata"):
        allowed = ", ".join(dict.fromkeys(methods))
        return NotAllowed(f"Here this server takes {allowed}.", headers={"Allow": allowed})
    if is_type and type_ == "AuditEvent":
        return NotAllowed("AuditEvents are written by the server alone, and never changed.", headers={"Allow": "GET"})
    return NotFound("There is nothing at this path.")


def check_grant(access: Access, found: Found) -> None:
    """Raises Forbidden when nothing grants the interaction on the type at all."""
    letter = found.interaction.letter
    if letter and not access.of(found.type, letter):
        raise Forbidden(f"Nothing grants this caller {found.interaction.name} on {found.type}.")


def entry_call(entry: EntryRequest, clinic: Clinic, access: Access, found: Found) -> Call:
    """The call of a Bundle's entry, whose resource is checked already. Raises what is wrong with it."""
    query = pairs(entry.query) if entry.query else []
    body = found.interaction.body
    id_ = found.id or entry.id
    call = Call(clinic, access, found.type, id_, found.version, query, entry.headers, entry.resource, other=found.other)
    if body == "bundle":
        raise BadRequest("An entry of a Bundle cannot be a batch or transaction itself.", code="not-supported")
    if body in ("resource", "patch", "parameters", "any") and entry.resource is None:
        raise BadRequest("The entry has no resource.", code="required", expression="resource")
    if body in ("resource", "parameters", "any") and not isinstance(entry.resource, dict):
        raise BadRequest("The entry's resource is a JSON object.", expression="resource", code="structure")
    if body in ("resource", "parameters") and entry.resource.get("resourceType") != body_type(found):
        raise BadRequest(
            f"The resource's type must be '{body_type(found)}' for this URL.", expression="resource", code="structure"
        )
    return replace(call, body=patches.of_entry(entry.resource)) if body == "patch" else call


def body_type(found: Found) -> str:
    """The resource type that the body of a row has, where it has one."""
    return found.type if found.interaction.body == "resource" else "Parameters"


def call_of(request: Request, clinic: Clinic, access: Access, found: Found) -> Call:
    """The request as its handler takes it, validated. Raises what is wrong with it."""
    if not found.interaction.format and not _takes_binary(request, found):
        try:
            negotiate.wanted(request.headers, request.query)
        except NotAcceptable:
            if found.interaction.body != "form":  # which may have a `_format` of its own
                raise
    query = pairs(request.query) if request.query else []
    call = Call(clinic, access, found.type, found.id, found.version, query, request.headers, other=found.other)
    body = found.interaction.body
    if not body:
        return call
    if body == "resource" and found.type == negotiate.BINARY and _is_foreign(request):
        binary = _binary(request, found)
        check_resource(clinic.server, binary, negotiate.BINARY)
        return replace(call, body=binary)
    format_ = negotiate.body_format(request.headers, body)
    if body == "form":
        given = negotiate.form(request.body)
        # How the answer is written is read where the URL says it.
        written = urlencode([(name, value) for name, value in given if name in ("_format", "_pretty")])
        request.query = "&".join(filter(None, (request.query, written)))
        negotiate.wanted(request.headers, request.query)
        return replace(call, query=[*query, *given])
    if not request.body:
        raise BadRequest("The request has no body.", code="required")
    if body == "patch" and negotiate.media_type(request.headers) in negotiate.PATCHES:
        return replace(call, body=patches.read(negotiate.media_type(request.headers), request.body))
    parsed = xml.read(request.body, clinic.server.elements) if format_ == "xml" else json.parse(request.body)
    if body == "patch":
        return replace(call, body=patches.Patch(negotiate.media_type(request.headers), parsed))
    if body in ("resource", "parameters"):
        check_resource(clinic.server, parsed, body_type(found))
    elif body == "any" and not isinstance(parsed, dict):
        raise BadRequest("The body must be a resource: a JSON object with a resourceType.", code="structure")
    elif body == "bundle" and (not isinstance(parsed, dict) or parsed.get("resourceType") != "Bundle"):
        raise BadRequest("The body must be a Bundle.", expression="resourceType", code="structure")
    return replace(call, body=parsed)


def _takes_binary(request: Request, found: Found) -> bool:
    """Whether a Binary is read, which may be taken in its own media type (FHIR R4 binary.html#rest)."""
    return found.type == negotiate.BINARY and bool(found.id) and request.method == "GET"


def _is_foreign(request: Request) -> bool:
    return negotiate.media_type(request.headers) not in negotiate.RESOURCES


def _binary(request: Request, found: Found) -> dict[str, Any]:
    """A body of any media type as a Binary."""
    name, parameters = negotiate.media_type(request.headers), request.headers.get("content-type", "").partition(";")[2]
    if not name:
        raise UnsupportedMediaType("The Content-Type header says what a Binary holds.")
    type_ = "; ".join(filter(None, (name, " ".join(parameters.split()))))
    made: dict[str, Any] = {"resourceType": "Binary", **({"id": found.id} if found.id else {}), "contentType": type_}
    if "x-security-context" in request.headers:
        made["securityContext"] = {"reference": request.headers["x-security-context"]}
    if request.body:
        made["data"] = base64.b64encode(request.body).decode()
    return made


def check_resource(server: Server, resource: Any, type_: str) -> None:
    """Raises BadRequest, Unprocessable when a value is no sound resource of the type."""
    if not isinstance(resource, dict):
        raise BadRequest("The body must be a resource: a JSON object with a resourceType.", code="structure")
    if resource.get("resourceType") != type_:
        raise BadRequest(
            f"The body's resourceType must be '{type_}' here.", expression="resourceType", code="structure"
        )
    issues = server.structure.check(resource, expected_type=type_)
    if issues:
        raise Unprocessable(issues=issues)
