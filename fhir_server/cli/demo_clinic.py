"""The demo clinic as `serve --demo` sees to it, and what it prints of it."""

import secrets

from fhir_server.audit.command import Command
from fhir_server.cli.shell import login, place
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.settings import Settings
from seed import access, clinic


async def ensure(settings: Settings) -> None:
    """Make the demo clinic if there is none, and free slots for the four weeks to come."""
    from fhir_server.app import make_parts, store_for

    ids = Ids(system_clock)
    store = store_for(settings, system_clock, ids)
    command = Command("serve --demo", login(), secrets.token_hex(8))
    try:
        if not await clinic.is_made(store):
            parts = make_parts(settings, store=store, ids=ids)
            await clinic.make_demo(store, parts.clinics, system_clock, command)
        elif not await clinic.has_slots(store, system_clock):
            parts = make_parts(settings, store=store, ids=ids)
            await clinic.add_slots(store, parts.clinics, system_clock, command)
    finally:
        await store.close()


def text(settings: Settings) -> str:
    """Where it is, who may come in, and what to type next."""
    base, auth = f"{settings.origin}/{clinic.TENANT}/fhir", f"{settings.origin}/{clinic.TENANT}/auth"
    people = "\n".join(
        f"  {name:<16} {access.password_of(name):<22} {role}, {who}" for name, role, who, _ in access.PEOPLE
    )
    apps = "\n".join(
        f"  {client.client_id:<16} {access.secret_of(client.client_id) if client.secret_hash else '(public)':<22} "
        f"{', '.join(client.grant_types)}"
        for client in access.CLIENTS
    )
    return f"""
The demo clinic is at  {base}
The data are in        {place(settings)}

People           password
{people}

Apps             secret
{apps}

Type next, in another terminal:
{chr(10).join(f"  {line}" for line in curl_lines(base, auth))}

Or walk the whole journey: {_journey(settings, base)}
Stop with Ctrl-C.
"""


def _journey(settings: Settings, base: str) -> str:
    """The command that walks the journey; it reads the store, too, and a connection string is not shown."""
    return f"fhir-server demo --base {base}" + (f" --data {settings.data}" if not settings.store else "")


def curl_lines(base: str, auth: str) -> tuple[str, str, str]:
    """Three things to try: what anybody sees, a token, and what the token shows."""
    secret = access.secret_of("auditor")
    return (
        f"curl -s '{base}/Slot?status=free&_sort=start&_count=3&_pretty=true'",
        f"TOKEN=$(curl -s -u auditor:{secret} -d grant_type=client_credentials -d scope=system/AuditEvent.rs "
        f"""{auth}/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')""",
        f"""curl -s -H "Authorization: Bearer $TOKEN" '{base}/AuditEvent?_count=3&_pretty=true'""",
    )
