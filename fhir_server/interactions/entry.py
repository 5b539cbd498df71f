"""One entry of a batch or transaction Bundle, read and written (FHIR R4 bundle.html, http.html#transaction)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.errors import BadRequest, FhirError, TooLarge
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions import idempotency
from fhir_server.interactions.call import Answer, Call, EntryRequest

# Deletions go first, so that what they free can be used; reads go last, so that they see what was done.
ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
_CONDITIONS = {
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifMatch": "if-match",
    "ifNoneExist": "if-none-exist",
}
_REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 304: "Not Modified", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 410: "Gone",
    412: "Precondition Failed", 422: "Unprocessable Entity", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(slots=True)
class Entry:
    """An entry: its place, fullUrl, request and resource. `id` is the id that it gets or has, where that is known."""

    place: int
    full_url: str
    method: str
    segments: tuple[str, ...]
    query: str
    resource: Any
    headers: dict[str, str] = field(default_factory=dict)
    id: str = ""

    @property
    def type(self) -> str:
        """The resource type of its URL; '' at the system's level."""
        return self.segments[0] if self.segments else ""

    @property
    def is_conditional(self) -> bool:
        """Whether a search says which resource it is about."""
        if self.method == "POST":
            return "if-none-exist" in self.headers
        return self.method in ("PUT", "PATCH", "DELETE") and len(self.segments) == 1

    def told(self, answer: Answer) -> Answer:
        """The answer as its Bundle tells it."""
        if self.method == "HEAD" and answer.status < 400:
            answer.body = b""
        return answer

    def request(self) -> EntryRequest:
        """The entry as a request of its own; a HEAD is done as a GET."""
        method = "GET" if self.method == "HEAD" else self.method
        return EntryRequest(method, self.segments, self.query, self.headers, self.resource, self.id)


def read(call: Call) -> list[Entry]:
    """The entries of the call's Bundle. Raises BadRequest that names the entry, TooLarge for too many."""
    if idempotency.HEADER in call.headers:
        raise BadRequest(
            "An Idempotency-Key is for one create, $hold or $book of its own; in a Bundle an entry's "
            "request.ifNoneExist does the like."
        )
    entries = call.body.get("entry", [])
    most = call.clinic.server.settings.largest_bundle
    if not isinstance(entries, list):
        raise BadRequest("'entry' is an array.", expression="Bundle.entry", code="structure")
    if len(entries) > most:
        raise TooLarge(f"A Bundle has at most {most} entries here; send it in parts.", expression="Bundle.entry")
    prefer = call.headers.get("prefer", "")
    if "return=" not in prefer:
        prefer = f"{prefer}, return=minimal".lstrip(", ")
    return [_read(call, place, value, prefer) for place, value in enumerate(entries)]


def _read(call: Call, place: int, value: Any, prefer: str) -> Entry:
    at = f"Bundle.entry[{place}]"
    request = value.get("request") if isinstance(value, dict) else None
    if not isinstance(request, dict):
        raise BadRequest("Every entry has a request, with its method and URL.", expression=f"{at}.request")
    method, url = request.get("method"), request.get("url")
    if method not in ORDER or not isinstance(url, str):
        raise BadRequest(f"The request has a method of {', '.join(ORDER)} and a URL.", expression=f"{at}.request")
    path, _, query = url.removeprefix(call.clinic.base_url).lstrip("/").partition("?")
    segments = tuple(unquote(part) for part in path.rstrip("/").split("/")) if path.strip("/") else ()
    headers = {name: str(request[key]) for key, name in _CONDITIONS.items() if key in request}
    headers["prefer"] = prefer
    full_url = value.get("fullUrl")
    return Entry(
        place, full_url if isinstance(full_url, str) else "", method, segments, query, value.get("resource"), headers
    )


def at_place(error: FhirError, entry: Entry) -> FhirError:
    """The same refusal, told of the entry that it is about."""
    request, at = entry.request(), f"Bundle.entry[{entry.place}]"
    error.entry = request.method, request.segments, request.query
    issues = [Issue(i.code, i.diagnostics, _below(at, i.expression), i.severity) for i in error.issues]
    error.issues = tuple(issues)
    return error


def _below(at: str, expression: str | None) -> str:
    if expression is None:
        return at
    return expression if expression.startswith("Bundle.entry") else f"{at}.resource.{expression}"


def written(base_url: str, answer: Answer) -> bytes:
    """The entry of a response Bundle."""
    response: dict[str, Any] = {"status": f"{answer.status} {_REASONS.get(answer.status, '')}".rstrip()}
    if "location" in answer.headers:
        response["location"] = answer.headers["location"]
    if answer.stored is not None:
        response["etag"] = f'W/"{answer.stored.version}"'
        response["lastModified"] = instant(answer.stored.updated)
    body, tail = answer.body, b""
    if body.startswith(b'{"resourceType":"OperationOutcome"'):
        body, tail = b"", b',"outcome":' + body
    head = b"{"
    if answer.stored is not None and not answer.stored.is_deleted:
        head += f'"fullUrl":"{base_url}/{answer.stored.type}/{answer.stored.id}",'.encode()
    if body:
        head += b'"resource":' + body + b","
    return head + b'"response":' + json.serialise(response)[:-1] + tail + b"}}"


def response_bundle(call: Call, answers: Sequence[Answer], now: Micros) -> bytes:
    """The Bundle of the answers, in the order of the request."""
    head = {
        "resourceType": "Bundle",
        "id": call.clinic.server.ids.resource_id(),
        "meta": {"lastUpdated": instant(now)},
        "type": f"{call.body['type']}-response" if isinstance(call.body, dict) else "transaction-response",
    }
    made = json.serialise(head)
    entries = b",".join(written(call.clinic.base_url, answer) for answer in answers)
    return made[:-1] + b',"entry":[' + entries + b"]}" if answers else made
