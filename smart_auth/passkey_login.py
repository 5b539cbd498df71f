"""Signing in with a passkey (WebAuthn Level 2 §7.2): lockout and answers are those of passwords."""

import asyncio
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from fhir_server.fhir.errors import TooMany
from fhir_server.store.protocol import Unit
from smart_auth import accounts, attempts, passkeys, sessions, sign_ins
from smart_auth.accounts import Account
from smart_auth.errors import AccessDenied
from smart_auth.forms import NO_STORE
from smart_auth.passkeys import Passkey, Unverified
from smart_auth.services import Services
from smart_auth.sessions import Session
from smart_auth.sign_ins import BROWSER

METHOD = "passkey"
JSON = "application/json"
MANY = "Passkeys were asked for too often from your network. Try again in a few minutes, or sign in without."


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an answer before it is verified. `name` is what its failures are counted under."""

    name: str
    may_try: bool
    challenge: bytes = b""
    passkey: Passkey | None = None
    account: Account | None = None


async def options(services: Services, tenant: str, request: Request) -> Response:
    """What the browser asks the authenticator, with a new challenge for this browser. Raises AccessDenied, TooMany."""
    urls = services.urls(tenant)
    party, browser = passkeys.party(urls), sessions.cookie(request, urls, BROWSER)
    if party is None:
        raise AccessDenied("There are no passkeys at this address.")

    async def work(unit: Unit) -> bytes:
        now = services.clock()
        if wait := await attempts.count_challenge(unit, services.address_of(request), now):
            raise TooMany(MANY, headers={"Retry-After": str(wait // 1_000_000 + 1)})
        return await passkeys.new_challenge(unit, "use", browser, now)

    challenge = await services.store.run(tenant, work, write=True)
    return Response(await asyncio.to_thread(_options, party, challenge), headers=NO_STORE, media_type=JSON)


async def sign_in(services: Services, tenant: str, request: Request, answer: str) -> Session | None:
    """A session for whoever's passkey gave this answer; None when it is refused."""
    found, error = await _begin(services, tenant, request, answer), "failed"
    session = None
    if not found.may_try:
        error = "locked"
    elif found.passkey is not None and (count := await _count(services, tenant, found, answer)) is not None:
        session, error = await _finish(services, tenant, request, found, count)
    name = found.account.name if found.account is not None else ""
    account = found.account if session is not None else None
    await sign_ins.record(services, tenant, request, "login", account, name, error=error, method=METHOD)
    return session


async def _begin(services: Services, tenant: str, request: Request, answer: str) -> Found:
    """Use the challenge up and count the attempt, before anything is verified."""
    browser = sessions.cookie(request, services.urls(tenant), BROWSER)
    id_, handle = await asyncio.to_thread(_claimed, answer)

    async def work(unit: Unit) -> Found:
        passkey = await passkeys.load(unit, id_)
        if passkey is not None and handle != passkeys.decode((await passkeys.owned(unit, passkey.account)).handle):
            passkey = None  # §7.2 step 6: the answer names another person than the one it was made for
        name = passkey.account if passkey is not None else f"passkey {passkeys.name_of(id_)}"
        may_try = await attempts.count(unit, name, services.address_of(request), services.clock())
        try:
            challenge = await passkeys.take_challenge(unit, "use", browser)
        except Unverified:
            challenge = b""
        account = await accounts.load(unit, name) if passkey is not None else None
        return Found(name, may_try, challenge, passkey, account)

    return await services.store.run(tenant, work, write=True)


async def _count(services: Services, tenant: str, found: Found, answer: str) -> int | None:
    """The authenticator's counter, when the answer is good."""
    party, passkey = passkeys.party(services.urls(tenant)), found.passkey
    if party is None or passkey is None or not found.challenge or found.account is None or found.account.disabled:
        return None
    from smart_auth import ceremony

    public_key = passkeys.decode(passkey.public_key)
    try:
        return await asyncio.to_thread(ceremony.check_used, party, found.challenge, public_key, answer)
    except Unverified:
        return None


async def _finish(
    services: Services, tenant: str, request: Request, found: Found, count: int
) -> tuple[Session | None, str]:
    """The session, or why there is none: `counter` tells of a copy of the authenticator."""

    async def work(unit: Unit) -> tuple[Session | None, str]:
        account, passkey = await accounts.load(unit, found.name), found.passkey
        if account is None or account.disabled or passkey is None:
            return None, "failed"
        try:
            if not await passkeys.note_use(unit, passkey.name, count, services.clock()):
                return None, "counter"
        except Unverified:
            return None, "failed"
        await attempts.forgive(unit, found.name, services.address_of(request), services.clock())
        await attempts.forgive_challenge(unit, services.address_of(request))
        return await sign_ins.open_session(services, tenant, unit, request, account), ""

    return await services.store.run(tenant, work, write=True)


def _options(party: passkeys.Party, challenge: bytes) -> str:
    from smart_auth import ceremony

    return ceremony.request_options(party, challenge)


def _claimed(answer: str) -> tuple[bytes, bytes]:
    """Credential and handle that an answer names; for one that cannot be read, what no credential has."""
    from smart_auth import ceremony

    try:
        claimed = ceremony.claimed(answer)
    except Unverified:
        return b"", b""
    return claimed.id, claimed.handle
