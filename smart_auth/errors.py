"""Refusals of the authorization server, each with its OAuth error code (RFC 6749 §5.2).

    OAuthError                  a refusal: code, description for the developer, status
    ├── InvalidRequest          400  malformed, a parameter missing or given twice
    ├── InvalidClient           401  client authentication failed
    ├── UnauthorizedClient      400  the client may not use this grant type
    ├── UnsupportedGrantType    400
    ├── InvalidScope            400  unknown, malformed or beyond what is registered
    ├── InvalidGrant            400  a code or refresh token that is unknown, used, expired or another client's
    ├── UnsupportedResponseType 400  response_type is not code
    ├── InvalidToken            401  the bearer token of a request is not good
    ├── InvalidClientMetadata   400  dynamic registration (RFC 7591 §3.2.2)
    ├── InvalidRedirectUri      400  dynamic registration
    ├── LoginRequired           400  prompt=none without a session (OpenID Connect Core §3.1.2.6)
    ├── ConsentRequired         400  prompt=none: consent is always asked for
    ├── AccessDenied            403  the person refuses, or may not come through this client
    ├── TemporarilyUnavailable  503  the store cannot be reached; try again later
    └── AuthorizationError      any of them, to be told by redirect (RFC 6749 §4.1.2.1)

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


class InvalidGrant(OAuthError):
    """400: the code or refresh token is unknown, used, expired, revoked, or another client's."""

    code = "invalid_grant"


class UnsupportedResponseType(OAuthError):
    """400: another response_type than code."""

    code = "unsupported_response_type"


class InvalidClientMetadata(OAuthError):
    """400: a registration that this server does not take (RFC 7591 §3.2.2)."""

    code = "invalid_client_metadata"


class InvalidRedirectUri(OAuthError):
    """400: a redirect URI that this server does not take (RFC 7591 §3.2.2)."""

    code = "invalid_redirect_uri"


class InvalidToken(OAuthError):
    """401: the initial access token or bearer token of a request is missing or not good (RFC 6750 §3.1)."""

    code = "invalid_token"
    status = 401


class LoginRequired(OAuthError):
    """400: prompt=none, and nobody is signed in (OpenID Connect Core §3.1.2.6)."""

    code = "login_required"


class ConsentRequired(OAuthError):
    """400: prompt=none, and consent is asked for each time (OpenID Connect Core §3.1.2.6)."""

    code = "consent_required"


class AccessDenied(OAuthError):
    """403: the person is unknown, disabled, or may not come through this client."""

    code = "access_denied"
    status = 403


class TemporarilyUnavailable(OAuthError):
    """503: nothing was done; try again later."""

    code = "temporarily_unavailable"
    status = 503


class AuthorizationError(OAuthError):
    """A refusal that the client is told by redirect to a URI that it registered (RFC 6749 §4.1.2.1)."""

    def __init__(self, redirect_uri: str, error: OAuthError) -> None:
        super().__init__(error.description)
        self.redirect_uri = redirect_uri
        self.error = error
