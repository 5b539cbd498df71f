"""`import`: files of resources into a clinic, with a report of what was refused and why."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from fhir_server.cli.progress import reading
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from seed import load
from seed.load import Watch
from seed.write import Refused, Writer

_SHOWN = 20


async def run(arguments: argparse.Namespace) -> int:
    """Import the files."""
    files = [Path(name) for name in arguments.files]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise Refusal(f"There is no file '{missing[0]}'.")
    words = f"import {arguments.tenant} {' '.join(path.name for path in files)}"
    async with opened(arguments, words[:500]) as shell:
        writer = Writer(shell.store, await shell.parts.clinics.get(arguments.tenant), shell.command, load.RULE)
        with _report(arguments.report) as refused, reading(sum(path.stat().st_size for path in files)) as progress:
            outcome = await load.load(writer, files, unpack=arguments.unpack, watch=Watch(progress, refused))
    count = len({(one.file, one.at) for one in outcome.refused})
    print(f"Stored {outcome.new} new and {outcome.changed} newer; {outcome.unchanged} were there; {count} refused.")
    if count:
        raise Refusal(f"{count} resources were refused; the rest is stored. Mend them and run the same again.")
    return 0


@contextmanager
def _report(path: str | None) -> Iterator[Callable[[Refused], None]]:
    """Prints the first refusals, and writes all of them to the file, if there is to be one."""
    if path is None:
        yield _Printer()
        return
    try:
        file = Path(path).open("wb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise Refusal(f"The report '{path}' cannot be written: {error.strerror}.") from error
    with file:
        printer = _Printer()

        def report(refused: Refused) -> None:
            printer(refused)
            file.write(orjson.dumps(asdict(refused)) + b"\n")

        yield report


class _Printer:
    def __init__(self) -> None:
        self._count = 0

    def __call__(self, refused: Refused) -> None:
        self._count += 1
        if self._count <= _SHOWN:
            where = ", ".join(part for part in (refused.file, refused.at) if part)
            what = "/".join(part for part in (refused.type, refused.id) if part)
            at = f" at {refused.expression}" if refused.expression else ""
            print(f"refused: {where}: {what}{at}: {refused.reason}", file=sys.stderr)
        elif self._count == _SHOWN + 1:
            print("refused: and more; --report FILE has them all.", file=sys.stderr)
