"""CORS of the authorization server (the Fetch standard; SMART App Launch 2.2.0 conformance).

Discovery and keys are for any origin. The endpoints for clients may be read by the origins of the client's own
redirect URIs, and by those that the clinic names. No answer here depends on a cookie.
"""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from fhir_server.fhir.errors import FhirError
from fhir_server.store.protocol import Unit
from smart_auth import clients, redirects
from smart_auth.authenticate import read_credentials
from smart_auth.clients import Client
from smart_auth.errors import OAuthError
from smart_auth.services import Services

ANY = {"Access-Control-Allow-Origin": "*"}


def preflight(request: Request) -> JSONResponse:
    """The answer to a preflight: the client is not known yet, so the request's own answer decides who may read it."""
    headers = {
        "Access-Control-Allow-Origin": request.headers.get("origin", "*"),
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-Id",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
    return JSONResponse(None, headers=headers)


async def for_client(
    services: Services, tenant: str, request: Request, form: Mapping[str, str], answer: JSONResponse
) -> JSONResponse:
    """The answer, with the headers that let the client's own origin read it."""
    origin = request.headers.get("origin")
    if origin is None:
        return answer
    answer.headers["Vary"] = "Origin"
    if await _may_read(services, tenant, origin, _client_id(request, form)):
        answer.headers["Access-Control-Allow-Origin"] = origin
    return answer


def for_anybody(response: Response) -> Response:
    """The response, for any origin."""
    response.headers.update(ANY)
    return response


async def _may_read(services: Services, tenant: str, origin: str, client_id: str) -> bool:
    async def find(unit: Unit) -> Client | None:
        return await clients.load(unit, client_id)

    try:
        client = await services.store.run(tenant, find, write=False, quick=True)
        named = (await services.fhir.clinic(tenant)).cors_origins if services.fhir is not None else frozenset()
    except FhirError:
        return False
    own = redirects.origins(client.redirect_uris) if client is not None else []
    return origin in own or origin in named or "*" in named


def _client_id(request: Request, form: Mapping[str, str]) -> str:
    try:
        return read_credentials(request.headers.get("authorization"), form).client_id
    except OAuthError:
        return form.get("client_id", "")
