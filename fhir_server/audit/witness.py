"""Witnesses: who is shown every checkpoint, so that a log cut off with its checkpoints is found out."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import orjson

from fhir_server.store.protocol import Sealed


class Witness(Protocol):
    """Somebody outside of the data folder."""

    def see(self, tenant: str, sealed: Sealed) -> None:
        """Take note of a checkpoint, durably. Raises OSError when that cannot be done."""


class FileWitness:
    """A file to which checkpoints are appended, a line each; best on another machine's or a write-once disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def see(self, tenant: str, sealed: Sealed) -> None:
        """Append a line and have it on disk."""
        with self._path.open("ab") as file:
            file.write(line(tenant, sealed) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def line(tenant: str, sealed: Sealed) -> bytes:
    """A checkpoint as a line of JSON, here and in exports."""
    parts = {"body": sealed.body, "signature": sealed.signature, "marks": sealed.marks}
    return orjson.dumps(
        {"tenant": tenant, "checkpoint": sealed.number}
        | {name: base64.b64encode(value).decode() for name, value in parts.items()}
    )


def read(text: bytes) -> Sealed:
    """The checkpoint of a line. Raises ValueError."""
    try:
        found = orjson.loads(text)
        parts = (base64.b64decode(found[name], validate=True) for name in ("body", "signature", "marks"))
        return Sealed(int(found["checkpoint"]), *parts)
    except (KeyError, TypeError) as error:
        raise ValueError("the line is no checkpoint") from error


def witnessed(path: Path, tenant: str) -> Iterator[Sealed]:
    """The checkpoints of a tenant that a file has seen."""
    with path.open("rb") as file:
        for text in file:
            if orjson.loads(text).get("tenant") == tenant:
                yield read(text)
