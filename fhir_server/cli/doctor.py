"""`doctor`: whether the server can run here, check by check."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fhir_server.app import store_for
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, settings_of
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.fhir.errors import FhirError
from fhir_server.settings import Settings
from fhir_server.store.checks import Broken, Check


async def run(arguments: argparse.Namespace) -> int:
    """Do all checks, and tell each result."""
    settings = settings_of(arguments)
    _tell("Python", sys.version.split()[0])
    with explained():
        async with _checks(settings, fix=arguments.fix) as checks:
            failed = await _try(checks)
    if failed:
        raise Refusal(f"{failed} of the checks failed.")
    return 0


async def _try(checks: Sequence[Check]) -> int:
    """How many failed."""
    failed = 0
    for check in checks:
        try:
            _tell(check.name, await check.run())
        except (Broken, OSError) as error:
            _tell(check.name, str(error), good=False)
        except FhirError as error:
            _tell(check.name, str(error.issues[0].diagnostics), good=False)
        else:
            continue
        failed += 1
        if check.is_needed:
            break
    return failed


def _tell(name: str, told: str, *, good: bool = True) -> None:
    print(f"{'ok  ' if good else 'FAIL'}  {name}: {told}")


@asynccontextmanager
async def _checks(settings: Settings, *, fix: bool) -> AsyncIterator[Sequence[Check]]:
    """The checks of the store that the settings name."""
    settings.check_store()
    if not settings.store:
        from fhir_server.store.sqlite.checks import checks

        yield checks(settings.data)
        return
    from fhir_server.store.mongo.checks import checks as mongo_checks

    store: Any = store_for(settings, system_clock, Ids(system_clock))
    try:
        yield mongo_checks(store, fix=fix)
    finally:
        await store.close()
