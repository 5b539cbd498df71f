"""What commands have in common: the settings, the server's parts, who runs the command, and how it prints."""

import argparse
import os
import pwd
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fhir_server.app import Parts, make_parts, store_for
from fhir_server.audit.command import Command
from fhir_server.cli.refusal import Refusal
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.fhir.errors import FhirError
from fhir_server.settings import Settings, Unfit, from_environment
from fhir_server.store.protocol import Store, Unit
from smart_auth.errors import OAuthError


@dataclass(frozen=True, slots=True)
class Shell:
    """One run of a command."""

    settings: Settings
    store: Store
    parts: Parts
    command: Command

    async def record(self, unit: Unit) -> None:
        """Record the command, in the Unit of what it changes."""
        await unit.audit(self.command.event(self.parts.server.clock()).entry())


def settings_of(arguments: argparse.Namespace, **changes: object) -> Settings:
    """The environment's settings with the command's own. Raises Refusal."""
    try:
        settings = from_environment()
    except ValueError as error:
        raise Refusal(str(error)) from error
    if arguments.data:
        settings = replace(settings, data=Path(arguments.data))
    return replace(settings, **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(arguments: argparse.Namespace, words: str, *, may_make: bool = False) -> AsyncIterator[Shell]:
    """The server's parts over the settings' store; `words` are the command as it is audited, without secrets.

    Refusals of the server inside become Refusal.
    """
    settings = settings_of(arguments)
    if not settings.store and not may_make and not (settings.data / "tenants").is_dir():
        raise Refusal(f"There is no data of this server in '{settings.data}'; see --data.")
    with explained():
        make_folder(settings)
        ids = Ids(system_clock)
        store = store_for(settings, system_clock, ids)
        parts = make_parts(settings, store=store, ids=ids)
        try:
            yield Shell(settings, store, parts, Command(words, login(), secrets.token_hex(8)))
        finally:
            await store.close()


class explained:  # noqa: N801 - reads as a word of a with statement
    """Turns the server's refusals into the command's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match error:
            case Unfit():
                raise Refusal(str(error)) from error
            case FhirError():
                raise Refusal(error.issues[0].diagnostics) from error
            case OAuthError():
                raise Refusal(error.description) from error
            case OSError():
                raise Refusal(f"{error.strerror or error}: {error.filename or ''}") from error


def make_folder(settings: Settings) -> None:
    """Make the embedded store's folder, if it is not there, for this account's eyes only: it holds signing keys."""
    if not settings.store:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)


def place(settings: Settings) -> str:
    """Where the data are, without anybody's credentials."""
    if not settings.store:
        return str(settings.data.resolve())
    scheme, _, rest = settings.store.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def login() -> str:
    """The name of whoever runs this process, as the operating system knows it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: as a table on a terminal, else a line each with tabs between."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, box=None, header_style="bold")
    for row in rows:
        made.add_row(*row)
    Console().print(made)
