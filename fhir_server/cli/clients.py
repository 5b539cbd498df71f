"""`client add`, `client list`, `client rotate`, `client disable`."""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened, table
from fhir_server.store.protocol import Unit
from smart_auth import clients
from smart_auth.clients import OWN_ROLE, Client
from smart_auth.errors import OAuthError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def add(arguments: argparse.Namespace) -> int:
    """Register an app."""
    tenant = arguments.tenant
    client, secret = _client(arguments)
    words = f"client add {tenant} {client.client_id} --surface {client.surface} --scope '{' '.join(client.scopes)}'"
    async with opened(arguments, words) as shell:

        async def work(unit: Unit) -> None:
            if await clients.load(unit, client.client_id) is not None:
                raise Refusal(f"There is a client '{client.client_id}' already; disable or rotate it.")
            await clients.save(unit, client)
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
    print(f"Added {client.client_id}, {client.kind}, {' '.join(client.grant_types)}.")
    if secret:
        print(f"Secret, shown this once: {secret}")
    return 0


async def list_(arguments: argparse.Namespace) -> int:
    """List the apps."""
    async with opened(arguments, "client list") as shell:
        found = await shell.store.run(arguments.tenant, clients.all_clients, write=False)
    rows = [
        (c.client_id, c.kind, c.surface, " ".join(c.grant_types), " ".join(c.scopes), "disabled" if c.disabled else "")
        for c in found
    ]
    table(("Client", "Kind", "Surface", "Grants", "Scopes", ""), rows)
    return 0


async def rotate(arguments: argparse.Namespace) -> int:
    """Replace an app's secret."""
    tenant, client_id = arguments.tenant, arguments.client
    async with opened(arguments, f"client rotate {tenant} {client_id}") as shell:

        async def work(unit: Unit) -> str:
            secret = await clients.rotate_secret(unit, client_id)
            if secret is None:
                raise Refusal(f"There is no client '{client_id}' with a secret in this clinic.")
            await shell.record(unit)
            return secret

        secret = await shell.store.run(tenant, work, write=True)
    print(f"The old secret of {client_id} works no more. New secret, shown this once: {secret}")
    return 0


async def disable(arguments: argparse.Namespace) -> int:
    """Let an app get no more tokens."""
    tenant, client_id = arguments.tenant, arguments.client
    async with opened(arguments, f"client disable {tenant} {client_id}") as shell:

        async def work(unit: Unit) -> None:
            if not await clients.disable(unit, client_id):
                raise Refusal(f"There is no client '{client_id}' in this clinic.")
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
    print(f"Disabled {client_id}; tokens that were issued are refused within a second.")
    return 0


def _client(arguments: argparse.Namespace) -> tuple[Client, str]:
    """The registration and its new secret ('' where it has none). Raises Refusal."""
    surface, jwks = arguments.surface, arguments.jwks
    kind = arguments.kind
    if kind is None:
        acts_for_itself = surface in OWN_ROLE and "authorization_code" not in (arguments.grant or ())
        kind = "confidential-asymmetric" if jwks else "confidential-symmetric" if acts_for_itself else "public"
    acts_for_itself = surface in OWN_ROLE and kind != "public"
    grants = arguments.grant or (["client_credentials"] if acts_for_itself else ["authorization_code"])
    secret = clients.new_secret() if kind == "confidential-symmetric" else ""
    try:
        client = Client(
            arguments.client,
            kind,
            surface,
            tuple(scope for text in arguments.scope for scope in text.split()),
            tuple(dict.fromkeys(grants)),
            tuple(arguments.redirect_uri),
            secret_hash=clients.hash_secret(secret) if secret else "",
            name=arguments.name,
            **_keys(jwks),
        )
    except ValueError as error:
        raise Refusal(str(error)) from error
    except OAuthError as error:
        raise Refusal(error.description) from error
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        raise Refusal("An app that people sign in to needs a --redirect-uri.")
    return client, secret


def _keys(jwks: str | None) -> dict[str, Any]:
    if not jwks:
        return {}
    url = urlsplit(jwks)
    if url.scheme in ("http", "https"):
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            raise Refusal("The URL of a JWK Set begins with https://.")
        return {"jwks_uri": jwks}
    try:
        return {"jwks": clients.import_jwks(json.loads(Path(jwks).read_text()))}
    except OSError as error:
        raise Refusal(f"The file '{jwks}' cannot be read: {error.strerror}.") from error
