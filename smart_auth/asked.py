"""What an app asks for at the authorize endpoint, checked (RFC 6749 §4.1.1, RFC 7636, SMART App Launch 2.2.0).

The request is carried through the pages as its own query string and checked anew at each step: nothing is stored
for people who never sign in, and nothing that a browser brings back is trusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fhir_server.store.protocol import Unit
from smart_auth import clients, constraints, forms, protocol, redirects, scopes
from smart_auth.clients import Client
from smart_auth.errors import AuthorizationError, InvalidRequest, InvalidScope, OAuthError
from smart_auth.scopes import URI_FORM, AnyScope, PlainScope, Scope
from smart_auth.services import Services

MAX_STATE = 2_048  # characters
_ONCE = frozenset({"client_id", "redirect_uri"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A sound authorization request. `query` is it again, as a query string."""

    client: Client
    redirect_uri: str
    state: str
    scopes: tuple[AnyScope, ...]
    challenge: str
    nonce: str
    launch: str
    prompt: frozenset[str]
    max_age_in_seconds: int | None
    query: str

    @property
    def app(self) -> str:
        """The app's name for people."""
        return self.client.name or self.client.client_id

    @property
    def form_targets(self) -> tuple[str, ...]:
        """Where a form may lead by redirect."""
        return (redirects.source(self.redirect_uri),)

    def without_prompt(self) -> str:
        """The query string for after the sign-in that it asked for."""
        return urlencode([pair for pair in forms.pairs(self.query) if pair[0] not in ("prompt", "max_age")])


async def read(services: Services, tenant: str, pairs: Sequence[tuple[str, str]]) -> Asked:
    """The request. Raises AuthorizationError, to be told by redirect, or OAuthError, to be told on a page."""
    given = {name: value for name, value in pairs if value}
    twice = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    if twice & _ONCE:
        raise InvalidRequest("client_id or redirect_uri is given twice.")

    async def find(unit: Unit) -> Client | None:
        return await clients.load(unit, given.get("client_id", ""))

    client = await services.store.run(tenant, find, write=False, quick=True)
    uri = protocol.check_authorization_request(client, given)
    assert client is not None
    try:
        if twice:
            raise InvalidRequest("A parameter is given twice.")
        _check_state_and_audience(services, tenant, given)
        asked = await _scopes(services, tenant, client, given)
        age = given.get("max_age", "")
        if age and not (age.isascii() and age.isdigit() and len(age) < 10):
            raise InvalidRequest("max_age must be a number of seconds.")
    except OAuthError as error:
        raise AuthorizationError(uri, error) from error
    return Asked(
        client,
        uri,
        given["state"],
        asked,
        given["code_challenge"],
        given.get("nonce", ""),
        given.get("launch", ""),
        frozenset(given.get("prompt", "").split()),
        int(age) if age else None,
        urlencode(pairs),
    )


def needs_patient(granted: Sequence[AnyScope]) -> bool:
    """Whether scopes ask for a patient in context."""
    return has(granted, "launch/patient") or any(
        isinstance(scope, Scope) and scope.level == "patient" for scope in granted
    )


def has(granted: Sequence[AnyScope], bare: str) -> bool:
    """Whether a plain scope is among the scopes."""
    return any(isinstance(scope, PlainScope) and scope.text.removeprefix(URI_FORM) == bare for scope in granted)


def _check_state_and_audience(services: Services, tenant: str, given: dict[str, str]) -> None:
    if not 0 < len(given.get("state", "")) <= MAX_STATE:
        raise InvalidRequest(f"state is required, with at most {MAX_STATE} characters.")
    audiences = {given[name].rstrip("/") for name in ("aud", "resource") if name in given}
    if len(audiences) != 1 or not audiences <= set(services.audiences(tenant)):
        raise InvalidRequest(f"aud must be this clinic's FHIR base, {services.urls(tenant).fhir_base}.")
    if "request" in given or "request_uri" in given:
        raise InvalidRequest("This server takes no request objects.")
    if given.get("response_mode", "query") != "query":
        raise InvalidRequest("This server answers with response_mode=query.")


async def _scopes(services: Services, tenant: str, client: Client, given: dict[str, str]) -> tuple[AnyScope, ...]:
    asked = scopes.parse_all(given.get("scope", ""), services.types or None)
    if not asked:
        raise InvalidScope("Name the scopes wanted, for instance launch/patient patient/Appointment.rs.")
    for scope in asked:
        if isinstance(scope, Scope) and scope.level == "system":
            raise InvalidScope(
                f"The scope '{scope.text}' is for client_credentials; a person grants patient/ or user/."
            )
    scopes.require_covered(client.registered(), asked)
    await constraints.check(services, tenant, asked)
    if has(asked, "launch") != ("launch" in given):
        raise InvalidRequest("The scope launch and the parameter launch go together, in a launch from the clinic.")
    return asked
