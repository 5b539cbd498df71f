"""Files of resources, as a stream of items: a resource in JSON, or NDJSON with one a line, either as `.gz` too.

A Bundle is a resource like any other, unless it is to be unpacked (`bundles`). NDJSON is read line by line, whatever
its size; a JSON file is read whole.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from fhir_server.fhir import json
from fhir_server.fhir.errors import FhirError
from fhir_server.fhir.outcome import Issue
from seed.bundles import entries, is_unpacked
from seed.write import Item

_LINES = (".ndjson", ".jsonl")


def read(path: Path, *, unpack: bool = False) -> Iterator[tuple[Item, int]]:
    """The items of a file, each with how many bytes of the file were read so far."""
    name = path.name.removesuffix(".gz")
    try:
        raw = path.open("rb")
    except OSError as error:
        yield _faulty(path, "", f"The file cannot be read: {error.strerror}."), 0
        return
    with raw:
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        lines = _lines(stream) if name.endswith(_LINES) else _whole(stream)
        try:
            for at, text in lines:
                for item in _items(path, at, text, unpack=unpack):
                    yield item, raw.tell()
        except (EOFError, OSError, zlib.error):
            yield _faulty(path, "", "The file is no whole gzip file, or cannot be read on."), raw.tell()


def _lines(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield f"line {number}", line


def _whole(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    yield "", stream.read()


def _items(path: Path, at: str, text: bytes, *, unpack: bool) -> Iterator[Item]:
    try:
        resource: Any = json.parse(text)
    except FhirError as error:
        yield Item(str(path), at, fault=error.issues[0])
        return
    if not unpack or not is_unpacked(resource):
        yield Item(str(path), at, resource)
        return
    for number, entry in entries(resource):
        place = ", ".join(part for part in (at, f"entry {number}") if part)
        yield Item(str(path), place, entry) if entry is not None else _empty(path, place)


def _empty(path: Path, at: str) -> Item:
    return _faulty(path, at, "The entry has no resource: only what an entry carries can be imported.", "required")


def _faulty(path: Path, at: str, text: str, code: str = "structure") -> Item:
    return Item(str(path), at, fault=Issue(code, text))
