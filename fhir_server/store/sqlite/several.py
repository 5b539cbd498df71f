"""A walk in the order of several sort keys: along the first one's index, its equals ordered by the others.

Up to MOST equals are gathered and ordered. Where there are more, the next key's index is walked in its turn, and the
value of the first is probed; so no page costs more than some thousands of rows, however many there are.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Protocol

import apsw

from fhir_server.search.plan import Query, Sort
from fhir_server.store.sqlite import order
from fhir_server.store.sqlite.compile import TRUE, Sql, join

MOST = 4_096
# Before and after every creation key.
_FIRST, _LAST = -1, 1 << 62

Row = tuple[Any, ...]  # creation key, then a value for each sort


class Walk(Protocol):
    """The keys and values in the order of a query's one sort key, of what a condition on `d.key` lets through."""

    def __call__(self, query: Query, also: Sql, *, by_key: bool) -> Iterable[Row]:
        """Those equal in the order of creation where it is `by_key`, else in any."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """What a walk is made of: the connection, how one key is walked, and values that earlier keys have."""

    connection: apsw.Connection
    walk: Walk
    fixed: tuple[tuple[Sort, Any], ...] = ()

    def rows(self, query: Query) -> Iterator[Row]:
        """Keys and all sort values, in order, from the last page's place on."""
        if len(query.sort) == 1:
            yield from self.walk(query, self._condition(query.type), by_key=True)
            return
        first = query.sort[0]
        place = (query.after[0], _FIRST) if query.after is not None else None
        while True:
            one = replace(query, sort=(first,), after=place)
            for value, group in groupby(self._one(one), key=itemgetter(1)):
                after = query.after[1:] if query.after is not None and query.after[0] == value else None
                rest = replace(query, sort=query.sort[1:], after=after)
                keys = [row[0] for row in islice(group, MOST + 1)]
                found = self._gathered(rest, keys) if len(keys) <= MOST else self._below(first, value).rows(rest)
                for key, *values in found:
                    yield (key, value, *values)
                if len(keys) > MOST:
                    place = (value, _LAST)
                    break
            else:
                return

    def _one(self, query: Query) -> Iterable[Row]:
        return self.walk(query, self._condition(query.type), by_key=False)

    def _below(self, sort: Sort, value: Any) -> "Grouped":
        return replace(self, fixed=(*self.fixed, (sort, value)))

    def _condition(self, type_: str) -> Sql:
        if not self.fixed:
            return TRUE
        return join([order.value(type_, sort, "d.key") + Sql(" IS ?", (value,)) for sort, value in self.fixed], " AND ")

    def _gathered(self, query: Query, keys: list[int]) -> Iterable[Row]:
        sql = order.ordered(query, Sql("SELECT value FROM json_each(?)", (json.dumps(keys),)), TRUE)
        return self.connection.execute(sql.text, sql.args)
