"""Access tokens for operators and tests: `fhir-server token --user … --client … --scope …`.

Whoever may read the data folder may have one: no secret is asked, but the token never holds more than the client is
registered for and the person's role allows, and it is audited like any other.
"""

from dataclasses import dataclass, replace

from fhir_server.fhir.reference import is_id, local_reference
from fhir_server.interactions.access import Agent
from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients, constraints, scopes, tokens
from smart_auth.accounts import Account
from smart_auth.clients import OWN_ROLE, PEOPLE, Client
from smart_auth.errors import AccessDenied, InvalidClient, InvalidScope, OAuthError, UnauthorizedClient
from smart_auth.scopes import AnyScope, Scope
from smart_auth.services import AuthEvent, Services

GRANT_TYPE = "urn:fhir-server:operator"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The token that is asked for. `user` '': the client's own; `patient`: the id of the patient in context."""

    client_id: str
    scope: str
    user: str = ""
    patient: str = ""
    lifetime_in_seconds: int = 3600


async def mint(services: Services, tenant: str, wanted: Wanted) -> str:
    """A signed access token. Raises OAuthError, in words for the operator, and NotFound for an unknown tenant."""

    async def find(unit: Unit) -> tuple[Client | None, Account | None]:
        return await clients.load(unit, wanted.client_id), await accounts.load(unit, wanted.user)

    client, account = await services.store.run(tenant, find, write=False, quick=True)
    try:
        what = _what(services, wanted, client, account)
        await constraints.check(services, tenant, tuple(map(scopes.parse, what.agent.scopes)))
    except OAuthError as error:
        await _record(services, tenant, wanted, error=error)
        raise
    token = tokens.issue(await services.signing_key(tenant), services.urls(tenant), what)
    await _record(services, tenant, wanted, what=what)
    return token


def agent_of(client: Client, account: Account | None, patient: str, scope: str) -> Agent:
    """Who a client is by itself, or a person through it, with scopes that the client may have. Raises OAuthError."""
    agent = _own_agent(client) if account is None else _person(client, account, patient)
    requested = scopes.parse_all(scope, None)
    scopes.require_covered(client.registered(), requested)
    return replace(agent, client_id=client.client_id, scopes=tuple(each.text for each in requested))


def _what(services: Services, wanted: Wanted, client: Client | None, account: Account | None) -> tokens.Issue:
    if client is None or client.disabled:
        raise InvalidClient("There is no such client, or it is disabled.")
    if wanted.user and (account is None or account.disabled):
        raise AccessDenied("There is no such user, or the user is disabled.")
    requested = scopes.parse_all(wanted.scope, services.types or None)
    if not requested:
        raise InvalidScope("Name at least one scope, for instance user/Appointment.rs.")
    scopes.require_covered(client.registered(), requested)
    agent = _own_agent(client) if account is None else _person(client, account, wanted.patient)
    _require_level(agent, requested)
    agent = replace(
        agent,
        client_id=client.client_id,
        token_id=services.ids.resource_id(),
        scopes=tuple(scope.text for scope in requested),
    )
    subject = account.name if account is not None else client.client_id
    return tokens.Issue(agent, subject, client.surface, services.clock(), wanted.lifetime_in_seconds)


def _own_agent(client: Client) -> Agent:
    role = OWN_ROLE.get(client.surface)
    if role is None or "client_credentials" not in client.grant_types:
        raise UnauthorizedClient("This client acts for people only; name a user.")
    return Agent(role=role, name=client.name)


def _person(client: Client, account: Account, patient: str) -> Agent:
    if account.role not in PEOPLE[client.surface]:
        raise AccessDenied(f"People of role {account.role} do not come through this client.")
    who = local_reference(account.fhir_user)
    own_patient = who.id if who is not None and who.type == "Patient" else ""
    if patient and (not is_id(patient) or (own_patient and patient != own_patient)):
        raise AccessDenied("The patient in context is not one that this person may act for.")
    return Agent(account.role, fhir_user=account.fhir_user, name=account.display or account.name,
                 patient=patient or own_patient)  # fmt: skip


def _require_level(agent: Agent, requested: tuple[AnyScope, ...]) -> None:
    for scope in requested:
        if isinstance(scope, Scope) and (scope.level == "system") == agent.is_human:
            needed = "no user" if agent.is_human else "a user"
            raise InvalidScope(f"The scope '{scope.text}' needs {needed}.")
        if isinstance(scope, Scope) and scope.level == "patient" and not agent.patient:
            raise InvalidScope(f"The scope '{scope.text}' needs a patient in context.")


async def _record(
    services: Services,
    tenant: str,
    wanted: Wanted,
    *,
    what: tokens.Issue | None = None,
    error: OAuthError | None = None,
) -> None:
    await services.record(
        AuthEvent(
            tenant,
            services.clock(),
            "token",
            "refused" if what is None else "done",
            GRANT_TYPE,
            wanted.client_id,
            subject=wanted.user or wanted.client_id,
            scope=" ".join(what.agent.scopes) if what is not None else "",
            token_id=what.agent.token_id if what is not None else "",
            error=error.code if error is not None else "",
            description=error.description if error is not None else "",
        )
    )
