"""Index entries as rows: what is inserted for a resource and how intervals are filed by their length."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import apsw

from fhir_server.search.plan import Entries, Shape
from fhir_server.store.sqlite.schema import COLUMNS, SPANS, param_number

INSERT = {shape: f"INSERT INTO {shape} (param, {', '.join(columns)})" for shape, columns in COLUMNS.items()}
_MOST_TOGETHER = 64


def insert(connection: apsw.Connection, into: str, found: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement: between statements the thread may lose the interpreter to another."""
    for begin in range(0, len(found), _MOST_TOGETHER):
        together = found[begin : begin + _MOST_TOGETHER]
        places = ", ".join([f"({', '.join('?' * len(together[0]))})"] * len(together))
        connection.execute(f"{into} VALUES {places}", tuple(chain.from_iterable(together)))


def rows(type_: str, key: int, entries: Entries) -> Iterator[tuple[Shape, list[tuple[Any, ...]]]]:
    """The rows of each shape's table."""
    for shape, found in entries.items():
        if found:
            yield shape, [_row(shape, param_number(type_, entry[0]), key, entry) for entry in found]


def span_of(shape: str, lo: Any, hi: Any) -> int:
    """The class of length that an interval is filed under; for numbers 0 is a single point."""
    if shape == "date":
        return next(n for n, longest in enumerate(SPANS) if longest is None or hi - lo <= longest)
    return 0 if hi == lo + "!" else 1


def spans(shape: str, *, brief: bool = False) -> Iterable[int]:
    """The classes of length of a shape: all of them, or that of instants."""
    if shape == "date":
        return range(1 if brief else len(SPANS))
    return (0, 1)


def _row(shape: str, param: int, key: int, entry: tuple[Any, ...]) -> tuple[Any, ...]:
    match shape:
        case "token":
            return (param, entry[1], key, entry[2])
        case "string":
            return (param, entry[1], key, entry[2])
        case "reference":
            return (param, entry[2], key, entry[1])
        case "uri":
            return (param, entry[1], key)
        case "quantity":
            return (param, entry[1], span_of(shape, entry[2], entry[3]), entry[2], key, entry[3])
        case _:
            return (param, span_of(shape, entry[1], entry[2]), entry[1], key, entry[2])
