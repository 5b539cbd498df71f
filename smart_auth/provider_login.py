"""Signing in at the clinic's OpenID provider: the way there, and the callback (OpenID Connect Core §3.1.2, RFC 9700).

The browser carries a random `state`; what it stands for is kept for ten minutes, for the browser that was sent away
(its cookie), and once. Passwords, lockout and second factors are the provider's affair.

    sign-in  SHA-256 of the state -> browser, issuer, nonce, PKCE verifier, greatest age, the app's request
"""

import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, NotFound
from fhir_server.store.protocol import Unit
from smart_auth import asked, forms, pages, provider_accounts, providers, sessions, sign_ins
from smart_auth.asked import Asked
from smart_auth.errors import OAuthError
from smart_auth.grants import digest
from smart_auth.provider_client import Begun, ProviderClient, Refused, authorization_url
from smart_auth.providers import Provider
from smart_auth.services import Services
from smart_auth.sessions import Session
from smart_auth.sign_ins import BROWSER

METHOD = "provider"
KIND = "sign-in"
LIFETIME: Micros = 10 * 60 * 1_000_000
MAX_QUERY = 8_192  # characters
# What a person reads, by what went wrong; all else is the provider's answer being unsound.
WORDS = {
    "state": "This sign-in was not begun in this browser, was used already, or is too old. Begin again.",
    "denied": "{name} did not sign you in. Begin again, or ask the clinic.",
    "unavailable": "{name} cannot be reached now. Try again in a few minutes.",
    "unknown person": "{name} signed you in, but this clinic does not know you by that account. Ask the clinic.",
}
UNSOUND = "{name} answered in a way that cannot be trusted, so you are not signed in. Begin again, or tell the clinic."
_STATUS = {"unavailable": 503, "unknown person": 403}


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in under way."""

    browser: str
    issuer: str
    begun: Begun
    query: str


def routes(services: Services) -> APIRouter:
    """`/callback`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.get("/callback")
    async def callback(request: Request, tenant: str) -> Response:
        """Where the OpenID provider sends the person back to."""
        urls = services.urls(tenant)
        try:
            provider = await _provider(services, tenant)
            if provider is None:
                raise NotFound("This clinic has no OpenID provider.")
            return await _back(services, tenant, request, provider)
        except (OAuthError, FhirError) as error:
            return pages.failure(urls, str(error), error.status)

    return router


async def is_elsewhere(services: Services, tenant: str) -> bool:
    """Whether people of the clinic sign in with an OpenID provider."""
    return bool(await name(services, tenant))


async def name(services: Services, tenant: str) -> str:
    """The name of the clinic's provider; '' where people sign in here."""
    provider = await _provider(services, tenant)
    return provider.name if provider is not None else ""


async def begin(services: Services, tenant: str, request: Request, query: str, *, again: bool) -> Response:
    """Send the person to the provider; `again`: somebody is signed in, and another or a fresh proof is wanted."""
    urls = services.urls(tenant)
    provider = await _provider(services, tenant)
    assert provider is not None  # the caller asked
    wanted = await _asked(services, tenant, query)
    max_age = wanted.max_age_in_seconds if wanted is not None else None
    begun = Begun(secrets.token_urlsafe(32), secrets.token_urlsafe(48), max_age)
    more = {"state": secrets.token_urlsafe(32)}
    if again or (wanted is not None and "login" in wanted.prompt):
        more["prompt"] = "login"
    if max_age is not None:
        more["max_age"] = str(max_age)
    client = _client(services)
    try:
        metadata = await client.metadata(provider)
    except Refused as error:
        return await _refused(services, tenant, request, provider, error, query)
    browser = sessions.cookie(request, urls, BROWSER) or secrets.token_urlsafe(32)
    pending = Pending(digest(browser), provider.issuer, begun, query if wanted is not None else "")

    async def work(unit: Unit) -> None:
        await unit.keep(KIND, digest(more["state"]), json.dumps(asdict(pending)).encode(), services.clock() + LIFETIME)

    await services.store.run(tenant, work, write=True)
    answer = pages.redirect(authorization_url(provider, metadata, begun, _redirect_uri(services, tenant), more))
    sessions.set_cookie(answer, urls, BROWSER, browser)
    return answer


async def _back(services: Services, tenant: str, request: Request, provider: Provider) -> Response:
    query = ""
    try:
        given = _given(request)
        pending = await _pending(services, tenant, request, provider, given.get("state", ""))
        query = pending.query
        client = _client(services)
        # Mix-up (RFC 9207 §2.4): who announces that answers carry `iss` is held to it; a wrong one is never taken.
        names_itself = (await client.metadata(provider)).names_itself
        if given.get("iss", provider.issuer if not names_itself else "") != provider.issuer:
            raise Refused("iss")
        if "error" in given or "code" not in given:
            raise Refused("denied")
        claims = await client.redeem(provider, pending.begun, given["code"], _redirect_uri(services, tenant))
        session = await _sign_in(services, tenant, request, provider, claims, pending.begun.max_age_in_seconds)
    except Refused as error:
        return await _refused(services, tenant, request, provider, error, query)
    return await sign_ins.go_on(services, tenant, session, query)


def _given(request: Request) -> dict[str, str]:
    """The parameters of the callback. Raises InvalidRequest for one given twice, and Refused."""
    try:
        return forms.once(forms.pairs(request.url.query))
    except ValueError as error:
        raise Refused("state") from error


async def _pending(services: Services, tenant: str, request: Request, provider: Provider, state: str) -> Pending:
    """What the state stands for, used up now. Raises Refused."""
    browser = sessions.cookie(request, services.urls(tenant), BROWSER)

    async def take(unit: Unit) -> bytes | None:
        return await unit.take(KIND, digest(state))

    stored = await services.store.run(tenant, take, write=True) if state and browser else None
    if stored is None:
        raise Refused("state")
    written = json.loads(stored)
    pending = Pending(written["browser"], written["issuer"], Begun(**written["begun"]), written["query"])
    if not hmac.compare_digest(pending.browser, digest(browser)) or pending.issuer != provider.issuer:
        raise Refused("state")
    return pending


async def _sign_in(
    services: Services, tenant: str, request: Request, provider: Provider, claims: dict[str, object],
    max_age_in_seconds: int | None,
) -> Session:  # fmt: skip
    """A session for whom the claims name. Raises Refused."""

    async def work(unit: Unit) -> tuple[Session, bool] | None:
        person = await provider_accounts.find(unit, provider, claims, services.urls(tenant).fhir_base)
        if person is None:
            return None
        # Only where the app asked how old the sign-in may be does the provider have to say; else it is now.
        began = claims.get("auth_time") if max_age_in_seconds is not None else None
        at = int(began) * 1_000_000 if isinstance(began, int | float) else None
        return await sign_ins.open_session(services, tenant, unit, request, person.account, at), person.is_new

    found = await services.store.run(tenant, work, write=True)
    if found is None:
        raise Refused("unknown person")
    session, is_new = found
    account = session.account
    if is_new:
        await sign_ins.record(services, tenant, request, "account-link", account, account.name, method=METHOD)
    await sign_ins.record(services, tenant, request, "login", account, account.name, method=METHOD)
    return session


async def _refused(
    services: Services, tenant: str, request: Request, provider: Provider, refused: Refused, query: str = ""
) -> Response:
    """The page that says so, and the record; nothing of what the provider wrote is in either."""
    await sign_ins.record(services, tenant, request, "login", None, "", error=refused.code, method=METHOD)
    words = WORDS.get(refused.code, UNSOUND).format(name=provider.name)
    return pages.page(
        "provider_failure",
        services.urls(tenant),
        status=_STATUS.get(refused.code, 400),
        words=words,
        again=urlencode({"request": query}) if query else "",
        may_retry=refused.code != "unknown person",
    )


async def _provider(services: Services, tenant: str) -> Provider | None:
    if not await services.store.has(tenant):
        raise NotFound("There is no such clinic here.")

    async def work(unit: Unit) -> Provider | None:
        return await providers.load(unit, services.seal)

    return await services.store.run(tenant, work, write=False, quick=True)


async def _asked(services: Services, tenant: str, query: str) -> Asked | None:
    """The app's request that the person came with, if it is sound."""
    try:
        is_short = 0 < len(query) <= MAX_QUERY
        return await asked.read(services, tenant, forms.pairs(query)) if is_short else None
    except (OAuthError, ValueError):
        return None


def _client(services: Services) -> ProviderClient:
    assert services.provider_client is not None  # the app made one
    return services.provider_client


def _redirect_uri(services: Services, tenant: str) -> str:
    return f"{services.urls(tenant).issuer}/callback"
