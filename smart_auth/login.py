"""Signing in and out with the built-in accounts (OWASP authentication and session management cheat sheets).

Where the clinic has an OpenID provider, there are no names and passwords here: whoever comes is sent there.
"""

import asyncio
import secrets
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from fhir_server.fhir.errors import FhirError, NotFound
from fhir_server.store.protocol import Unit
from smart_auth import (
    accounts,
    asked,
    attempts,
    forms,
    pages,
    passkey_login,
    passkeys,
    provider_login,
    sessions,
    sign_ins,
    totp,
)
from smart_auth.accounts import Account
from smart_auth.authorize import COOKIE, find_session
from smart_auth.errors import AccessDenied, OAuthError
from smart_auth.services import Services
from smart_auth.sessions import Session
from smart_auth.sign_ins import BROWSER

PURPOSE = "login"
LOGOUT = "logout"
# One sentence for every failure: it tells neither who has an account nor which half was wrong.
FAILED = (
    "The name, the password, the code or the passkey is wrong, or there were too many attempts. "
    "Try again in a few minutes."
)
# argon2 takes 64 MiB a time.
AT_ONCE = 4


def routes(services: Services) -> APIRouter:
    """`/login` and `/logout`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])
    hashing = asyncio.Semaphore(AT_ONCE)

    @router.get("/login")
    async def form(request: Request, tenant: str) -> Response:
        """The sign-in page."""
        try:
            query = request.query_params.get("request", "")
            session = await find_session(services, tenant, request)
            if session is not None and not query:
                return await _signed_in(services, tenant, session)
            if await provider_login.is_elsewhere(services, tenant):
                return await provider_login.begin(services, tenant, request, query, again=session is not None)
            return await _form(services, tenant, request, query)
        except (OAuthError, FhirError) as error:
            return pages.failure(services.urls(tenant), str(error), error.status)

    @router.post("/login")
    async def login(request: Request, tenant: str) -> Response:
        """Sign in."""
        try:
            given = await forms.read_form(request)
            await _check(services, tenant, request, given)
            if answer := given.get("credential", ""):
                session = await passkey_login.sign_in(services, tenant, request, answer)
            else:
                async with hashing:
                    session = await _sign_in(services, tenant, request, given)
            if session is None:
                return await _form(services, tenant, request, given.get("request", ""), given.get("name", ""), FAILED)
            return await sign_ins.go_on(services, tenant, session, given.get("request", ""))
        except (OAuthError, FhirError) as error:
            return pages.failure(services.urls(tenant), str(error), error.status)

    @router.post("/login/passkey")
    async def passkey(request: Request, tenant: str) -> Response:
        """What the sign-in page's script asks an authenticator."""
        try:
            await _check(services, tenant, request, await forms.read_form(request))
            return await passkey_login.options(services, tenant, request)
        except (OAuthError, FhirError) as error:
            return forms.refused(error)

    @router.get("/logout")
    async def logout_form(request: Request, tenant: str) -> Response:
        """Whether somebody is signed in, with the button to sign out."""
        try:
            return await _signed_in(services, tenant, await find_session(services, tenant, request))
        except FhirError as error:
            return pages.failure(services.urls(tenant), str(error), error.status)

    @router.post("/logout")
    async def logout(request: Request, tenant: str) -> Response:
        """Sign out."""
        try:
            given = await forms.read_form(request)
            session = await find_session(services, tenant, request)
            if session is not None:
                sessions.check_form(request, session.value, LOGOUT, given.get("form_token", ""))
                await _sign_out(services, tenant, request, session)
        except (OAuthError, FhirError) as error:
            return pages.failure(services.urls(tenant), str(error), error.status)
        answer = await _signed_in(services, tenant, None)
        sessions.drop_cookie(answer, services.urls(tenant), COOKIE)
        return answer

    return router


async def _check(services: Services, tenant: str, request: Request, given: Mapping[str, str]) -> None:
    """Raises AccessDenied for a form that our own page did not send, and where people sign in elsewhere."""
    browser = sessions.cookie(request, services.urls(tenant), BROWSER)
    sessions.check_form(request, browser, PURPOSE, given.get("form_token", ""))
    if await provider_login.is_elsewhere(services, tenant):
        raise AccessDenied("People of this clinic sign in with its OpenID provider.")


async def _form(
    services: Services, tenant: str, request: Request, query: str, name: str = "", error: str = ""
) -> Response:
    if not await services.store.has(tenant):
        raise NotFound("There is no such clinic here.")
    urls = services.urls(tenant)
    app, targets = await _app(services, tenant, query)
    browser = sessions.cookie(request, urls, BROWSER) or secrets.token_urlsafe(32)
    answer = pages.page(
        "login",
        urls,
        status=401 if error else 200,
        form_targets=targets,
        has_script=passkeys.party(urls) is not None,
        app=app,
        request=query,
        name=name,
        error=error,
        form_token=sessions.form_token(browser, PURPOSE),
    )
    sessions.set_cookie(answer, urls, BROWSER, browser)
    return answer


async def _app(services: Services, tenant: str, query: str) -> tuple[str, tuple[str, ...]]:
    """The app that sent the person here, and where it is; nothing where the request is not sound."""
    try:
        found = await asked.read(services, tenant, forms.pairs(query)) if query else None
    except (OAuthError, ValueError):
        return "", ()
    return (found.app, found.form_targets) if found is not None else ("", ())


async def _sign_in(services: Services, tenant: str, request: Request, given: Mapping[str, str]) -> Session | None:
    """A session for the name, password and, where the person has an authenticator app, code that were given."""
    name, password = given.get("name", "").strip().lower()[:128], given.get("password", "")
    address = services.address_of(request)

    async def begin(unit: Unit) -> tuple[bool, Account | None]:
        may_try = await attempts.count(unit, name, address, services.clock())
        return may_try, await accounts.load(unit, name)

    may_try, account = await services.store.run(tenant, begin, write=True)
    is_right = await accounts.verify_password(account if may_try else None, password)

    async def open_session(unit: Unit) -> Session | None:
        # The code is looked at after a wrong password too, so that no answer tells which of the two was wrong.
        is_accepted = await totp.accepts(unit, services.seal, name, given.get("code", "")[:16], services.clock())
        takes_password = await passkeys.takes_password(unit, name)
        if account is None or not may_try or not is_right or not is_accepted or not takes_password:
            return None
        await attempts.forgive(unit, name, address, services.clock())
        return await sign_ins.open_session(services, tenant, unit, request, account)

    session = await services.store.run(tenant, open_session, write=True)
    if session is None:
        why = "locked" if not may_try else "failed"
        # A name that nobody has is not recorded: people type their password there.
        known = name if account is not None else ""
        await sign_ins.record(services, tenant, request, "login", None, known, error=why)
    else:
        await sign_ins.record(services, tenant, request, "login", account, name)
    return session


async def _signed_in(services: Services, tenant: str, session: Session | None) -> Response:
    urls = services.urls(tenant)
    provider = await provider_login.name(services, tenant)
    return pages.page(
        "signed_in",
        urls,
        person=(session.account.display or session.account.name) if session is not None else "",
        form_token=sessions.form_token(session.value, LOGOUT) if session is not None else "",
        provider=provider,
        has_passkeys=not provider and passkeys.party(urls) is not None,
    )


async def _sign_out(services: Services, tenant: str, request: Request, session: Session) -> None:
    async def work(unit: Unit) -> None:
        await sessions.end(unit, session.value)

    await services.store.run(tenant, work, write=True)
    await sign_ins.record(services, tenant, request, "logout", session.account, session.account.name)
