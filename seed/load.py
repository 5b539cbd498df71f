"""import: files of resources into a clinic, in batches, with a report of what was refused and why.

A second run over the same files stores nothing twice, so an interrupted import is resumed by running it again.
Three passes, so that the order of the files does not matter: what stands for itself; what has conditional references,
again and again while they resolve; and appointments, whose rules look at slots, schedules and services.
"""

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
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

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
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
        self._file.close()


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

    referring, appointments = Spool(), Spool()
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
            if next(conditional.found_in(item.resource), None) is not None:
                referring.add(item)
            elif isinstance(item.resource, dict) and item.resource.get("resourceType") == "Appointment":
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
    while referring.count:
        left, ready = Spool(), Spool()
        for batch in _batches(referring.items()):
            wanted = {text for item in batch for text in conditional.found_in(item.resource)}
            targets |= await writer.resolve(wanted - targets.keys())
            for item in batch:
                resource = conditional.replaced(item.resource, targets)
                is_open = next(conditional.found_in(resource), None) is not None
                kept = item if is_open else replace(item, resource=resource)
                is_late = not is_open and resource.get("resourceType") == "Appointment"
                (left if is_open else appointments if is_late else ready).add(kept)
        progress = referring.count - left.count
        await write(ready.items())
        if not progress:
            await write(_unresolved(left))
            return
        referring = left


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
