"""`tenant create`, `tenant list`."""

import argparse
import json
from zoneinfo import ZoneInfo

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened, table
from fhir_server.clinics import ClinicSettings, keep_settings
from fhir_server.store.protocol import Unit


async def create(arguments: argparse.Namespace) -> int:
    """Make an empty clinic."""
    settings = ClinicSettings(arguments.zone, tuple(arguments.cors_origin))
    try:
        ZoneInfo(settings.zone)  # before anything is made
    except (KeyError, OSError, ValueError) as error:
        raise Refusal(f"'{settings.zone}' is no IANA time zone, such as Europe/Berlin.") from error
    words = f"tenant create {arguments.tenant} --zone {settings.zone}"
    async with opened(arguments, words, may_make=True) as shell:

        async def work(unit: Unit) -> None:
            await keep_settings(unit, settings)
            await shell.record(unit)

        await shell.store.create_tenant(arguments.tenant)
        await shell.store.run(arguments.tenant, work, write=True)
        print(f"Made the clinic '{arguments.tenant}': {shell.settings.origin}/{arguments.tenant}/fhir")
    return 0


async def list_(arguments: argparse.Namespace) -> int:
    """List the clinics."""

    async def work(unit: Unit) -> ClinicSettings:
        kept = await unit.peek("setting", "clinic")
        return ClinicSettings(**json.loads(kept)) if kept is not None else ClinicSettings()

    async with opened(arguments, "tenant list") as shell:
        rows = []
        for name in await shell.store.tenants():
            settings = await shell.store.run(name, work, write=False, quick=True)
            rows.append((name, settings.zone, " ".join(settings.cors_origins)))
        table(("Clinic", "Zone", "CORS origins"), rows)
    return 0
