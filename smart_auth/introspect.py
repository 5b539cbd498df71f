"""Introspection of tokens (RFC 7662, SMART App Launch 2.2.0 token-introspection).

A confidential client, or whoever brings a good access token, may ask about tokens of the same client; clients of the
surfaces `service` and `administrator`, which resource servers are, about all of the clinic's.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, Unauthorized
from fhir_server.store.protocol import Unit
from smart_auth import authenticate, clients, cors, exchange, forms, grants, revocations
from smart_auth.errors import InvalidGrant, InvalidRequest, InvalidToken, OAuthError
from smart_auth.grants import Authorization
from smart_auth.services import AuthEvent, Services
from smart_auth.token import refuse
from smart_auth.tokens import Verified, Verifier, bearer_token, unverified_claims

INACTIVE: Mapping[str, Any] = {"active": False}


def routes(services: Services, verifier: Verifier) -> APIRouter:
    """`POST /introspect`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/introspect")
    async def introspect(request: Request, tenant: str) -> Response:
        """Whether a token is active, and what it says (RFC 7662 section 2)."""
        form: dict[str, str] = {}
        try:
            form = await forms.read_form(request)
            client_id, sees_all = await _asker(services, verifier, tenant, request, form)
            if "token" not in form:
                raise InvalidRequest("token is missing.")
            found = await _introspect(services, verifier, tenant, form["token"])
            if not sees_all and found.get("client_id") != client_id:
                found = INACTIVE
            await _record(services, tenant, client_id, found, request)
            answer = JSONResponse(found, headers=forms.NO_STORE)
        except OAuthError as error:
            answer = await refuse(services, tenant, form, request, error, "introspect")
        except FhirError as error:
            answer = forms.refused(error)
        return await cors.for_client(services, tenant, request, form, answer)

    return router


async def _asker(
    services: Services, verifier: Verifier, tenant: str, request: Request, form: Mapping[str, str]
) -> tuple[str, bool]:
    """The client that asks, and whether it may ask about other clients' tokens. Raises OAuthError."""
    authorization = request.headers.get("authorization")
    if authorization is not None and authorization[:7].lower() == "bearer ":
        try:
            token = bearer_token(authorization, services.urls(tenant).fhir_base)
            agent = (await verifier.verify(tenant, token or "")).agent
        except Unauthorized as error:
            raise InvalidToken(str(error)) from error
        return agent.client_id, agent.role in ("service", "administrator")
    client = await authenticate.authenticate(services, tenant, authenticate.read_credentials(authorization, form))
    return client.client_id, client.surface in ("service", "administrator")


async def _introspect(services: Services, verifier: Verifier, tenant: str, token: str) -> Mapping[str, Any]:
    async def by_refresh(unit: Unit) -> tuple[Authorization | None, bool]:
        found = await grants.peek_refresh_token(unit, token)
        return found, found is not None and await _is_good(unit, found, services.clock())

    found, is_good = await services.store.run(tenant, by_refresh, write=False, quick=True)
    if found is not None and not is_good:
        return INACTIVE
    if found is not None:
        return {"active": True, "client_id": found.client_id, "scope": " ".join(found.scopes), "sub": found.account,
                "token_type": "refresh_token", "iss": services.urls(tenant).issuer}  # fmt: skip
    try:
        verified = await verifier.verify(tenant, token)
    except Unauthorized:
        return INACTIVE
    return _described(services, tenant, verified, unverified_claims(token))


async def _is_good(unit: Unit, found: Authorization, now: Micros) -> bool:
    """Whether a refresh token would be exchanged now (RFC 7662 §4: all checks that its use would make)."""
    client = await clients.load(unit, found.client_id)
    is_revoked = await unit.peek(revocations.KIND, revocations.grant_mark(found.grant)) is not None
    if client is None or client.disabled or "refresh_token" not in client.grant_types or is_revoked:
        return False
    try:
        await exchange.check_session(unit, found)
        await exchange.holder(unit, client, found, now)
    except InvalidGrant:
        return False
    return True


def _described(services: Services, tenant: str, verified: Verified, claims: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = ("iss", "aud", "sub", "client_id", "scope", "exp", "iat", "jti", "patient", "encounter")
    described = {"active": True, "token_type": "Bearer"} | {name: claims[name] for name in kept if name in claims}
    if verified.agent.fhir_user:
        described["fhirUser"] = f"{services.urls(tenant).fhir_base}/{verified.agent.fhir_user}"
    return described


async def _record(services: Services, tenant: str, client_id: str, found: Mapping[str, Any], request: Request) -> None:
    await services.record(
        AuthEvent(
            tenant, services.clock(), "introspect", "done", client_id=client_id, token_id=found.get("jti", ""),
            request_id=forms.request_id(request), address=services.address_of(request),
        )
    )  # fmt: skip
