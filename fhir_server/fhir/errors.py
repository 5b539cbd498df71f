"""The exceptions that become an HTTP answer with an OperationOutcome (FHIR R4 http.html#Status-Codes).

FhirError                 a refusal or failure, with its status and issues
├── BadRequest            400  the request cannot be understood
├── Unauthorized          401  no valid token; carries the WWW-Authenticate challenge
├── Forbidden             403  no grant for this
├── NotFound              404  not there, or not there for this caller
├── NotAllowed            405  the interaction does not exist for this type
├── NotAcceptable         406  no representation that the caller takes
├── Conflict              409  it would contradict what is stored
├── Gone                  410  deleted, or an expired page
├── PreconditionFailed    412  If-Match or a condition does not hold
├── TooLarge              413  over the limit of a body
├── UnsupportedMediaType  415
├── Unprocessable         422  understood, and against a rule
├── TooMany               429  over a rate or a limit
├── Failed                500  a fault of this server
└── Unavailable           503  try again after `retry_after_seconds`
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from fhir_server.fhir.outcome import Issue


class FhirError(Exception):
    """A refusal or failure: an HTTP status and at least one issue.

    `entry` is what was asked for where one entry of a transaction is refused, and all others with it: method, segments
    of its URL below the base, query.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"
    entry: tuple[str, tuple[str, ...], str] | None = None

    def __init__(
        self,
        diagnostics: str = "",
        *,
        expression: str | None = None,
        code: str | None = None,
        issues: Sequence[Issue] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if issues is None:
            issues = [Issue(code or self.code, diagnostics, expression)]
        self.issues = tuple(issues)
        self.headers = dict(headers or {})
        super().__init__(self.issues[0].diagnostics)


class BadRequest(FhirError):
    """400: the request cannot be understood."""

    status = 400
    code = "invalid"


class Unauthorized(FhirError):
    """401: no valid token (RFC 6750 §3)."""

    status = 401
    code = "login"


class Forbidden(FhirError):
    """403: the caller has no grant for this."""

    status = 403
    code = "forbidden"


class NotFound(FhirError):
    """404: not there, or not there for this caller (the two are answered alike)."""

    status = 404
    code = "not-found"


class NotAllowed(FhirError):
    """405: the interaction does not exist here."""

    status = 405
    code = "not-supported"


class NotAcceptable(FhirError):
    """406: no representation that the caller takes."""

    status = 406
    code = "not-supported"


class Conflict(FhirError):
    """409: it would contradict what is stored."""

    status = 409
    code = "conflict"


class Gone(FhirError):
    """410: deleted, or an expired page link."""

    status = 410
    code = "deleted"


class PreconditionFailed(FhirError):
    """412: If-Match or a condition does not hold."""

    status = 412
    code = "conflict"


class TooLarge(FhirError):
    """413: over the limit of a body."""

    status = 413
    code = "too-long"


class UnsupportedMediaType(FhirError):
    """415: the body's media type is not one of ours."""

    status = 415
    code = "not-supported"


class Unprocessable(FhirError):
    """422: understood, and against a rule of FHIR or of the clinic."""

    status = 422
    code = "business-rule"


class TooMany(FhirError):
    """429: over a rate or a limit."""

    status = 429
    code = "throttled"


class Failed(FhirError):
    """500: a fault of this server; the details are in its log."""

    status = 500
    code = "exception"


class Unavailable(FhirError):
    """503: the store cannot be reached or is full; try again later."""

    status = 503
    code = "transient"

    def __init__(self, diagnostics: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(diagnostics, headers={"Retry-After": str(retry_after_seconds)})
