"""From a code or refresh token to tokens: RFC 6749 §4.1.3 and §6, SMART App Launch 2.2.0 "token response"."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.fhir.clock import Micros
from fhir_server.interactions.access import Agent
from fhir_server.store.protocol import Unit
from smart_auth import accounts, grants, id_tokens, patients, protocol, scopes, sessions, tokens
from smart_auth.accounts import Account
from smart_auth.clients import PEOPLE, Client
from smart_auth.errors import InvalidGrant, InvalidScope, OAuthError
from smart_auth.grants import Authorization
from smart_auth.services import Services


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token request gave: the JSON of the answer, and what is recorded of it."""

    answer: Mapping[str, Any]
    agent: Agent
    subject: str


@dataclass(frozen=True, slots=True)
class _Redeemed:
    """What came out of the Unit: the consent, whose it is, and the new refresh token ('' for none)."""

    authorization: Authorization
    account: Account
    refresh_token: str


async def code(services: Services, tenant: str, client: Client, form: Mapping[str, str]) -> Issued:
    """Redeem a code. Raises OAuthError; whatever happens, the code is used up."""

    async def redeem(unit: Unit) -> _Redeemed | OAuthError:
        now = services.clock()
        found = await grants.spend(unit, grants.CODE, form.get("code", ""), now, _until(services, now))
        try:
            protocol.check_code(client, form, found)
        except OAuthError as error:
            return error  # not raised: that would give the code back
        assert found is not None
        return await _redeem(unit, services, client, found)

    redeemed = await _run(services, tenant, redeem)
    return await _issue(services, tenant, client, redeemed, redeemed.authorization.scopes)


async def refresh(services: Services, tenant: str, client: Client, form: Mapping[str, str]) -> Issued:
    """Exchange a refresh token for new tokens; with `scope`, for fewer rights. Raises OAuthError.

    The old token is used up, unless the request is refused for its form or its scope alone.
    """
    token = form.get("refresh_token", "")

    async def redeem(unit: Unit) -> _Redeemed | OAuthError:
        found = await grants.peek_refresh_token(unit, token)
        now = services.clock()
        if found is None:
            await grants.spend(unit, grants.REFRESH, token, now, _until(services, now))
        try:
            protocol.check_refresh(client, form, found)
        except OAuthError as error:
            return error
        found = await grants.spend(unit, grants.REFRESH, token, now, _until(services, now))
        if found is None:
            return InvalidGrant("The refresh token was revoked.")
        try:
            await check_session(unit, found)
        except InvalidGrant as error:
            return error
        return await _redeem(unit, services, client, found)

    redeemed = await _run(services, tenant, redeem)
    wanted = tuple(form["scope"].split()) if "scope" in form else redeemed.authorization.scopes
    return await _issue(services, tenant, client, redeemed, wanted)


async def client_of(services: Services, tenant: str, token: str) -> str:
    """The client that a refresh token is for. Raises InvalidGrant; one that was used before revokes its family."""

    async def find(unit: Unit) -> str:
        found = await grants.peek_refresh_token(unit, token)
        if found is None:
            now = services.clock()
            await grants.spend(unit, grants.REFRESH, token, now, _until(services, now))
        return found.client_id if found is not None else ""

    client_id = await services.store.run(tenant, find, write=True)
    if not client_id:
        services.revocations.forget(tenant)
        raise InvalidGrant("The refresh token is unknown, used, expired or revoked.")
    return client_id


async def _run(services: Services, tenant: str, work: Any) -> _Redeemed:
    redeemed = await services.store.run(tenant, work, write=True)
    if isinstance(redeemed, OAuthError):
        services.revocations.forget(tenant)  # a second use may have revoked the grant
        raise redeemed
    assert isinstance(redeemed, _Redeemed)
    return redeemed


async def holder(unit: Unit, client: Client, found: Authorization, now: Micros) -> Account:
    """Whose consent it is, while it holds. Raises InvalidGrant once person, relation or registration do not."""
    account = await accounts.load(unit, found.account)
    if account is None or account.disabled or account.role not in PEOPLE[client.surface]:
        raise InvalidGrant("The person may not be acted for any more.")
    is_proxy = account.role == "proxy" and found.patient
    if is_proxy and found.patient != await patients.acts_for(unit, account.fhir_user, now):
        raise InvalidGrant("The person does not act for this patient any more.")
    try:
        # A registration may have been narrowed since the consent.
        scopes.require_covered(client.registered(), scopes.parse_all(" ".join(found.scopes)))
    except InvalidScope as error:
        raise InvalidGrant(error.description) from error
    return account


async def check_session(unit: Unit, found: Authorization) -> None:
    """Raises InvalidGrant where a refresh token ends with a session that is over."""
    if found.needs_session and not await sessions.is_open(unit, found.session):
        raise InvalidGrant("The person has signed out; online_access ends with the session.")


async def _redeem(unit: Unit, services: Services, client: Client, found: Authorization) -> _Redeemed | OAuthError:
    try:
        account = await holder(unit, client, found, services.clock())
    except InvalidGrant as error:
        return error  # not raised: that would give the code or token back
    token = ""
    if found.lasts and "refresh_token" in client.grant_types:
        token = await grants.new_refresh_token(unit, found, services.clock())
    return _Redeemed(found, account, token)


async def _issue(
    services: Services, tenant: str, client: Client, redeemed: _Redeemed, wanted: tuple[str, ...]
) -> Issued:
    found, account = replace(redeemed.authorization, scopes=wanted), redeemed.account
    agent = Agent(account.role, client.client_id, account.fhir_user, account.display or account.name, found.patient,
                  services.ids.resource_id(), wanted)  # fmt: skip
    lifetime = services.persons_lifetime_in_seconds
    what = tokens.Issue(agent, account.name, client.surface, services.clock(), lifetime, found.grant, found.encounter)
    access_token = tokens.issue(await services.signing_key(tenant), services.urls(tenant), what)
    answer: dict[str, Any] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": " ".join(wanted),
        **_context(services, tenant, found),
    }
    if redeemed.refresh_token:
        answer["refresh_token"] = redeemed.refresh_token
    if "openid" in found.bare_scopes():
        answer["id_token"] = await id_tokens.make(services, tenant, found, account)
    return Issued(answer, agent, account.name)


def _context(services: Services, tenant: str, found: Authorization) -> dict[str, Any]:
    """The launch context (SMART App Launch 2.2.0 scopes-and-launch-context)."""
    urls = services.urls(tenant)
    context = {"patient": found.patient, "encounter": found.encounter}
    shown: dict[str, Any] = {name: value for name, value in context.items() if value}
    if found.patient:
        shown["need_patient_banner"] = found.context.get("need_patient_banner", True)
    shown |= {name: found.context[name] for name in ("intent", "fhirContext") if name in found.context}
    return shown | {"smart_style_url": f"{urls.issuer}/smart-style.json", "tenant": tenant}


def _until(services: Services, now: Micros) -> Micros:
    return now + services.persons_lifetime_in_seconds * 1_000_000
