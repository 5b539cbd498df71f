"""Discovery: what the authorization server of a clinic can do, and where (SMART App Launch 2.2.0 conformance).

Only what a test proves is claimed.
"""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from fhir_server.fhir.errors import FhirError, NotFound
from smart_auth import assertions, cors, forms, token
from smart_auth.keys import ID_TOKEN_ALGORITHM
from smart_auth.services import Services
from smart_auth.urls import TenantUrls

SMART_PATH = ".well-known/smart-configuration"
CAPABILITIES = (
    "launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric",
    "client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-style", "context-ehr-patient",
    "context-ehr-encounter", "context-standalone-patient", "permission-offline", "permission-online",
    "permission-patient", "permission-user", "permission-v1", "permission-v2",
)  # fmt: skip
SCOPES = (
    "openid", "fhirUser", "profile", "launch", "launch/patient", "offline_access", "online_access", "patient/*.rs",
    "patient/*.cruds", "patient/*.read", "user/*.rs", "user/*.cruds", "user/*.read", "system/*.rs", "system/*.cruds",
)  # fmt: skip
AUTH_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def routes(services: Services) -> APIRouter:
    """The documents, to be mounted at the root: below a FHIR base, and below the issuer."""
    router = APIRouter(tags=["authorization"])

    @router.get(f"/{{tenant}}/fhir/{SMART_PATH}")
    async def smart_configuration(tenant: str) -> Response:
        """The SMART configuration of a clinic; application/json whatever Accept says, for any origin."""
        return await _document(services, tenant, smart)

    if services.mounted_tenant:

        @router.get(f"/fhir/{SMART_PATH}")
        async def mounted_configuration() -> Response:
            """The same for the clinic mounted at `/fhir`."""
            return await _document(services, services.mounted_tenant, smart)

    @router.get("/{tenant}/auth/.well-known/openid-configuration")
    async def openid_configuration(tenant: str) -> Response:
        """The OpenID provider's metadata (OpenID Connect Discovery section 3)."""
        return await _document(services, tenant, openid)

    @router.get("/.well-known/oauth-authorization-server/{tenant}/auth")
    async def authorization_server(tenant: str) -> Response:
        """The authorization server's metadata (RFC 8414 section 3.1)."""
        return await _document(services, tenant, openid)

    @router.get("/{tenant}/auth/jwks")
    async def jwks(tenant: str) -> Response:
        """The public keys of the clinic (RFC 7517 section 5)."""
        try:
            await services.signing_key(tenant)
            await services.signing_key(tenant, ID_TOKEN_ALGORITHM)
            ring = await services.key_ring(tenant)
        except FhirError as error:
            return forms.refused(error)
        return JSONResponse(ring.jwks(), headers={"Cache-Control": "public, max-age=300", **cors.ANY})

    return router


def smart(services: Services, tenant: str) -> dict[str, Any]:
    """`.well-known/smart-configuration`."""
    return _shared(services, tenant) | {
        "capabilities": list(CAPABILITIES),
        "management_endpoint": f"{services.urls(tenant).issuer}/login",
    }


def openid(services: Services, tenant: str) -> dict[str, Any]:
    """`.well-known/openid-configuration`."""
    return _shared(services, tenant) | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ID_TOKEN_ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "fhirUser", "profile", "name"],
        "prompt_values_supported": ["login", "none", "consent"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
    }


def capability_security(urls: TenantUrls) -> dict[str, Any]:
    """`CapabilityStatement.rest.security`, with the SMART 1 extension."""
    uris = {"authorize": "authorize", "token": "token", "introspect": "introspect", "revoke": "revoke"}
    parts = [{"url": name, "valueUri": f"{urls.issuer}/{path}"} for name, path in uris.items()]
    coding = {"system": _SERVICES, "code": "SMART-on-FHIR"}
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": parts}],
        "cors": True,
        "service": [
            {"coding": [coding], "text": "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)"}
        ],
        "description": "OAuth 2.0 bearer tokens with SMART on FHIR scopes",
    }


def _shared(services: Services, tenant: str) -> dict[str, Any]:
    issuer = services.urls(tenant).issuer
    algorithms = list(assertions.ALGORITHMS)
    made: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "token_endpoint_auth_methods_supported": [*AUTH_METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": list(token.GRANT_TYPES),
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": [*AUTH_METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
    }
    if services.registration != "off":
        made["registration_endpoint"] = f"{issuer}/register"
    return made


async def _document(services: Services, tenant: str, make: Any) -> Response:
    if not await services.store.has(tenant):
        return forms.refused(NotFound("There is no such clinic here."))
    return JSONResponse(make(services, tenant), headers={"Cache-Control": "public, max-age=300", **cors.ANY})
