"""Dynamic registration of apps (RFC 7591), where the server's setting allows it.

`open`: anybody may register an app for patients, which sees what the patient who signs in consents to. `token`: whoever
brings an initial access token, which an administrator made and which says for which surface and scopes. Nobody can
register a client that acts for itself, and no request can change a client.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, NotFound
from fhir_server.store.protocol import Unit
from smart_auth import clients, cors, forms, redirects, scopes
from smart_auth.clients import Client, GrantType, Kind, Surface
from smart_auth.errors import InvalidClientMetadata, InvalidRedirectUri, InvalidToken, OAuthError
from smart_auth.grants import digest
from smart_auth.scopes import Scope
from smart_auth.services import AuthEvent, Services
from smart_auth.token import refuse

KIND = "registration"
_KINDS: Mapping[str, Kind] = {
    "none": "public",
    "client_secret_basic": "confidential-symmetric",
    "client_secret_post": "confidential-symmetric",
    "private_key_jwt": "confidential-asymmetric",
}
_DEFAULT = "launch launch/patient openid fhirUser profile offline_access online_access patient/*.cruds"


@dataclass(frozen=True, slots=True)
class Leave:
    """What may be registered: an app of a surface with at most these scopes."""

    surface: Surface = "patient-portal"
    scopes: str = _DEFAULT


async def new_initial_token(unit: Unit, leave: Leave, expires: Micros) -> str:
    """A token with which one app may be registered."""
    token = secrets.token_urlsafe(32)
    await unit.keep(KIND, digest(token), json.dumps([leave.surface, leave.scopes]).encode(), expires)
    return token


def routes(services: Services) -> APIRouter:
    """`POST /register`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/register")
    async def register(request: Request, tenant: str) -> Response:
        """Register an app (RFC 7591 section 3)."""
        try:
            if services.registration == "off":
                raise NotFound("This server takes no dynamic registrations; ask the clinic.")
            answer = JSONResponse(await _register(services, tenant, request), 201, forms.NO_STORE)
        except OAuthError as error:
            answer = await refuse(services, tenant, {}, request, error, "register")
        except FhirError as error:
            answer = forms.refused(error)
        answer.headers.update(cors.ANY)
        return answer

    @router.options("/register")
    async def preflight(request: Request) -> JSONResponse:
        """The answer to a CORS preflight."""
        return cors.preflight(request)

    return router


async def _register(services: Services, tenant: str, request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await forms.read_body(request))
    except (ValueError, RecursionError) as error:
        raise InvalidClientMetadata("The body must be a JSON object.") from error
    if not isinstance(given, dict):
        raise InvalidClientMetadata("The body must be a JSON object.")
    bearer = request.headers.get("authorization", "")
    token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""
    secret = clients.new_secret()

    async def work(unit: Unit) -> Client | OAuthError:
        leave = Leave()
        if services.registration == "token":
            stored = await unit.peek(KIND, digest(token)) if token else None
            if stored is None:
                return InvalidToken("Registration needs an initial access token of this clinic.")
            leave = Leave(*json.loads(stored))
        try:
            client = _client(services, given, leave, secret)
        except OAuthError as error:
            return error
        if services.registration == "token":
            await unit.take(KIND, digest(token))
        await clients.save(unit, client)
        return client

    client = await services.store.run(tenant, work, write=True)
    if isinstance(client, OAuthError):
        raise client
    await services.record(
        AuthEvent(
            tenant, services.clock(), "register", "done", client_id=client.client_id, subject=client.client_id,
            scope=" ".join(client.scopes), request_id=forms.request_id(request), address=services.address_of(request),
        )
    )  # fmt: skip
    return _answer(services, client, given, secret)


def _client(services: Services, given: Mapping[str, Any], leave: Leave, secret: str) -> Client:
    """The client that is asked for. Raises InvalidClientMetadata, InvalidRedirectUri."""
    method = given.get("token_endpoint_auth_method", "client_secret_basic")
    kind = _KINDS.get(method) if isinstance(method, str) else None
    if kind is None:
        raise InvalidClientMetadata(f"token_endpoint_auth_method is one of {', '.join(_KINDS)}.")
    grant_types = given.get("grant_types", ["authorization_code"])
    if not isinstance(grant_types, list) or not set(map(str, grant_types)) <= {"authorization_code", "refresh_token"}:
        raise InvalidClientMetadata("grant_types may be authorization_code and refresh_token.")
    if given.get("response_types", ["code"]) != ["code"]:
        raise InvalidClientMetadata("response_types must be code.")
    name, jwks_uri = given.get("client_name", ""), given.get("jwks_uri", "")
    if not isinstance(name, str) or not isinstance(jwks_uri, str) or len(name) > 100 or not name.isprintable():
        raise InvalidClientMetadata("client_name is at most 100 printable characters, and jwks_uri a string.")
    if jwks_uri and services.fetch_jwks is None:
        raise InvalidClientMetadata("This server takes no keys by URL; send jwks.")
    made: tuple[GrantType, ...] = tuple(dict.fromkeys(("authorization_code", *grant_types)))
    try:
        jwks = clients.import_jwks(given["jwks"]) if isinstance(given.get("jwks"), dict) else None
        return Client(
            services.ids.resource_id(), kind, leave.surface, _scopes(services, given, leave), made,
            _redirect_uris(given), clients.hash_secret(secret) if kind == "confidential-symmetric" else "",
            jwks if kind == "confidential-asymmetric" else None, jwks_uri if kind == "confidential-asymmetric" else "",
            name,
        )  # fmt: skip
    except ValueError as error:
        raise InvalidClientMetadata(str(error)) from error


def _redirect_uris(given: Mapping[str, Any]) -> tuple[str, ...]:
    uris = given.get("redirect_uris")
    if not isinstance(uris, list) or not 0 < len(uris) <= 20 or not all(isinstance(uri, str) for uri in uris):
        raise InvalidRedirectUri("redirect_uris is an array of 1 to 20 URIs.")
    for uri in uris:
        try:
            redirects.check(uri)
        except ValueError as error:
            raise InvalidRedirectUri(str(error)) from error
    return tuple(uris)


def _scopes(services: Services, given: Mapping[str, Any], leave: Leave) -> tuple[str, ...]:
    text = given.get("scope", leave.scopes)
    if not isinstance(text, str):
        raise InvalidClientMetadata("scope is a string of scopes, joined by spaces.")
    try:
        asked = scopes.parse_all(text, services.types or None)
        scopes.require_covered(scopes.parse_all(leave.scopes), asked)
    except OAuthError as error:
        raise InvalidClientMetadata(error.description) from error
    if any(isinstance(scope, Scope) and scope.level == "system" for scope in asked):
        raise InvalidClientMetadata("A client that acts for itself is registered by the clinic.")
    return tuple(scope.text for scope in asked)


def _answer(services: Services, client: Client, given: Mapping[str, Any], secret: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "client_id": client.client_id,
        "client_id_issued_at": services.clock() // 1_000_000,
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "token_endpoint_auth_method": given.get("token_endpoint_auth_method", "client_secret_basic"),
        "scope": " ".join(client.scopes),
    }
    if client.kind == "confidential-symmetric":
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    return answer
