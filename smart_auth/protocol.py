"""The decisions of OAuth 2 by Authlib's grants, on values that were loaded before; nothing is read or saved here.

Authlib's server classes are synchronous: they are given a client and, at the token endpoint, the code or refresh
token that was found, decide, and raise. What follows from the decision is stored by the callers.
Source: RFC 6749 §4.1 and §6, RFC 7636, RFC 9700 §2.1.1 (PKCE always, and S256 alone).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request, grants
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge

from smart_auth.clients import Client
from smart_auth.errors import (
    AuthorizationError,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    OAuthError,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from smart_auth.grants import Authorization

_ERRORS: Mapping[str, type[OAuthError]] = {
    error.code: error for error in (InvalidRequest, InvalidScope, UnauthorizedClient, InvalidGrant)
}
# Authlib looks at the scheme alone; the real one is the proxy's business.
_URL = "https://localhost/"


def check_authorization_request(client: Client | None, parameters: Mapping[str, str]) -> str:
    """The redirect URI of a sound authorization request.

    Raises AuthorizationError where the client may be told by redirect, and OAuthError where nobody may be redirected.
    """
    server = _Server(client)
    request = _request(parameters)
    try:
        grant = server.get_authorization_grant(request)
        uri: str = grant.validate_consent_request()
    except OAuth2Error as error:
        if not error.redirect_uri:
            raise InvalidRequest(error.description or "The client or its redirect URI is not registered.") from error
        raise AuthorizationError(error.redirect_uri, _translated(error)) from error
    return uri


def check_code(client: Client, form: Mapping[str, str], found: Authorization | None) -> None:
    """Whether an authenticated client may redeem a code, `found` what the code stands for. Raises OAuthError."""
    _check_token_request(_Server(client, code=found), form)


def check_refresh(client: Client, form: Mapping[str, str], found: Authorization | None) -> None:
    """Whether an authenticated client may use a refresh token. Raises OAuthError."""
    _check_token_request(_Server(client, refresh=found), form)


def _check_token_request(server: "_Server", form: Mapping[str, str]) -> None:
    try:
        server.get_token_grant(_request(form)).validate_token_request()
    except OAuth2Error as error:
        raise _translated(error) from error


def _translated(error: OAuth2Error) -> OAuthError:
    description = error.description or "The request is refused."
    if error.error == "unsupported_response_type":
        return UnsupportedResponseType("response_type must be code.")
    return _ERRORS.get(error.error, InvalidRequest)(description)


class _Request(OAuth2Request):  # type: ignore[misc]
    @property
    def form(self) -> Mapping[str, str]:
        return self.payload.data  # type: ignore[no-any-return]


def _request(parameters: Mapping[str, str]) -> OAuth2Request:
    request = _Request("POST", _URL)
    request.payload = BasicOAuth2Payload(dict(parameters))
    return request


class _Client:
    """A client as Authlib asks about it."""

    def __init__(self, client: Client) -> None:
        self.client_id = client.client_id
        self._client = client

    def check_redirect_uri(self, uri: str) -> bool:
        return uri in self._client.redirect_uris

    def get_default_redirect_uri(self) -> None:
        return None  # SMART: redirect_uri is always sent

    def check_response_type(self, _: str) -> bool:
        return "authorization_code" in self._client.grant_types

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._client.grant_types

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""  # SMART scopes are compared by `scopes.require_covered`


class _Found:
    """A code or refresh token as Authlib asks about it."""

    def __init__(self, found: Authorization) -> None:
        self.code_challenge = found.challenge
        self.code_challenge_method = "S256"
        self._found = found

    def get_redirect_uri(self) -> str:
        return self._found.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self._found.scopes)

    def check_client(self, client: _Client) -> bool:
        return client.client_id == self._found.client_id


class _S256(CodeChallenge):  # type: ignore[misc]
    """PKCE, required of every client, with S256 alone."""

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar[list[str]] = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge") or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge is required, with code_challenge_method=S256.")
        super().validate_code_challenge(grant, redirect_uri)


class _CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    def query_authorization_code(self, code: str, client: _Client) -> _Found | None:
        found = self.server.code
        return _Found(found) if found is not None and found.client_id == client.client_id else None


class _RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    def authenticate_refresh_token(self, refresh_token: str) -> _Found | None:
        found = self.server.refresh
        return _Found(found) if found is not None else None


class _Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server over one client and at most one code or refresh token."""

    def __init__(
        self, client: Client | None, code: Authorization | None = None, refresh: Authorization | None = None
    ) -> None:
        super().__init__()
        self.client = _Client(client) if client is not None and not client.disabled else None
        self.code, self.refresh = code, refresh
        self.register_grant(_CodeGrant, [_S256(required=True)])
        self.register_grant(_RefreshGrant)

    def query_client(self, client_id: str) -> _Client | None:
        return self.client if self.client is not None and self.client.client_id == client_id else None

    def authenticate_client(self, request: OAuth2Request, methods: Any, endpoint: str = "token") -> _Client | None:
        return self.client  # authenticated before (`authenticate`)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""
