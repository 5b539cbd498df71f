"""Headers of every answer (FHIR R4 http.html, RFC 9110, the Fetch standard's CORS)."""

from fhir_server.fhir import json
from fhir_server.fhir.clock import http_date
from fhir_server.interactions.call import Answer
from fhir_server.interactions.clinic import Clinic
from fhir_server.rest.negotiate import JSON
from fhir_server.rest.request import Request, Response

EXPOSED = "Location, ETag, Last-Modified, Content-Location, Proposal-Receipt, X-Request-Id, Retry-After"
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, "
    "Idempotency-Key, X-Request-Id, X-Correlation-Id, traceparent"
)
_CONTENT_TYPE = f"{JSON}; charset=utf-8"


def respond(request: Request, clinic: Clinic | None, answer: Answer) -> Response:
    """The response of an answer."""
    headers = {"x-request-id": request.request_id}
    if answer.stored is not None:
        headers["etag"] = f'W/"{answer.stored.version}"'
        headers["last-modified"] = http_date(answer.stored.updated)
    headers |= {name.lower(): value for name, value in answer.headers.items()}
    if answer.body:
        headers["content-type"] = _CONTENT_TYPE
        headers.setdefault("cache-control", "no-store")  # health data belongs in no shared cache
    if clinic is not None and "origin" in request.headers:
        headers |= cors(clinic, request.headers["origin"])
    body = answer.body
    if body and "_pretty=true" in request.query:
        body = json.serialise_pretty(json.parse(body))
    return Response(answer.status, headers, body)


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
