"""The hash chain of audit entries: what each entry's hash covers, on every store.

An entry which is changed, removed, inserted or moved breaks the chain from there on.
"""

import hashlib

GENESIS = bytes(32)


def link(before: bytes, number: int, recorded: int, body: bytes) -> bytes:
    """The hash of an entry: SHA-256 over the hash before it, its number and time (8 bytes each) and its body."""
    return hashlib.sha256(before + number.to_bytes(8, "big") + recorded.to_bytes(8, "big") + body).digest()
