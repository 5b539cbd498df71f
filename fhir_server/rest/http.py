"""The ASGI endpoint of the FHIR bases: from bytes to a Request, and from a Response to bytes.

Thin on purpose: no routing or middleware of a framework stands between a read and the store.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any
from urllib.parse import unquote

from fhir_server.fhir import json
from fhir_server.fhir.errors import FhirError, TooLarge
from fhir_server.fhir.outcome import operation_outcome
from fhir_server.interactions.clinic import Clinic
from fhir_server.rest.encoding import packed, unpacked
from fhir_server.rest.negotiate import JSON
from fhir_server.rest.pipeline import Pipeline, without_traceback
from fhir_server.rest.request import Request, Response
from fhir_server.rest.respond import preflight
from fhir_server.settings import Settings

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# The ASGI extension by which a whole response is given at once: `Whole`, a function in the scope's `extensions`.
WHOLE = "fhir_server.response"
# Status, header lines and body -> whether it was sent. If not, it is to be sent as messages.
Whole = Callable[[int, bytes, bytes], bool]

_FORWARDED_FOR = re.compile(r'(?i)\bfor="?(?:\[([0-9a-f:.]+)\]|([0-9.]+))')
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}")


class _Left(Exception):
    """The caller went away before the body was whole. What came of it is no request, even where it is sound JSON."""


class FhirEndpoint:
    """Serves `/{tenant}/fhir/…`, and `/fhir/…` for the mounted tenant."""

    def __init__(self, settings: Settings, pipeline: Pipeline, clinics: Callable[[str], Awaitable[Clinic]]) -> None:
        self._settings, self._pipeline, self._clinics = settings, pipeline, clinics
        # Told apart from those of other processes by where they begin.
        self._request_ids = count(secrets.randbits(63))

    def base_of(self, path: str) -> tuple[str, str] | None:
        """The tenant and the rest of the path, for a path below a FHIR base; None for any other."""
        _, tenant, head, rest = (*path.split("/", 3), "", "", "")[:4]
        if tenant == "fhir" and self._settings.mounted_tenant:
            return self._settings.mounted_tenant, f"{head}/{rest}"
        return (tenant, rest) if head == "fhir" and tenant else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send, base: tuple[str, str]) -> None:
        """Answer one HTTP request; `base` is what `base_of` makes of its path."""
        tenant, rest = base
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = headers.get("x-request-id", "")
        if not request_id or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = f"{next(self._request_ids):016x}"
        method = scope["method"]
        if method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            await _send(scope, send, await self._preflight(unquote(tenant), headers["origin"], request_id))
            return
        body, fault = b"", None
        try:
            if method not in ("GET", "HEAD"):
                largest = self._settings.largest_body
                body = unpacked(await _body(receive, headers, largest), headers, largest)
        except FhirError as error:
            fault = without_traceback(error)
        except _Left:
            return
        request = Request(
            "GET" if method == "HEAD" else method,
            unquote(tenant) if "%" in tenant else tenant,
            _segments(rest),
            scope["query_string"].decode("latin-1"),
            headers,
            body,
            caller_address(self._settings, scope, headers),
            request_id,
        )
        response = await self._pipeline.perform(request, fault)
        if "accept-encoding" in headers:
            _pack(response, headers)
        await _send(scope, send, response)

    async def _preflight(self, tenant: str, origin: str, request_id: str) -> Response:
        try:
            response = preflight(await self._clinics(tenant), origin)
        except FhirError as error:
            headers = {"content-type": JSON, **error.headers}
            response = Response(error.status, headers, json.serialise(operation_outcome(error.issues)))
        response.headers["x-request-id"] = request_id
        return response


def _pack(response: Response, headers: Mapping[str, str]) -> None:
    """Compress a response as its caller takes it."""
    coding, response.body = packed(response.body, headers)
    if coding:
        response.headers["content-encoding"] = coding
        response.headers["vary"] = ", ".join(filter(None, (response.headers.get("vary"), "Accept-Encoding")))


def _segments(rest: str) -> tuple[str, ...]:
    """The parts of a path, decoded; a slash at its end is none."""
    parts = rest.rstrip("/").split("/")
    if parts == [""]:
        return ()
    return tuple(map(unquote, parts) if "%" in rest else parts)


def caller_address(settings: Settings, scope: Scope, headers: Mapping[str, str]) -> str:
    """The caller's address; `Forwarded` (RFC 7239) counts only from a trusted proxy."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    if "forwarded" not in headers:
        return address
    # Lines of one name are one list (RFC 9110 §5.3), whichever of them a mapping keeps.
    lines = b",".join(value for name, value in scope["headers"] if name.lower() == b"forwarded")
    # From the nearest hop on: what stands before the first that is not trusted, anybody may have written.
    for hop in reversed(lines.decode("latin-1").split(",")):
        match = _FORWARDED_FOR.search(hop)
        if address not in settings.trusted_proxies or match is None:
            break
        address = match.group(1) or match.group(2)
    return address


def path_of(scope: Scope) -> str:
    """The path as it was sent, so that an encoded slash stays one."""
    return str(scope["raw_path"].decode("ascii", "replace").partition("?")[0])


async def _body(receive: Receive, headers: Mapping[str, str], largest: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be longer than `largest`."""
    length = headers.get("content-length", "0")
    chunks, size, more = [], 0, True
    too_large = TooLarge(f"The body is longer than {largest} bytes, the most that this server takes.")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > largest):
        raise too_large
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > largest:
            raise too_large
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _send(scope: Scope, send: Send, response: Response) -> None:
    status, headers = response.status, response.headers
    body = response.body if scope["method"] != "HEAD" else b""
    if status not in (204, 304):
        headers["content-length"] = str(len(response.body))
    whole: Whole | None = scope["extensions"].get(WHOLE) if "extensions" in scope else None
    # A value with a line's end or another control character in it is no header's: as a message the server refuses it.
    if whole is not None and "".join(headers.values()).isprintable():
        lines = "".join(map("%s: %s\r\n".__mod__, headers.items()))
        if whole(status, lines.encode("latin-1"), body):
            return
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
