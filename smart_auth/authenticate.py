"""Client authentication at an endpoint: basic, post, or `private_key_jwt` (RFC 6749 §2.3, RFC 7521 §4.2)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from fhir_server.store.protocol import Unit
from smart_auth import assertions, clients
from smart_auth.assertions import FAILED
from smart_auth.clients import NOBODY, Client
from smart_auth.errors import InvalidClient, InvalidRequest
from smart_auth.services import Services


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a request authenticates its client with: a secret or an assertion. Has no repr, so that no log shows it."""

    client_id: str
    secret: str = ""
    assertion: str = ""


def read_credentials(authorization: str | None, form: Mapping[str, str]) -> Credentials:
    """The one way of authentication that a request uses. Raises InvalidRequest for none or several."""
    kind, assertion = form.get("client_assertion_type"), form.get("client_assertion")
    if (authorization is not None) + ("client_secret" in form) + (assertion is not None or kind is not None) > 1:
        raise InvalidRequest("Authenticate the client in one way only.")
    if authorization is not None:
        credentials = _basic(authorization)
    elif kind is not None or assertion is not None:
        if kind != assertions.TYPE:
            raise InvalidRequest(f"client_assertion_type must be {assertions.TYPE}.")
        if assertion is None:
            raise InvalidRequest("client_assertion is missing.")
        credentials = Credentials(assertions.claimed_client(assertion), assertion=assertion)
    elif "client_secret" in form:
        credentials = Credentials(form.get("client_id", ""), secret=form["client_secret"])
    else:
        raise InvalidClient("The request has no client authentication.")
    if form.get("client_id", credentials.client_id) != credentials.client_id:
        raise InvalidRequest("client_id differs from the client that authenticates.")
    return credentials


async def registered(services: Services, tenant: str, client_id: str) -> str:
    """The id that a refused request claims, if a client has it; else '': people put secrets into the wrong field."""

    async def find(unit: Unit) -> Client | None:
        return await clients.load(unit, client_id)

    if not await services.store.has(tenant):
        return ""
    return client_id if await services.store.run(tenant, find, write=False, quick=True) is not None else ""


async def authenticate(services: Services, tenant: str, credentials: Credentials) -> Client:
    """The client behind the credentials. Raises InvalidClient.

    An assertion is used up once it is good, whatever becomes of the request.
    """

    async def find(unit: Unit) -> Client | None:
        return await clients.load(unit, credentials.client_id)

    client = await services.store.run(tenant, find, write=False, quick=True) or NOBODY
    if not credentials.assertion:
        knows = client.knows_secret(credentials.secret)
        if not knows or client.disabled:
            raise InvalidClient(FAILED)
        return client
    if client.disabled or client.kind != "confidential-asymmetric":
        raise InvalidClient(FAILED)
    jwks = client.jwks
    if jwks is None:
        if services.fetch_jwks is None:
            raise InvalidClient(FAILED)
        jwks = await services.fetch_jwks(client.jwks_uri)
    assertion = assertions.verify(credentials.assertion, client, jwks, services.urls(tenant).token, services.clock())

    async def use(unit: Unit) -> None:
        await assertions.use_once(unit, assertion)

    await services.store.run(tenant, use, write=True)
    return client


async def authenticate_any(
    services: Services, tenant: str, authorization: str | None, form: Mapping[str, str]
) -> Client:
    """The client that a request comes from: a public one by its id alone, any other authenticated.

    Raises InvalidClient, InvalidRequest.
    """
    has_credentials = authorization is not None or {"client_secret", "client_assertion", "client_assertion_type"} & set(
        form
    )
    if has_credentials:
        return await authenticate(services, tenant, read_credentials(authorization, form))

    async def find(unit: Unit) -> Client | None:
        return await clients.load(unit, form.get("client_id", ""))

    client = await services.store.run(tenant, find, write=False, quick=True)
    if client is None or client.kind != "public" or client.disabled:
        raise InvalidClient(FAILED)
    return client


def _basic(authorization: str) -> Credentials:
    """HTTP Basic with form-encoded id and secret (RFC 6749 §2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("The Authorization header of this endpoint must be Basic.")
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise InvalidClient("The Authorization header is not Basic with base64 of 'id:secret'.") from error
    if not colon:
        raise InvalidClient("The Authorization header is not Basic with base64 of 'id:secret'.")
    return Credentials(unquote_plus(client_id), secret=unquote_plus(secret))
