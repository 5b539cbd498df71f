"""`migrate`: move clinics between the embedded store and MongoDB (docs/mongodb.md, "Moving a clinic").

The run is recorded in the log of each clinic's source, and copied with it: an entry of the target's own would make
the two logs differ.
"""

import argparse
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fhir_server.app import store_for
from fhir_server.audit.command import Command
from fhir_server.cli.progress import comparing
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, login, make_folder, place, settings_of, table
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.settings import Settings
from fhir_server.store.migrate import Report, Side, migrate
from fhir_server.store.protocol import Store, Unit


async def run(arguments: argparse.Namespace) -> int:
    """Copy and compare."""
    source, target = (_settings(arguments, given) for given in (arguments.source, arguments.target))
    if place(source) == place(target):
        raise Refusal("--from and --to are the same place.")
    if not source.store and not (source.data / "tenants").is_dir():
        raise Refusal(f"There is no data of this server in '{source.data}'; see --from.")
    with explained():
        async with _opened(source) as (store, here), _opened(target) as (_, there):
            tenants = await _tenants(store, arguments.tenant)
            await _record(store, tenants, f"migrate --to {place(target)}")
            with comparing() as told:
                progress = lambda tenant, part, rows, of: told(f"{tenant} {part}", rows, of)  # noqa: E731
                reports = await migrate(here, there, tenants, progress=progress)
    _show(reports)
    unlike = [report.tenant for report in reports if not report.is_whole]
    if unlike:
        raise Refusal(f"Still changing: {', '.join(unlike)}. Stop its servers; run again.")
    return 0


def _settings(arguments: argparse.Namespace, given: str) -> Settings:
    """The settings of a store that an argument names."""
    settings = settings_of(arguments)
    if given == "sqlite":
        return replace(settings, store="", field_key="")
    if given == "mongodb":
        if not settings.store:
            raise Refusal("`mongodb` stands for FHIR_SERVER_STORE, which is not set.")
        return settings
    if given.startswith(("mongodb://", "mongodb+srv://")):
        return replace(settings, store=given)
    return replace(settings, store="", field_key="", data=Path(given))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Store, Side]]:
    make_folder(settings)
    store = store_for(settings, system_clock, Ids(system_clock))
    try:
        yield store, _side(settings, store)
    finally:
        await store.close()


def _side(settings: Settings, store: Store) -> Side:
    if settings.store:
        from fhir_server.store.mongo.transfer import MongoSide

        return MongoSide(store)  # type: ignore[arg-type]
    from fhir_server.store.sqlite.transfer import SqliteSide

    return SqliteSide(settings.data, store)  # type: ignore[arg-type]


async def _tenants(store: Store, named: Sequence[str] | None) -> Sequence[str]:
    there = await store.tenants()
    unknown = sorted(set(named or ()) - set(there))
    if unknown:
        raise Refusal(f"There is no clinic '{unknown[0]}' in the source.")
    return named or there


async def _record(store: Store, tenants: Sequence[str], words: str) -> None:
    event = Command(words, login(), secrets.token_hex(8)).event(system_clock())

    async def work(unit: Unit) -> None:
        await unit.audit(event.entry())

    for tenant in tenants:
        await store.run(tenant, work, write=True)


def _show(reports: list[Report]) -> None:
    rows = [
        (report.tenant, part, str(copied.rows), copied.hash[:16], "equal" if not copied.changed else "changing")
        for report in reports
        for part, copied in report.parts.items()
    ]
    table(("Clinic", "Part", "Rows", "SHA-256", "Last pass"), rows)
