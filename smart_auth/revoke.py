"""Revocation of tokens by the client that has them (RFC 7009)."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from fhir_server.fhir.errors import FhirError, Unauthorized
from fhir_server.store.protocol import Unit
from smart_auth import authenticate, cors, forms, grants, revocations
from smart_auth.clients import Client
from smart_auth.errors import InvalidRequest, OAuthError
from smart_auth.services import AuthEvent, Services
from smart_auth.token import refuse
from smart_auth.tokens import Verifier


def routes(services: Services, verifier: Verifier) -> APIRouter:
    """`POST /revoke`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.post("/revoke")
    async def revoke(request: Request, tenant: str) -> Response:
        """Revoke an access or refresh token; 200 as well for what is no token (RFC 7009 section 2.2)."""
        form: dict[str, str] = {}
        try:
            form = await forms.read_form(request)
            client = await authenticate.authenticate_any(services, tenant, request.headers.get("authorization"), form)
            if "token" not in form:
                raise InvalidRequest("token is missing.")
            await _revoke(services, verifier, tenant, client, form["token"], request)
            answer = JSONResponse({}, headers=forms.NO_STORE)
        except OAuthError as error:
            answer = await refuse(services, tenant, form, request, error, "revoke")
        except FhirError as error:
            answer = forms.refused(error)
        return await cors.for_client(services, tenant, request, form, answer)

    @router.options("/revoke")
    async def preflight(request: Request) -> JSONResponse:
        """The answer to a CORS preflight."""
        return cors.preflight(request)

    return router


async def _revoke(
    services: Services, verifier: Verifier, tenant: str, client: Client, token: str, request: Request
) -> None:
    """A refresh token goes with all that stems from its grant, an access token goes alone; only the client's own."""
    until = services.clock() + services.persons_lifetime_in_seconds * 1_000_000

    async def by_refresh(unit: Unit) -> tuple[str, str]:
        found = await grants.peek_refresh_token(unit, token)
        if found is None or found.client_id != client.client_id:
            return "", ""
        await grants.revoke_grant(unit, found.grant, until)
        return found.account, ""

    subject, token_id = await services.store.run(tenant, by_refresh, write=True)
    if not subject:
        try:
            verified = await verifier.verify(tenant, token)
        except Unauthorized:
            return
        if verified.agent.client_id != client.client_id:
            return
        subject, token_id = verified.subject, verified.agent.token_id

        async def by_access(unit: Unit) -> None:
            await revocations.revoke(unit, revocations.token_mark(token_id), verified.expires * 1_000_000)

        await services.store.run(tenant, by_access, write=True)
    services.revocations.forget(tenant)
    await services.record(
        AuthEvent(
            tenant, services.clock(), "revoke", "done", client_id=client.client_id, subject=subject, token_id=token_id,
            request_id=forms.request_id(request), address=services.address_of(request),
        )
    )  # fmt: skip
