"""What all stores file and seek by: numbers of parameters and of what audit entries name, classes of length, paths."""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

# A date's interval is filed by its length, so that a bound on its end is a bound on its start too:
# class 0 up to a day, 1 up to 31 days, 2 up to 366 days, 3 any length.
DAY = 86_400_000_000
_LONGEST = (DAY, 31 * DAY, 366 * DAY)
SPANS: tuple[int | None, ...] = (*_LONGEST, None)


@lru_cache(maxsize=16_384)
def param_number(type_: str, code: str) -> int:
    """The number that stands for a type's search parameter in index entries: 48 bits of a hash.

    It needs no table of its own, and is the same in every store; two of some thousand names share a number with a
    probability below one in ten million.
    """
    return int.from_bytes(hashlib.blake2b(f"{type_}.{code}".encode(), digest_size=6).digest(), "big")


@lru_cache(maxsize=16_384)
def what(thing: tuple[str, str]) -> int:
    """The number under which an entry is found by something, a kind and a value: 47 bits of a hash.

    Two things may share a number, so whoever looks something up asks each entry whether it is meant.
    """
    return int.from_bytes(hashlib.blake2b("\0".join(thing).encode(), digest_size=6).digest(), "big") >> 1


def span_of(shape: str, lo: Any, hi: Any) -> int:
    """The class of length that an interval is filed under; for numbers 0 is a single point."""
    if shape == "date":
        return bisect_left(_LONGEST, hi - lo)
    return 0 if hi == lo + "!" else 1


def spans(shape: str, *, brief: bool = False) -> Iterable[int]:
    """The classes of length of a shape: all of them, or that of instants."""
    if shape == "date":
        return range(1 if brief else len(SPANS))
    return (0, 1)


def uris_above(value: str) -> list[str]:
    """A URI, and the paths over it, each as written with a slash at its end and without."""
    parts = value.split("/")
    paths = ["/".join(parts[:n]) for n in range(1, len(parts))]
    return list(dict.fromkeys((value, *(each for path in paths for each in (path, path + "/")))))
