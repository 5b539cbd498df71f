"""Checkpoints: signed statements of what the log held at a time (docs/audit.md, "Checkpoints").

A checkpoint names for each chain the entries that are new since the one before, as the root of a Merkle tree over their
hashes, and where the chain stands; a Merkle tree over the chains joins them. Its `previous` is the hash of the
checkpoint before it. What is signed is `DOMAIN` and the body, a JSON object in the form that this module writes.

`marks`, kept beside it, are the first four bytes of each entry's hash: the body has their hash. With them a changed
entry is named even when whoever changed it has computed the chain anew from there on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from fhir_server.audit import merkle
from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Sealed

DOMAIN = b"fhir-server audit checkpoint\n"
MARK = 4
NOTHING = "0" * 64


@dataclass(frozen=True, slots=True)
class Range:
    """Entries (after, upto] of a chain, in hexadecimal: the hash of the last, and the root over their hashes."""

    chain: str
    after: int
    upto: int
    head: str
    tree: str

    def row(self) -> list[Any]:
        """As it stands in the body."""
        return [self.chain, self.after, self.upto, self.head, self.tree]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint. `purged` tells of entries that were removed by command: the tombstone (`audit.retention`)."""

    tenant: str
    number: int
    at: Micros
    previous: str
    ranges: tuple[Range, ...]
    key: str
    marks: str = ""
    purged: Mapping[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The root of the tree over the chains."""
        return merkle.root([orjson.dumps(each.row()) for each in self.ranges]).hex()

    def body(self) -> bytes:
        """What is signed, after DOMAIN."""
        members: dict[str, Any] = {"tenant": self.tenant, "number": self.number, "at": self.at}
        members |= {"previous": self.previous, "key": self.key, "root": self.root, "marks": self.marks}
        members["chains"] = [each.row() for each in self.ranges]
        if self.purged:
            members["purged"] = dict(self.purged)
        return orjson.dumps(members)

    def range_of(self, chain: str) -> Range | None:
        """Where a chain stands here."""
        return next((each for each in self.ranges if each.chain == chain), None)


def parse(body: bytes) -> Checkpoint:
    """The checkpoint of a body. Raises ValueError for one that is not in the form written here."""
    try:
        found = orjson.loads(body)
        ranges = tuple(Range(*row) for row in found["chains"])
        made = Checkpoint(
            found["tenant"], found["number"], found["at"], found["previous"], ranges, found["key"], found["marks"],
            found.get("purged", {}),
        )  # fmt: skip
        if made.body() != body:
            raise ValueError("its root or its form is wrong")
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise ValueError("it is no checkpoint") from error
    return made


def hash_of(sealed: Sealed) -> str:
    """By what the next checkpoint names this one."""
    return hashlib.sha256(sealed.body + sealed.signature).hexdigest()


def marks_of(hashes: Sequence[bytes]) -> bytes:
    """The marks of entries."""
    return b"".join(each[:MARK] for each in hashes)
