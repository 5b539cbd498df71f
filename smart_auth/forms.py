"""Reading form-encoded requests, and the answers that all endpoints for clients share (RFC 6749 §3, §5)."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.responses import JSONResponse

from fhir_server.fhir.errors import FhirError, Unavailable
from smart_auth.errors import InvalidRequest, OAuthError, TemporarilyUnavailable

MAX_BODY = 65_536  # bytes
# A consent names each scope that is left ticked.
MAX_FIELDS = 300
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of the body, each given once; empty ones count as absent (RFC 6749 §3.1).

    Raises InvalidRequest.
    """
    return once(await read_pairs(request))


async def read_pairs(request: Request) -> list[tuple[str, str]]:
    """The name-value pairs of the body. Raises InvalidRequest."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("The body must be application/x-www-form-urlencoded.")
    try:
        return pairs((await read_body(request)).decode("utf-8"))
    except ValueError as error:
        raise InvalidRequest("The body is not form-encoded UTF-8 of at most 300 parameters.") from error


async def read_body(request: Request) -> bytes:
    """The body. Raises InvalidRequest as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise InvalidRequest(f"The body is longer than {MAX_BODY} bytes.")
    return bytes(body)


def pairs(text: str) -> list[tuple[str, str]]:
    """The name-value pairs of a query string or form. Raises ValueError."""
    return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")


def once(given: list[tuple[str, str]]) -> dict[str, str]:
    """The parameters, none of them given twice. Raises InvalidRequest."""
    form = dict(given)
    if len(form) != len(given):
        raise InvalidRequest("A parameter is given twice.")
    return {name: value for name, value in form.items() if value}


def refused(error: OAuthError | FhirError, realm: str = "") -> JSONResponse:
    """The answer to a client that is refused (RFC 6749 §5.2), or that asked a clinic which is not there."""
    if isinstance(error, Unavailable):
        body = error_body(TemporarilyUnavailable("Try again later."))
        return JSONResponse(body, error.status, error.headers | NO_STORE)
    if isinstance(error, FhirError):
        return JSONResponse(error_body(OAuthError(str(error))), error.status, error.headers | NO_STORE)
    headers = NO_STORE | ({"WWW-Authenticate": f'Basic realm="{realm}"'} if error.status == 401 else {})
    return JSONResponse(error_body(error), error.status, headers)


def error_body(error: OAuthError) -> Mapping[str, str]:
    """The JSON of a refusal."""
    return {"error": error.code, "error_description": error.description}


def request_id(request: Request) -> str:
    """The request's id, where the app or the caller gave one."""
    given = getattr(request.state, "request_id", "") or request.headers.get("x-request-id", "")
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else ""
