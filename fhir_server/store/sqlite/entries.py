"""Index entries as rows: what is inserted for a resource."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import apsw

from fhir_server.search.plan import Entries, Shape
from fhir_server.store.params import param_number, span_of
from fhir_server.store.sqlite.schema import COLUMNS

INSERT = {shape: f"INSERT INTO {shape} (param, {', '.join(columns)})" for shape, columns in COLUMNS.items()}
_MOST_TOGETHER = 64


def insert(connection: apsw.Connection, into: str, found: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement: between statements the thread may lose the interpreter to another."""
    for begin in range(0, len(found), _MOST_TOGETHER):
        together = found[begin : begin + _MOST_TOGETHER]
        connection.execute(_statement(into, len(together[0]), len(together)), tuple(chain.from_iterable(together)))


@lru_cache(maxsize=1_024)
def _statement(into: str, columns: int, count: int) -> str:
    return f"{into} VALUES " + ", ".join([f"({', '.join('?' * columns)})"] * count)


def rows(type_: str, key: int, entries: Entries) -> Iterator[tuple[Shape, list[tuple[Any, ...]]]]:
    """The rows of each shape's table."""
    for shape, found in entries.items():
        if found:
            yield shape, [row_of(shape, param_number(type_, entry[0]), key, entry) for entry in found]


def row_of(shape: str, param: int, key: int, entry: tuple[Any, ...]) -> tuple[Any, ...]:
    """The columns of one entry, in the order of INSERT; the entry's own parameter is not looked at."""
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
