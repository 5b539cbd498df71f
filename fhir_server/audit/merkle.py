"""Merkle trees over byte strings: root, inclusion path, and its check (RFC 9162 §2.1)."""

import hashlib
from collections.abc import Sequence


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(data: Sequence[bytes]) -> bytes:
    """The hash of a whole tree (RFC 9162 §2.1.1)."""
    level = [leaf(each) for each in data]
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        # An odd one out rises as it is: the same tree as the recursive definition makes.
        paired = [node(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def path(data: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion path of one leaf, from the bottom up (§2.1.3.1)."""
    level, found = [leaf(each) for each in data], []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling])
        paired = [node(level[n], level[n + 1]) for n in range(0, len(level) - 1, 2)]
        level, index = paired + level[len(paired) * 2 :], index >> 1
    return found


def includes(data: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether a path leads from a leaf to a root (§2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, hash_ = index, size - 1, leaf(data)
    for each in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            hash_ = node(each, hash_)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hash_ = node(hash_, each)
        place, last = place >> 1, last >> 1
    return last == 0 and hash_ == expected
