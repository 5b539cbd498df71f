"""A person's own passkeys: a page that lists, adds and removes them (WebAuthn Level 2 §7.1).

Whoever finds a browser open must not get a way in that outlasts it: a passkey is added only soon after signing in.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError, NotFound
from fhir_server.store.protocol import Unit
from smart_auth import forms, pages, passkeys, provider_login, sessions, sign_ins
from smart_auth.authorize import find_session
from smart_auth.errors import AccessDenied, OAuthError
from smart_auth.forms import NO_STORE
from smart_auth.passkeys import Owned, Party, Passkey, Unverified
from smart_auth.services import Services
from smart_auth.sessions import Session

PURPOSE = "passkeys"
ADDED_WITHIN: Micros = 10 * 60 * 1_000_000  # of signing in
NOT_ADDED = "The passkey was not added. Try again."
NOT_REMOVED = "That passkey cannot be removed: it is not there any more, or it is the only way you sign in by."


def routes(services: Services) -> APIRouter:
    """`/passkeys`, to be mounted at `/{tenant}/auth`."""
    router = APIRouter(tags=["authorization"])

    @router.get("/passkeys")
    async def page(request: Request, tenant: str) -> Response:
        """The person's passkeys."""
        try:
            await _party(services, tenant)
            session = await find_session(services, tenant, request)
            if session is None:
                return pages.redirect(f"{services.urls(tenant).issuer}/login")
            return await _page(services, tenant, session)
        except FhirError as error:
            return pages.failure(services.urls(tenant), str(error), error.status)

    @router.post("/passkeys")
    async def change(request: Request, tenant: str) -> Response:
        """Add or remove one."""
        try:
            party, given = await _party(services, tenant), await forms.read_form(request)
            session = await _person(services, tenant, request, given)
            if given.get("action") == "add":
                error = await _add(services, tenant, request, session, party, given)
            else:
                error = await _remove(services, tenant, request, session, given.get("passkey", ""))
            if error:
                return await _page(services, tenant, session, error)
            return pages.redirect(f"{services.urls(tenant).issuer}/passkeys")
        except (OAuthError, FhirError) as error:
            return pages.failure(services.urls(tenant), str(error), error.status)

    @router.post("/passkeys/new")
    async def new(request: Request, tenant: str) -> Response:
        """What the page's script has an authenticator make."""
        try:
            party, given = await _party(services, tenant), await forms.read_form(request)
            session = await _person(services, tenant, request, given)
            return await _options(services, tenant, session, party)
        except (OAuthError, FhirError) as error:
            return forms.refused(error)

    return router


async def _party(services: Services, tenant: str) -> Party:
    """Raises NotFound where there are no passkeys: browsers make none at this address, or people sign in elsewhere."""
    party = passkeys.party(services.urls(tenant))
    if party is None or not await services.store.has(tenant) or await provider_login.is_elsewhere(services, tenant):
        raise NotFound("There are no passkeys here.")
    return party


async def _person(services: Services, tenant: str, request: Request, given: Mapping[str, str]) -> Session:
    """Who sent a form of our own page. Raises AccessDenied."""
    session = await find_session(services, tenant, request)
    sessions.check_form(request, session.value if session else "", PURPOSE, given.get("form_token", ""))
    assert session is not None  # check_form refuses an empty value
    return session


async def _page(services: Services, tenant: str, session: Session, error: str = "") -> Response:
    async def work(unit: Unit) -> list[Passkey]:
        return list(await passkeys.of_account(unit, session.account.name))

    found = await services.store.run(tenant, work, write=False, quick=True)
    return pages.page(
        "passkeys",
        services.urls(tenant),
        status=400 if error else 200,
        has_script=True,
        person=session.account.display or session.account.name,
        passkeys=[
            {"name": each.name, "label": each.label, "created": _day(each.created), "used": _day(each.used)}
            for each in found
        ],
        may_add=_is_recent(services, session),
        error=error,
        form_token=sessions.form_token(session.value, PURPOSE),
    )


def _is_recent(services: Services, session: Session) -> bool:
    return services.clock() - session.began <= ADDED_WITHIN


def _day(instant: Micros) -> str:
    return datetime.fromtimestamp(instant / 1_000_000, UTC).date().isoformat() if instant else ""


async def _options(services: Services, tenant: str, session: Session, party: Party) -> Response:
    if not _is_recent(services, session):
        raise AccessDenied("You signed in too long ago; sign out and in again first.")

    async def work(unit: Unit) -> tuple[Owned, list[Passkey], bytes]:
        owner = await passkeys.owned_from_now_on(unit, session.account.name)
        known = list(await passkeys.of_account(unit, session.account.name))
        return owner, known, await passkeys.new_challenge(unit, "make", session.value, services.clock())

    owner, known, challenge = await services.store.run(tenant, work, write=True)
    if len(known) >= passkeys.MOST_OF_A_PERSON:
        raise AccessDenied("You have as many passkeys as there may be; remove one first.")

    def make() -> str:
        from smart_auth import ceremony

        names = (f"{session.account.name} ({tenant})", session.account.display or session.account.name)
        ids = [passkeys.decode(each.id) for each in known]
        return ceremony.creation_options(party, passkeys.decode(owner.handle), names, ids, challenge)

    return Response(await asyncio.to_thread(make), headers=NO_STORE, media_type="application/json")


async def _add(
    services: Services, tenant: str, request: Request, session: Session, party: Party, given: Mapping[str, str]
) -> str:
    """Add the passkey that the authenticator made; what to tell where it was not."""
    account, answer = session.account, given.get("credential", "")

    async def take(unit: Unit) -> bytes:
        return await passkeys.take_challenge(unit, "make", session.value)

    def check(challenge: bytes) -> Passkey:
        from smart_auth import ceremony

        made = ceremony.check_made(party, challenge, answer)
        label = " ".join(given.get("label", "").split())[: passkeys.MAX_LABEL] or "Passkey"
        return Passkey(passkeys.name_of(made.id), passkeys.encode(made.id), account.name,
                       passkeys.encode(made.public_key), made.count, label, services.clock())  # fmt: skip

    async def keep(unit: Unit) -> bool:
        if not await sessions.is_open(unit, session.digest):
            return False
        return await passkeys.add(unit, await passkeys.owned(unit, account.name), passkey)

    try:
        challenge = await services.store.run(tenant, take, write=True)
        passkey = await asyncio.to_thread(check, challenge)
        is_kept = await services.store.run(tenant, keep, write=True)
    except Unverified:
        is_kept = False
    error = "" if is_kept else "failed"
    await sign_ins.record(services, tenant, request, "passkey-add", account, account.name, error=error)
    return "" if is_kept else NOT_ADDED


async def _remove(services: Services, tenant: str, request: Request, session: Session, name: str) -> str:
    """Remove a passkey of the person; what to tell where it was not."""
    account = session.account

    async def work(unit: Unit) -> bool:
        return await passkeys.remove(unit, account.name, name)

    is_gone = await services.store.run(tenant, work, write=True)
    error = "" if is_gone else "failed"
    await sign_ins.record(services, tenant, request, "passkey-remove", account, account.name, error=error)
    return "" if is_gone else NOT_REMOVED
