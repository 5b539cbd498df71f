"""Headers of every answer (FHIR R4 http.html, RFC 9110, the Fetch standard's CORS)."""

import base64

from fhir_server.fhir import json
from fhir_server.fhir.clock import http_date
from fhir_server.fhir.errors import NotAcceptable
from fhir_server.interactions.call import Answer
from fhir_server.interactions.clinic import Clinic
from fhir_server.rest.negotiate import BINARY, JSON, XML, Format, takes_raw, wanted
from fhir_server.rest.request import Request, Response
from profiles import xml

EXPOSED = "Location, ETag, Last-Modified, Content-Location, Proposal-Receipt, X-Request-Id, Retry-After"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, "
    "Idempotency-Key, X-Request-Id, X-Correlation-Id, traceparent"
)
_TYPES: dict[Format, str] = {"json": f"{JSON}; charset=utf-8", "xml": f"{XML}; charset=utf-8"}


def respond(request: Request, clinic: Clinic | None, answer: Answer) -> Response:
    """The response of an answer."""
    headers = {"x-request-id": request.request_id}
    if answer.stored is not None:
        headers["etag"] = f'W/"{answer.stored.version}"'
        headers["last-modified"] = http_date(answer.stored.updated)
        if clinic is not None and answer.status == 200 and _is_read(request):
            stored = answer.stored
            headers["content-location"] = f"{clinic.base_url}/{stored.type}/{stored.id}/_history/{stored.version}"
    if answer.headers:
        headers |= {name.lower(): value for name, value in answer.headers.items()}
    if request.segments == ("metadata",):
        headers["access-control-allow-origin"] = "*"  # SMART App Launch: discovery is for any origin
    elif clinic is not None and "origin" in request.headers:
        headers |= cors(clinic, request.headers["origin"])
    if not answer.body:
        return Response(answer.status, headers)
    headers.setdefault("cache-control", "no-store")  # health data belongs in no shared cache
    if "content-type" in headers:
        return Response(answer.status, headers, answer.body)  # a handler that answers in a form of its own
    headers["content-type"], body = _represented(request, clinic, answer)
    if body is not answer.body and headers["content-type"] not in _TYPES.values():
        # A Binary is whatever its sender said; no browser is to run it here.
        headers |= {"x-content-type-options": "nosniff", "content-disposition": "attachment"}
        headers["content-security-policy"] = "sandbox"
    return Response(answer.status, headers, body)


def _is_read(request: Request) -> bool:
    """Whether the answer is a version of a resource, and nothing about it."""
    return request.method == "GET" and len(request.segments) in (2, 4) and request.segments[-1][:1] != "$"


def _represented(request: Request, clinic: Clinic | None, answer: Answer) -> tuple[str, bytes]:
    """The media type and bytes of an answer's body, as the caller takes it."""
    body = answer.body
    if answer.stored is not None and answer.stored.type == BINARY and request.method == "GET":
        raw = _raw(request, body)
        if raw is not None:
            return raw
    format_: Format = "json"
    if clinic is not None:
        try:
            format_ = wanted(request.headers, request.query)
        except NotAcceptable:
            format_ = "json"  # the answer is that very refusal
    if format_ == "xml" and clinic is not None:
        document = xml.write(json.parse_own(body), clinic.server.elements)
        return _TYPES["xml"], xml.pretty(document) if "_pretty=true" in request.query else document
    if "_pretty=true" in request.query:
        body = json.serialise_pretty(json.parse_own(body))
    return _TYPES["json"], body


def _raw(request: Request, body: bytes) -> tuple[str, bytes] | None:
    """A Binary in its own media type, when the caller asks for that one (docs/decisions/0023-binary.md)."""
    resource = json.parse_own(body)
    type_ = str(resource.get("contentType", ""))
    if not (type_.isascii() and type_.isprintable()):  # a code of FHIR's, and no header's value
        return None
    if not takes_raw(request.headers, request.query, type_):
        return None
    return type_, base64.b64decode(resource.get("data", ""))


def cors(clinic: Clinic, origin: str) -> dict[str, str]:
    """The CORS headers for an origin; none when the clinic does not name it."""
    if origin not in clinic.cors_origins and "*" not in clinic.cors_origins:
        return {"vary": "Origin"}
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": EXPOSED,
        "vary": "Origin",
    }


def preflight(clinic: Clinic, origin: str) -> Response:
    """The answer to a CORS preflight."""
    headers = cors(clinic, origin)
    if "access-control-allow-origin" in headers:
        headers |= {
            "access-control-allow-methods": ALLOWED_METHODS,
            "access-control-allow-headers": ALLOWED_HEADERS,
            "access-control-max-age": "600",
        }
    return Response(204, headers)
