"""The token endpoint (RFC 6749 §3.2): client_credentials, authorization_code and refresh_token."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.access import Agent
from smart_auth import authenticate, constraints, cors, exchange, forms, scopes, tokens
from smart_auth.clients import CLIENT_ID, OWN_ROLE, Client
from smart_auth.errors import InvalidRequest, InvalidScope, OAuthError, UnauthorizedClient, UnsupportedGrantType
from smart_auth.exchange import Issued
from smart_auth.scopes import AnyScope, Scope
from smart_auth.services import AuthEvent, EventKind, Services

GRANT_TYPES = ("authorization_code", "client_credentials", "refresh_token")


def routes(services: Services) -> APIRouter:
    """`POST /token`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/token")
    async def token(request: Request, tenant: str) -> JSONResponse:
        """Exchange a grant for an access token (RFC 6749 section 3.2)."""
        form: Mapping[str, str] = {}
        try:
            form = await forms.read_form(request)
            form = await _with_client(services, tenant, request, form)
            answer = JSONResponse(await _issue(services, tenant, form, request), headers=forms.NO_STORE)
        except OAuthError as error:
            answer = await refuse(services, tenant, form, request, error)
        except FhirError as error:  # an unknown tenant among them
            answer = forms.refused(error)
        return await cors.for_client(services, tenant, request, form, answer)

    @router.options("/token")
    async def preflight(request: Request) -> JSONResponse:
        """The answer to a CORS preflight."""
        return cors.preflight(request)

    return router


async def client_credentials(services: Services, tenant: str, client: Client, scope: str) -> tuple[Agent, str]:
    """The agent that an authenticated client becomes, and its signed token. Raises OAuthError."""
    role = OWN_ROLE.get(client.surface)
    if "client_credentials" not in client.grant_types or role is None:
        raise UnauthorizedClient("This client is not registered for client_credentials.")
    requested = await _system_scopes(services, tenant, client, scope)
    agent = Agent(
        role=role,
        client_id=client.client_id,
        name=client.name,
        token_id=services.ids.resource_id(),
        scopes=tuple(one.text for one in requested),
    )
    what = tokens.Issue(agent, client.client_id, client.surface, services.clock(), services.lifetime_in_seconds)
    return agent, tokens.issue(await services.signing_key(tenant), services.urls(tenant), what)


async def _system_scopes(services: Services, tenant: str, client: Client, scope: str) -> tuple[AnyScope, ...]:
    requested = scopes.parse_all(scope, services.types or None)
    if not requested:
        raise InvalidScope("Name the scopes wanted, for instance system/Appointment.cr.")
    for one in requested:
        if not isinstance(one, Scope) or one.level != "system":
            raise InvalidScope(f"The scope '{one.text}' needs a person; client_credentials grants system/ scopes.")
    scopes.require_covered(client.registered(), requested)
    await constraints.check(services, tenant, requested)
    return requested


async def _issue(services: Services, tenant: str, form: Mapping[str, str], request: Request) -> Mapping[str, Any]:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is missing.")
    if grant_type not in GRANT_TYPES:
        raise UnsupportedGrantType(f"This server has the grant types {', '.join(GRANT_TYPES)}.")
    authorization = request.headers.get("authorization")
    if grant_type == "client_credentials":
        credentials = authenticate.read_credentials(authorization, form)
        client = await authenticate.authenticate(services, tenant, credentials)
        issued = await _own(services, tenant, client, form.get("scope", ""))
    else:
        client = await authenticate.authenticate_any(services, tenant, authorization, form)
        redeem = exchange.code if grant_type == "authorization_code" else exchange.refresh
        issued = await redeem(services, tenant, client, form)
    await _record(services, tenant, client, issued, request, grant_type)
    return issued.answer


async def _with_client(services: Services, tenant: str, request: Request, form: Mapping[str, str]) -> Mapping[str, str]:
    """The form of a refresh with the client that its token is for, where the request names none.

    RFC 6749 §6 asks no client_id of public clients, and the common SMART client library sends none; any other client
    has to authenticate all the same. Raises InvalidGrant for a token that is not one, or not any more.
    """
    names_client = {
        "client_id",
        "client_secret",
        "client_assertion",
    } & form.keys() or "authorization" in request.headers
    if form.get("grant_type") != "refresh_token" or names_client:
        return form
    client_id = await exchange.client_of(services, tenant, form.get("refresh_token", ""))
    return {**form, "client_id": client_id}


async def _own(services: Services, tenant: str, client: Client, scope: str) -> Issued:
    agent, token = await client_credentials(services, tenant, client, scope)
    answer = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": services.lifetime_in_seconds,
        "scope": " ".join(agent.scopes),
    }
    return Issued(answer, agent, client.client_id)


async def _record(
    services: Services, tenant: str, client: Client, issued: Issued, request: Request, grant_type: str
) -> None:
    agent = issued.agent
    kind: EventKind = "refresh" if grant_type == "refresh_token" else "token"
    await services.record(
        AuthEvent(
            tenant, services.clock(), kind, "done", grant_type, client.client_id, issued.subject,
            " ".join(agent.scopes), agent.token_id, request_id=forms.request_id(request),
            address=services.address_of(request), fhir_user=agent.fhir_user,
            role=agent.role if agent.is_human else "", patients=(agent.patient,) if agent.patient else (),
        )
    )  # fmt: skip


async def refuse(
    services: Services,
    tenant: str,
    form: Mapping[str, str],
    request: Request,
    error: OAuthError,
    kind: EventKind = "token",
) -> JSONResponse:
    """The answer to a client that is refused, recorded first."""
    grant_type = form.get("grant_type", "")
    try:
        claimed = await authenticate.registered(services, tenant, _claimed(request.headers.get("authorization"), form))
        event = AuthEvent(
            tenant, services.clock(), kind, "refused", grant_type if grant_type in GRANT_TYPES else "", claimed,
            error=error.code, description=error.description, request_id=forms.request_id(request),
            address=services.address_of(request),
        )  # fmt: skip
        await services.record(event)
    except FhirError as fault:
        return forms.refused(fault)
    return forms.refused(error, services.urls(tenant).issuer)


def _claimed(authorization: str | None, form: Mapping[str, str]) -> str:
    """Whom a refused request claims to come from; '' where that is no client id."""
    try:
        client_id = authenticate.read_credentials(authorization, form).client_id
    except OAuthError:
        client_id = form.get("client_id", "")
    return client_id if CLIENT_ID.fullmatch(client_id) else ""
