"""import: files of resources into a clinic, in batches, with a report of what was refused and why.

A second run over the same files stores nothing twice, so an interrupted import is resumed by running it again.
Three passes, so that the order of the files does not matter: what stands for itself; what has conditional references,
again and again while they resolve; and appointments, whose rules look at slots, schedules and services.
"""

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from fhir_server.fhir import json
from fhir_server.fhir.outcome import Issue
from seed import conditional, sources
from seed.write import Item, Outcome, Refused, Writer

BATCH = 200
RULE = "import"


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how an import goes: the bytes of the files read so far, and each refusal as it comes."""

    progress: Callable[[int], None] = lambda _: None
    refused: Callable[[Refused], None] = lambda _: None


class Spool:
    """Items put aside on disk, in order."""

    def __init__(self, spools: ExitStack) -> None:
        self._file: IO[bytes] = spools.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - by its stack
        self.count = 0

    def add(self, item: Item) -> None:
        """Put an item aside."""
        self._file.write(orjson.dumps([item.file, item.at]) + b"\n" + json.serialise(item.resource) + b"\n")
        self.count += 1

    def items(self) -> Iterator[Item]:
        """All that was put aside; nothing is added after."""
        self._file.seek(0)
        while head := self._file.readline():
            file, at = orjson.loads(head)
            yield Item(file, at, json.parse(self._file.readline()))


async def load(writer: Writer, files: Sequence[Path], *, unpack: bool = False, watch: Watch | None = None) -> Outcome:
    """Import files. The Outcome counts; `watch` is told while it goes on."""
    watch = watch or Watch()
    await writer.begin()
    total = Outcome()

    async def write(items: Iterable[Item]) -> None:
        for batch in _batches(items):
            outcome = await writer.write(batch)
            for refused in outcome.refused:
                watch.refused(refused)
            total.add(outcome)

    with ExitStack() as spools:
        referring, appointments = Spool(spools), Spool(spools)
        await write(_first(files, unpack, watch, referring, appointments))
        await _write_referring(writer, referring, appointments, write)
        await write(appointments.items())
    return total


def _first(files: Sequence[Path], unpack: bool, watch: Watch, referring: Spool, appointments: Spool) -> Iterator[Item]:
    """The items that stand for themselves; the others are put aside."""
    before = 0
    for path in files:
        for item, done in sources.read(path, unpack=unpack):
            watch.progress(before + done)
            if _is_referring(item):
                referring.add(item)
            elif _is_appointment(item):
                appointments.add(item)
            else:
                yield item
        before += path.stat().st_size if path.exists() else 0
        watch.progress(before)


async def _write_referring(
    writer: Writer, referring: Spool, appointments: Spool, write: Callable[[Iterable[Item]], Awaitable[None]]
) -> None:
    """Write what has conditional references as they resolve, until a pass resolves none."""
    targets: dict[str, str] = {}
    with ExitStack() as spools:
        while referring.count:
            left, ready = Spool(spools), Spool(spools)
            for batch in _batches(referring.items()):
                wanted = {text for item in batch for text in conditional.found_in(item.resource)}
                targets |= await writer.resolve(wanted - targets.keys())
                for item in batch:
                    resolved = replace(item, resource=conditional.replaced(item.resource, targets))
                    if _is_referring(resolved):
                        left.add(item)
                    else:
                        (appointments if _is_appointment(resolved) else ready).add(resolved)
            await write(ready.items())
            if left.count == referring.count:
                await write(_unresolved(left))
                return
            referring = left


def _is_referring(item: Item) -> bool:
    return next(conditional.found_in(item.resource), None) is not None


def _is_appointment(item: Item) -> bool:
    return isinstance(item.resource, dict) and item.resource.get("resourceType") == "Appointment"


def _unresolved(left: Spool) -> Iterator[Item]:
    for item in left.items():
        text = next(conditional.found_in(item.resource), "")
        diagnostics = f"The conditional reference '{text}' matches no resource of this clinic, or several."
        yield replace(item, fault=Issue("not-found", diagnostics, item.resource.get("resourceType")))


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
