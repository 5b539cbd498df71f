"""One order over what several searches found: creation keys order resources of all types alike."""

from collections.abc import Callable, Sequence
from typing import Any

from fhir_server.fhir import json
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import sort_values
from fhir_server.search.plan import Position, Sort
from fhir_server.store.protocol import Stored


def place(extractor: Extractor, stored: Stored, sorts: Sequence[Sort]) -> Position:
    """Where a match stands: its sort values, then its creation key."""
    if not sorts:
        return (stored.key,)
    assert stored.body is not None
    return (*sort_values(extractor.entries(json.parse(stored.body)), sorts), stored.key)


def comparison(sorts: Sequence[Sort]) -> Callable[[tuple[Any, ...], tuple[Any, ...]], int]:
    """Which of two, each beginning with its place, comes first: missing values last, then by creation."""

    def compare(one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
        for left, right, sort in zip(one[0], other[0], sorts, strict=False):
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return -1 if (left < right) != sort.descending else 1
        return -1 if one[0][-1] < other[0][-1] else 1

    return compare
