"""Refusals of the authorization server, each with its OAuth error code (RFC 6749 §5.2).

    OAuthError                  a refusal: code, description for the developer, status
    ├── InvalidRequest          400  malformed, a parameter missing or given twice
    ├── InvalidClient           401  client authentication failed
    ├── UnauthorizedClient      400  the client may not use this grant type
    ├── UnsupportedGrantType    400
    ├── InvalidScope            400  unknown, malformed or beyond what is registered
    ├── AccessDenied            403  the person may not be acted for (operators' tokens)
    └── TemporarilyUnavailable  503  the store cannot be reached; try again later

A description never repeats a token, a secret or an assertion, and holds only characters that §5.2 allows.
"""

from typing import ClassVar

ALLOWED = frozenset(chr(n) for n in range(0x20, 0x7F)) - {'"', "\\"}


class OAuthError(Exception):
    """A refusal, with the developer's description."""

    code: ClassVar[str] = "invalid_request"
    status: ClassVar[int] = 400

    def __init__(self, description: str) -> None:
        self.description = "".join(c if c in ALLOWED else "'" for c in description)
        super().__init__(self.description)


class InvalidRequest(OAuthError):
    """400: malformed, a parameter missing or given twice, or two ways of authentication at once."""


class InvalidClient(OAuthError):
    """401: unknown client, or its authentication failed."""

    code = "invalid_client"
    status = 401


class UnauthorizedClient(OAuthError):
    """400: this client may not use this grant type."""

    code = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """400: this server does not have the grant type."""

    code = "unsupported_grant_type"


class InvalidScope(OAuthError):
    """400: a scope that is unknown, malformed, or beyond what the client registered."""

    code = "invalid_scope"


class AccessDenied(OAuthError):
    """403: the person is unknown, disabled, or may not come through this client."""

    code = "access_denied"
    status = 403


class TemporarilyUnavailable(OAuthError):
    """503: nothing was done; try again later."""

    code = "temporarily_unavailable"
    status = 503
