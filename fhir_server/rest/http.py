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
from fhir_server.rest.pipeline import Pipeline
from fhir_server.rest.request import Request, Response
from fhir_server.rest.respond import preflight
from fhir_server.settings import Settings

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

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
        tenant, _, rest = path[1:].partition("/")
        if tenant == "fhir" and self._settings.mounted_tenant:
            return self._settings.mounted_tenant, rest
        head, _, rest = rest.partition("/")
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
            await _send(send, await self._preflight(unquote(tenant), headers["origin"], request_id))
            return
        body, fault = b"", None
        try:
            if method not in ("GET", "HEAD"):
                largest = self._settings.largest_body
                body = unpacked(await _body(receive, headers, largest), headers, largest)
        except FhirError as error:
            fault = error
        except _Left:
            return
        request = Request(
            "GET" if method == "HEAD" else method,
            unquote(tenant),
            _segments(rest),
            scope["query_string"].decode("latin-1"),
            headers,
            body,
            caller_address(self._settings, scope, headers),
            request_id,
        )
        response = await self._pipeline.perform(request, fault)
        coding, response.body = packed(response.body, headers)
        if coding:
            response.headers["content-encoding"] = coding
            response.headers["vary"] = ", ".join(filter(None, (response.headers.get("vary"), "Accept-Encoding")))
        await _send(send, response, without_body=method == "HEAD")

    async def _preflight(self, tenant: str, origin: str, request_id: str) -> Response:
        try:
            response = preflight(await self._clinics(tenant), origin)
        except FhirError as error:
            headers = {"content-type": JSON, **error.headers}
            response = Response(error.status, headers, json.serialise(operation_outcome(error.issues)))
        response.headers["x-request-id"] = request_id
        return response


def _segments(rest: str) -> tuple[str, ...]:
    """The parts of a path, decoded; a slash at its end is none."""
    if not rest.strip("/"):
        return ()
    parts = rest.rstrip("/").split("/")
    return tuple(map(unquote, parts) if "%" in rest else parts)


def caller_address(settings: Settings, scope: Scope, headers: Mapping[str, str]) -> str:
    """The caller's address; `Forwarded` (RFC 7239) counts only from a trusted proxy."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    if "forwarded" not in headers:
        return address
    # From the nearest hop on: what stands before the first that is not trusted, anybody may have written.
    for hop in reversed(headers["forwarded"].split(",")):
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
    if length.isdigit() and int(length) > largest:
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


async def _send(send: Send, response: Response, *, without_body: bool = False) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if without_body else response.body})
