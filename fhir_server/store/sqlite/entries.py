"""Index entries as rows: what is inserted for resources."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import apsw

from fhir_server.search.plan import Entries
from fhir_server.store.params import param_number, span_of
from fhir_server.store.sqlite.schema import COLUMNS

# OR FAIL: the default, OR ABORT, keeps a journal of its own for each statement, to undo its first rows if a later one
# fails. Here the whole Unit is undone.
INSERT = {shape: f"INSERT OR FAIL INTO {shape} (param, {', '.join(columns)})" for shape, columns in COLUMNS.items()}
_MOST_TOGETHER = 64

Row = tuple[Any, ...]


def insert(connection: apsw.Connection, into: str, found: Sequence[Row]) -> None:
    """Insert rows, many with one statement: between statements the thread may lose the interpreter to another."""
    begin, left = 0, len(found)
    while left:
        # Powers of two, so that there are few statements to compile, and all stay compiled.
        count = min(_MOST_TOGETHER, 1 << (left.bit_length() - 1))
        together = found[begin : begin + count]
        connection.execute(_values(into, len(together[0]), count), tuple(chain.from_iterable(together)))
        begin, left = begin + count, left - count


@lru_cache(maxsize=512)
def _values(into: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{into} VALUES {', '.join([row] * count)}"


def rows(found: Iterable[tuple[str, int, Entries]]) -> dict[str, list[Row]]:
    """The rows of each shape's table for resources: (type, creation key, entries)."""
    made: dict[str, list[Row]] = {}
    for type_, key, entries in found:
        for shape, its in entries.items():
            made.setdefault(shape, []).extend(_rows_of(shape, type_, key, its))
    return made


def _rows_of(shape: str, type_: str, key: int, its: Iterable[Row]) -> list[Row]:
    number = param_number
    match shape:
        case "token" | "string":
            return [(number(type_, param), first, key, second) for param, first, second in its]
        case "reference":
            return [(number(type_, param), id_, key, target) for param, target, id_ in its]
        case "uri":
            return [(number(type_, param), value, key) for param, value in its]
        case "quantity":
            return [(number(type_, param), unit, span_of(shape, lo, hi), lo, key, hi) for param, unit, lo, hi in its]
        case _:
            return [(number(type_, param), span_of(shape, lo, hi), lo, key, hi) for param, lo, hi in its]


def row_of(shape: str, param: int, key: int, entry: Row) -> Row:
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
