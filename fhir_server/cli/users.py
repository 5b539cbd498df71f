"""`user add`, `user list`, `user disable`, `user totp`, `user passkeys`."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened, table
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.reference import local_reference
from fhir_server.store.protocol import Unit
from smart_auth import accounts, passkeys, totp
from smart_auth.accounts import Account
from smart_auth.passkeys import Passkey

_SHOWN = 12  # characters of what a passkey is kept by


async def add(arguments: argparse.Namespace) -> int:
    """Add a person."""
    given = sys.stdin.readline().rstrip("\n") if arguments.password_stdin else ""
    password = given or secrets.token_urlsafe(12)
    if arguments.password_stdin and not given:
        raise Refusal("There is no password on stdin.")
    tenant, name = arguments.tenant, arguments.name
    try:
        hashed = await accounts.hash_password(password)
        account = Account(name, hashed, arguments.role, arguments.fhir_user, arguments.display)
    except ValueError as error:
        raise Refusal(str(error)) from error
    target = local_reference(account.fhir_user)
    assert target is not None  # Account has seen to it
    async with opened(
        arguments, f"user add {tenant} {name} --role {account.role} --fhir-user {account.fhir_user}"
    ) as shell:

        async def work(unit: Unit) -> bool:
            if await accounts.load(unit, name) is not None:
                raise Refusal(f"There is a person named '{name}' already.")
            await accounts.save(unit, account)
            await shell.record(unit)
            stored = await unit.read(target.type, target.id)
            return stored is not None and not stored.is_deleted

        if not await shell.store.run(tenant, work, write=True):
            print(f"Note: there is no {account.fhir_user} in this clinic yet.", file=sys.stderr)
    print(f"Added {name}." if given else f"Added {name}. Password, shown this once: {password}")
    return 0


async def list_(arguments: argparse.Namespace) -> int:
    """List the people."""
    async with opened(arguments, "user list") as shell:
        found = await shell.store.run(arguments.tenant, accounts.all_accounts, write=False)
    rows = [(a.name, a.role, a.fhir_user, a.display, "disabled" if a.disabled else "") for a in found]
    table(("Name", "Role", "Who", "Called", ""), rows)
    return 0


async def disable(arguments: argparse.Namespace) -> int:
    """Let a person sign in no more."""
    tenant, name = arguments.tenant, arguments.name
    async with opened(arguments, f"user disable {tenant} {name}") as shell:

        async def work(unit: Unit) -> None:
            if not await accounts.disable(unit, name):
                raise Refusal(f"There is no person named '{name}' in this clinic.")
            await shell.record(unit)

        await shell.store.run(tenant, work, write=True)
    print(f"Disabled {name}; tokens that were issued are refused within a second.")
    return 0


async def one_time_codes(arguments: argparse.Namespace) -> int:
    """Have a person give a code from an authenticator app at sign-in, or no code any more."""
    tenant, name = arguments.tenant, arguments.name
    async with opened(arguments, f"user totp {tenant} {name}{' --off' if arguments.off else ''}") as shell:

        async def work(unit: Unit) -> str:
            if await accounts.load(unit, name) is None:
                raise Refusal(f"There is no person named '{name}' in this clinic.")
            await shell.record(unit)
            if arguments.off:
                await totp.remove(unit, name)
                return ""
            return await totp.set_up(unit, shell.parts.services.seal, name, tenant)

        uri = await shell.store.run(tenant, work, write=True)
    print(f"Add this to the authenticator app; it is shown this once: {uri}" if uri else f"{name} gives no code now.")
    return 0


async def passkeys_(arguments: argparse.Namespace) -> int:
    """List a person's passkeys, remove them, or have them be the only way to sign in."""
    tenant, name = arguments.tenant, arguments.name
    does = next((word for word in ("remove", "remove_all", "only", "also_password") if getattr(arguments, word)), "")
    option = {"": "", "remove": f" --remove {arguments.remove}"}.get(does, f" --{does.replace('_', '-')}")

    async with opened(arguments, f"user passkeys {tenant} {name}{option}") as shell:

        async def work(unit: Unit) -> Sequence[Passkey]:
            if await accounts.load(unit, name) is None:
                raise Refusal(f"There is no person named '{name}' in this clinic.")
            if does:
                await _change_passkeys(unit, name, does, arguments.remove or "")
                await shell.record(unit)
            return await passkeys.of_account(unit, name)

        found = await shell.store.run(tenant, work, write=bool(does))
    table(("Passkey", "Called", "Added", "Last used"), [
        (each.name[:_SHOWN], each.label, _day(each.created), _day(each.used)) for each in found
    ])  # fmt: skip
    return 0


async def _change_passkeys(unit: Unit, name: str, does: str, id_: str) -> None:
    """Do what an option says. Raises Refusal."""
    if does == "remove_all":
        await passkeys.remove_all(unit, name)
    elif does == "remove":
        found = [each.name for each in await passkeys.of_account(unit, name) if each.name[:_SHOWN] == id_]
        if not found or not await passkeys.remove(unit, name, found[0]):
            raise Refusal(f"{name} has no passkey {id_}, or it is the only way to sign in; see --remove-all.")
    elif not await passkeys.set_only(unit, name, only=does == "only"):
        raise Refusal(f"{name} has no passkey yet.")


def _day(instant: Micros) -> str:
    return datetime.fromtimestamp(instant / 1_000_000, UTC).date().isoformat() if instant else ""
