"""The hash chain of audit entries: what each entry's hash covers, on every store (docs/audit.md, "What is hashed").

An entry which is changed, removed, inserted or moved breaks the chain from there on. A chain begins with a hash that
names its clinic and its writer, so that no chain can stand in another's place.
"""

import hashlib
from struct import Struct

_NUMBER_AND_TIME = Struct(">QQ").pack


def genesis(tenant: str, chain: str) -> bytes:
    """What stands before the first entry of a chain. `tenant` '' is the server's own log."""
    return hashlib.sha256(f"fhir-server audit\0{tenant}\0{chain}".encode()).digest()


def link(before: bytes, number: int, recorded: int, body: bytes) -> bytes:
    """The hash of an entry: SHA-256 over the hash before it, its number and time (8 bytes each) and its body."""
    return hashlib.sha256(before + _NUMBER_AND_TIME(number, recorded) + body).digest()
