"""ID tokens: who signed in, for the app (OpenID Connect Core §2, SMART App Launch 2.2.0 `fhirUser`)."""

from typing import Any

from joserfc import jwt

from smart_auth.accounts import Account
from smart_auth.grants import Authorization
from smart_auth.keys import ID_TOKEN_ALGORITHM
from smart_auth.services import Services

LIFETIME_IN_SECONDS = 600


async def make(services: Services, tenant: str, found: Authorization, account: Account) -> str:
    """A signed ID token for the app of an authorization."""
    urls, now = services.urls(tenant), services.clock() // 1_000_000
    granted = found.bare_scopes()
    claims: dict[str, Any] = {
        "iss": urls.issuer,
        "sub": account.name,
        "aud": found.client_id,
        "iat": now,
        "exp": now + LIFETIME_IN_SECONDS,
        "auth_time": found.signed_in,
    }
    if found.nonce:
        claims["nonce"] = found.nonce
    if granted & {"fhirUser", "profile"}:
        url = f"{urls.fhir_base}/{account.fhir_user}"
        claims |= {"fhirUser": url, "profile": url} if "profile" in granted else {"fhirUser": url}
    if "profile" in granted:
        claims["name"] = account.display or account.name
    key = await services.signing_key(tenant, ID_TOKEN_ALGORITHM)
    header = {"alg": key.algorithm, "typ": "JWT", "kid": key.kid}
    return jwt.encode(header, claims, key.key, algorithms=[key.algorithm])
