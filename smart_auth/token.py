"""The token endpoint and the JWK Set (RFC 6749 §3.2 and §4.4, SMART backend-services, RFC 7517 §5)."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from fhir_server.fhir.errors import FhirError, Unavailable
from fhir_server.interactions.access import Agent
from smart_auth import authenticate, scopes, tokens
from smart_auth.clients import CLIENT_ID, OWN_ROLE, Client
from smart_auth.errors import (
    InvalidRequest,
    InvalidScope,
    OAuthError,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from smart_auth.scopes import AnyScope, Scope
from smart_auth.services import Services, TokenEvent

MAX_BODY = 65_536  # bytes
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def routes(services: Services) -> APIRouter:
    """`POST /token` and `GET /jwks`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/token")
    async def token(request: Request, tenant: str) -> JSONResponse:
        """Exchange a grant for an access token (RFC 6749 section 3.2)."""
        form: Mapping[str, str] = {}
        try:
            form = await _form(request)
            return JSONResponse(await _issue(services, tenant, form, request), headers=NO_STORE)
        except OAuthError as error:
            return await _refuse(services, tenant, form, request, error)
        except Unavailable as error:
            headers = error.headers | NO_STORE
            return JSONResponse(_body(TemporarilyUnavailable("Try again later.")), error.status, headers)
        except FhirError as error:  # an unknown tenant among them
            return JSONResponse(_body(OAuthError(str(error))), error.status, NO_STORE)

    @router.get("/jwks")
    async def jwks(tenant: str) -> JSONResponse:
        """The public keys of the clinic (RFC 7517 section 5)."""
        try:
            await services.signing_key(tenant)
            ring = await services.key_ring(tenant)
        except FhirError as error:
            return JSONResponse(_body(OAuthError(str(error))), error.status, error.headers)
        return JSONResponse(ring.jwks(), headers={"Cache-Control": "public, max-age=300"})

    return router


async def client_credentials(services: Services, tenant: str, client: Client, scope: str) -> tuple[Agent, str]:
    """The agent that an authenticated client becomes, and its signed token. Raises OAuthError."""
    role = OWN_ROLE.get(client.surface)
    if "client_credentials" not in client.grant_types or role is None:
        raise UnauthorizedClient("This client is not registered for client_credentials.")
    requested = _system_scopes(services, client, scope)
    agent = Agent(
        role=role,
        client_id=client.client_id,
        name=client.name,
        token_id=services.ids.resource_id(),
        scopes=tuple(one.text for one in requested),
    )
    what = tokens.Issue(agent, client.client_id, client.surface, services.clock(), services.lifetime_in_seconds)
    return agent, tokens.issue(await services.signing_key(tenant), services.urls(tenant), what)


def _system_scopes(services: Services, client: Client, scope: str) -> tuple[AnyScope, ...]:
    requested = scopes.parse_all(scope, services.types or None)
    if not requested:
        raise InvalidScope("Name the scopes wanted, for instance system/Appointment.cr.")
    for one in requested:
        if not isinstance(one, Scope) or one.level != "system":
            raise InvalidScope(f"The scope '{one.text}' needs a person; client_credentials grants system/ scopes.")
    scopes.refuse_constraints(requested)
    scopes.require_covered(client.registered(), requested)
    return requested


async def _issue(services: Services, tenant: str, form: Mapping[str, str], request: Request) -> dict[str, Any]:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is missing.")
    if grant_type != "client_credentials":
        raise UnsupportedGrantType("This server has grant_type client_credentials.")
    credentials = authenticate.read_credentials(request.headers.get("authorization"), form)
    client = await authenticate.authenticate(services, tenant, credentials)
    agent, token = await client_credentials(services, tenant, client, form.get("scope", ""))
    scope = " ".join(agent.scopes)
    await services.record(
        TokenEvent(
            tenant,
            services.clock(),
            "issued",
            grant_type,
            client.client_id,
            subject=client.client_id,
            scope=scope,
            token_id=agent.token_id,
            request_id=_request_id(request),
        )
    )
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": services.lifetime_in_seconds,
        "scope": scope,
    }


async def _refuse(
    services: Services, tenant: str, form: Mapping[str, str], request: Request, error: OAuthError
) -> JSONResponse:
    event = TokenEvent(
        tenant,
        services.clock(),
        "refused",
        form.get("grant_type", "")[:64],
        _claimed(request.headers.get("authorization"), form),
        error=error.code,
        description=error.description,
        request_id=_request_id(request),
    )
    headers = dict(NO_STORE)
    if error.status == 401:
        headers["WWW-Authenticate"] = f'Basic realm="{services.urls(tenant).issuer}"'
    try:
        await services.record(event)
    except Unavailable as unavailable:
        headers = unavailable.headers | NO_STORE
        return JSONResponse(_body(TemporarilyUnavailable("Try again later.")), unavailable.status, headers)
    except FhirError as fault:
        return JSONResponse(_body(OAuthError(str(fault))), fault.status, NO_STORE)
    return JSONResponse(_body(error), error.status, headers)


def _claimed(authorization: str | None, form: Mapping[str, str]) -> str:
    """Whom a refused request claims to come from; '' where that is no client id."""
    try:
        client_id = authenticate.read_credentials(authorization, form).client_id
    except OAuthError:
        client_id = form.get("client_id", "")
    return client_id if CLIENT_ID.fullmatch(client_id) else ""


async def _form(request: Request) -> dict[str, str]:
    """The parameters of the body; empty ones count as absent (RFC 6749 §3.1). Raises InvalidRequest."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("The body must be application/x-www-form-urlencoded.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise InvalidRequest(f"The body is longer than {MAX_BODY} bytes.")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise InvalidRequest("The body is not form-encoded UTF-8 of at most 100 parameters.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidRequest("A parameter is given twice.")
    return {name: value for name, value in form.items() if value}


def _body(error: OAuthError) -> dict[str, str]:
    return {"error": error.code, "error_description": error.description}


def _request_id(request: Request) -> str:
    """The request's id, where the app or the caller gave one."""
    given = getattr(request.state, "request_id", "") or request.headers.get("x-request-id", "")
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else ""
