"""This server as the client of an OpenID provider: discovery, the way there, and the code's exchange.

Authlib makes the authorization request, the token request and the client's authentication; `outbound` carries them,
since Authlib's own transport would call any address.
Source: OpenID Connect Discovery §4, Core §3.1, RFC 7636, RFC 9207.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fhir_server.fhir.clock import Clock, Micros
from smart_auth import provider_tokens
from smart_auth.jwks_url import kept_in_seconds
from smart_auth.outbound import Outbound, Unreachable
from smart_auth.provider_tokens import BadToken, NoKey, Wanted
from smart_auth.providers import Provider

MAX_KEPT = 1_000
# New keys are asked for when a token names one that is not there, but not more often.
ASKED_AGAIN_AFTER: Micros = 30 * 1_000_000
_FORM = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


class Refused(Exception):
    """The provider did not sign anybody in; `code` says why, for the audit log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the discovery document says. `names_itself`: answers carry `iss` (RFC 9207)."""

    authorization: str
    token: str
    jwks: str
    names_itself: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """One sign-in under way. `max_age_in_seconds` None: any sign-in that the provider remembers will do."""

    nonce: str
    verifier: str
    max_age_in_seconds: int | None


class ProviderClient:
    """Speaks to providers; their documents are kept as long as their Cache-Control says, and five minutes at most."""

    def __init__(self, clock: Clock, outbound: Outbound) -> None:
        self._clock = clock
        self._outbound = outbound
        self._kept: dict[str, tuple[Micros, Micros, dict[str, Any]]] = {}

    async def metadata(self, provider: Provider) -> Metadata:
        """The discovery document. Raises Refused."""
        url = f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._document(provider, url)
        urls = [str(found.get(name)) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        # The document of another issuer would let it sign in the people of this one (Discovery §4.3).
        scheme = urlsplit(provider.issuer).scheme
        if found.get("issuer") != provider.issuer or any(not each.startswith(f"{scheme}://") for each in urls):
            raise Refused("discovery")
        return Metadata(urls[0], urls[1], urls[2], found.get("authorization_response_iss_parameter_supported") is True)

    async def check(self, provider: Provider) -> int:
        """How many keys the provider has, all of its documents being sound. Raises Refused."""
        jwks = await self._document(provider, (await self.metadata(provider)).jwks)
        return len(jwks["keys"]) if isinstance(jwks.get("keys"), list) else 0

    async def redeem(self, provider: Provider, begun: Begun, code: str, redirect_uri: str) -> dict[str, Any]:
        """The claims of the ID token that a code is good for. Raises Refused."""
        metadata = await self.metadata(provider)
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=begun.verifier
        )
        auth = ClientAuth(provider.client_id, provider.secret, provider.client_authentication)
        url, headers, body = auth.prepare("POST", metadata.token, dict(_FORM), body)
        try:
            answer = await self._outbound.send("POST", url, headers, body, inside=provider.is_inside)
        except Unreachable as error:
            raise Refused("unavailable") from error
        if answer.status != 200:
            raise Refused("unavailable" if answer.status >= 500 else "code")
        token = _object(answer.body).get("id_token")
        if not isinstance(token, str):
            raise Refused("token form")
        return await self._verified(provider, metadata, begun, token)

    async def _verified(self, provider: Provider, metadata: Metadata, begun: Begun, token: str) -> dict[str, Any]:
        wanted = Wanted(begun.nonce, self._clock() // 1_000_000, begun.max_age_in_seconds)
        try:
            try:
                jwks = await self._document(provider, metadata.jwks)
                return provider_tokens.verify(token, jwks, provider, wanted)
            except NoKey:
                jwks = await self._document(provider, metadata.jwks, anew=True)
                return provider_tokens.verify(token, jwks, provider, wanted)
        except NoKey as error:
            raise Refused("token key") from error
        except BadToken as error:
            raise Refused(f"token {error}") from error

    async def _document(self, provider: Provider, url: str, *, anew: bool = False) -> dict[str, Any]:
        now = self._clock()
        since, until, document = self._kept.get(url, (0, 0, {}))
        if now < (since + ASKED_AGAIN_AFTER if anew else until):
            return document
        try:
            answer = await self._outbound.send("GET", url, {"Accept": "application/json"}, inside=provider.is_inside)
        except Unreachable as error:
            raise Refused("unavailable") from error
        if answer.status != 200:
            raise Refused("unavailable")
        document = _object(answer.body)
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        seconds = kept_in_seconds(answer.headers.get("cache-control", ""))
        self._kept[url] = (now, now + seconds * 1_000_000, document)
        return document


def authorization_url(
    provider: Provider, metadata: Metadata, begun: Begun, redirect_uri: str, more: Mapping[str, str]
) -> str:
    """Where the browser is sent; `more` are `state`, and `prompt` and `max_age` where they are asked for."""
    url: str = prepare_grant_uri(
        metadata.authorization,
        client_id=provider.client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=provider.scope,
        nonce=begun.nonce,
        code_challenge=create_s256_code_challenge(begun.verifier),
        code_challenge_method="S256",
        **more,
    )
    return url


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Refused."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("unavailable") from error
    if not isinstance(value, dict):
        raise Refused("unavailable")
    return value
