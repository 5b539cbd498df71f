"""`rules apply`, `slots generate`, `slots close`, `slots reopen`: what a clinic offers, and by which rules."""

import argparse
import json
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from fhir_server.booking import closing, rules_file
from fhir_server.booking.generate import generate as generate_slots
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import Shell, opened
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.store.protocol import Unit
from seed.write import Writer

T = TypeVar("T")

_MOST_TOLD = 5


async def apply(arguments: argparse.Namespace) -> int:
    """Check a file of booking rules, and put them on the clinic's services, all or none."""
    content = _content(arguments.file)
    async with opened(arguments, f"rules apply {arguments.tenant} {Path(arguments.file).name}") as shell:
        if arguments.check:
            print(f"{arguments.file} is sound.")
            return 0
        changed, same = await _act(shell, arguments.tenant, lambda r: rules_file.apply(r, content))
    print(f"Changed {changed} services; {same} had these rules already.")
    return 0


async def generate(arguments: argparse.Namespace) -> int:
    """Make the free slots of some days from a provider's hours."""
    first, last = _day(arguments.start), _day(arguments.end)
    async with opened(arguments, _words("generate", arguments)) as shell:
        made = await _act(shell, arguments.tenant, lambda r: generate_slots(r, arguments.schedule, first, last))
    print(f"Made {made.made} slots; {made.there} were there, {made.left_out} would have overlapped others.")
    return 0


async def close(arguments: argparse.Namespace) -> int:
    """Close the free slots of a range."""
    async with opened(arguments, _words("close", arguments)) as shell:
        lo, hi = await _range(shell, arguments)
        closed, taken = await _act(shell, arguments.tenant, lambda r: closing.close(r, arguments.schedule, lo, hi))
    print(f"Closed {closed} slots; {taken} are taken and stay.")
    return 0


async def reopen(arguments: argparse.Namespace) -> int:
    """Reopen what was closed in a range."""
    async with opened(arguments, _words("reopen", arguments)) as shell:
        lo, hi = await _range(shell, arguments)
        reopened = await _act(shell, arguments.tenant, lambda r: closing.reopen(r, arguments.schedule, lo, hi))
    print(f"Reopened {reopened} slots.")
    return 0


async def _act(shell: Shell, tenant: str, work: Callable[[Repository], Awaitable[T]]) -> T:
    """Do it as the command, in one Unit with its record."""
    writer = Writer(shell.store, await shell.parts.clinics.get(tenant), shell.command, "command")
    return await writer.act(work)


def _content(name: str) -> Any:
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"The file '{name}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refusal(f"The file '{name}' is no JSON: {error}.") from error
    faults = rules_file.faults(content)
    if faults:
        more = f"; and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
        raise Refusal("; ".join(faults[:_MOST_TOLD]) + more)
    return content


async def _range(shell: Shell, arguments: argparse.Namespace) -> tuple[int, int]:
    """The range, in the clinic's zone where the times name none. Raises Refusal."""
    clinic = await shell.parts.clinics.get(arguments.tenant)
    try:
        lo, hi = (interval(text, clinic.zone)[0] for text in (arguments.start, arguments.end))
    except ValueError as error:
        raise Refusal("--from and --to are times such as 2026-12-24 or 2026-12-24T12:00:00+01:00.") from error
    if lo >= hi:
        raise Refusal("The range ends (--to) after it starts (--from).")

    async def is_there(unit: Unit) -> bool:
        stored = await unit.read("Schedule", arguments.schedule)
        return stored is not None and not stored.is_deleted

    if not await shell.store.run(arguments.tenant, is_there, write=False):
        raise Refusal(f"There is no Schedule/{arguments.schedule}.")
    return lo, hi


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Refusal("--from and --to are whole days such as 2026-12-24.") from error


def _words(name: str, arguments: argparse.Namespace) -> str:
    return f"slots {name} {arguments.tenant} {arguments.schedule} --from {arguments.start} --to {arguments.end}"
