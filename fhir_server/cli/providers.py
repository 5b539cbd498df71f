"""`provider set`, `show`, `check`, `remove`, `unlink`: the OpenID provider with which a clinic's people sign in."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from fhir_server.store.protocol import Unit
from smart_auth import provider_accounts, providers
from smart_auth.provider_client import Refused

_NONE = "People of this clinic sign in with accounts of this server."
_WHY = {
    "unavailable": "it did not answer, or not with JSON",
    "discovery": "its discovery document names another issuer, or lacks an endpoint",
}


async def set_(arguments: argparse.Namespace) -> int:
    """Have a clinic's people sign in with an OpenID provider."""
    tenant, given, secret = arguments.tenant, _content(arguments.file), _secret(arguments)
    if secret and not providers.needs_secret(given):
        raise Refusal("A client that has no authentication has no secret.")
    async with opened(arguments, f"provider set {tenant} {given['issuer']}") as shell:
        seal = shell.parts.services.seal

        async def work(unit: Unit) -> None:
            former = await providers.load(unit, seal)
            kept = secret or (former.secret if former is not None else "")
            if providers.needs_secret(given) and not kept:
                raise Refusal("The client's secret is read from stdin with --secret-stdin.")
            await providers.save(unit, seal, given, kept if providers.needs_secret(given) else "")
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
        print(f"People of {tenant} sign in with {given['name']} now.")
        print(f"Register this redirect URI there: {shell.parts.services.urls(tenant).issuer}/callback")
    return 0


async def show(arguments: argparse.Namespace) -> int:
    """Show the configuration, without the secret."""
    async with opened(arguments, "provider show") as shell:
        found = await shell.store.run(arguments.tenant, providers.configuration, write=False)
    print(json.dumps(found, indent=2, ensure_ascii=False) if found is not None else _NONE)
    return 0


async def check(arguments: argparse.Namespace) -> int:
    """Fetch the provider's documents, as a sign-in would."""
    async with opened(arguments, "provider check") as shell:
        services = shell.parts.services

        async def load(unit: Unit) -> providers.Provider | None:
            return await providers.load(unit, services.seal)

        provider = await shell.store.run(arguments.tenant, load, write=False)
        if provider is None:
            raise Refusal(_NONE)
        assert services.provider_client is not None  # the app made one
        try:
            count = await services.provider_client.check(provider)
        except Refused as error:
            raise Refusal(f"{provider.issuer} is not sound: {_WHY.get(error.code, error.code)}.") from error
    print(f"{provider.issuer} is sound, and has {count} keys.")
    return 0


async def remove(arguments: argparse.Namespace) -> int:
    """Let people sign in with accounts of this server again."""
    tenant = arguments.tenant
    async with opened(arguments, f"provider remove {tenant}") as shell:

        async def work(unit: Unit) -> None:
            if not await providers.remove(unit):
                raise Refusal(_NONE)
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
    print(f"People of {tenant} sign in with accounts of this server now.")
    return 0


async def unlink(arguments: argparse.Namespace) -> int:
    """Let an account be linked anew at the next sign-in."""
    tenant, name = arguments.tenant, arguments.name
    async with opened(arguments, f"provider unlink {tenant} {name}") as shell:

        async def work(unit: Unit) -> None:
            if not await provider_accounts.unlink(unit, name):
                raise Refusal(f"'{name}' is linked to nobody at a provider.")
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
    print(f"{name} is linked to whoever signs in next by that name.")
    return 0


def _content(name: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"The file '{name}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refusal(f"The file '{name}' is no JSON: {error}.") from error
    if faults := providers.faults(content):
        raise Refusal("; ".join(faults))
    found: dict[str, Any] = content
    return found


def _secret(arguments: argparse.Namespace) -> str:
    if not arguments.secret_stdin:
        return ""
    secret = sys.stdin.readline().rstrip("\n")
    if not (secret and secret.isascii() and secret.isprintable()):
        raise Refusal("There is no secret of printable ASCII characters on stdin.")
    return secret
