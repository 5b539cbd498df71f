"""How a search runs: the filter of its plan, in the order of its sort, from the last page's place on.

- without a sort: in the order of creation, by `at`;
- by one key: along that key's texts in `w`, which order a page by index; then what has no entry, by `at`.
  Dates have texts apart for each class of length, so that a bound on their end is one on the walk;
- by several keys: all that match, ordered by the server.
Which index leads is MongoDB's choice by trial; every condition has one.
"""

import heapq
from collections.abc import AsyncIterator
from typing import Any

from fhir_server.search.plan import Interval, Position, Query, Sort
from fhir_server.store.mongo import join, order, several
from fhir_server.store.mongo.compile import conjunction, lo_bounds
from fhir_server.store.mongo.documents import (
    TAIL_LENGTH,
    place,
    stored,
    value_of,
    value_text,
)
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.schema import Document
from fhir_server.store.protocol import Page

# A match: its place, and its document.
_Match = tuple[Position, Document]


async def run(reading: Reading, query: Query) -> Page:
    """One page of the query's matches, with the total where it is asked for."""
    where, exact = await join.filter_of(reading, query.type, query.where)
    search = Search(reading, query, where, exact=exact)
    total, total_is_exact = await search.total()
    if query.count == 0:
        return Page((), None, total, total_is_exact)
    matches = await search.matches()
    following = matches[query.count - 1][0] if len(matches) > query.count else None
    page = [stored(document) for _, document in matches[: query.count]]
    return Page(page, following, total, total_is_exact)


class Search:
    """One query under way. `where` is its filter; if not `exact`, what it finds is asked again of the plan."""

    def __init__(self, reading: Reading, query: Query, where: Document, *, exact: bool) -> None:
        self._reading, self._query, self._where, self._exact = reading, query, where, exact

    async def matches(self) -> list[_Match]:
        """The page's matches and, where there is one, the next."""
        query = self._query
        if not query.sort:
            return await self._by_creation(query.after[-1] if query.after is not None else 0)
        if len(query.sort) == 1:
            return await self._by_one(query.sort[0])
        if not self._exact:
            every = [document["id"] async for document in self._passing(self._where, fields={"id": 1})]
            return await several.matches(self._reading, query, {"id": {"$in": every}})
        return await several.matches(self._reading, query, self._where)

    async def total(self) -> tuple[int | None, bool]:
        """How many match, counted to the query's limit, and whether that is all of them."""
        limit = self._query.total
        if limit is None:
            return None, True
        most = limit + 1 if limit >= 0 else 0
        counted = await self._count(most)
        exact = limit < 0 or counted <= limit
        return (counted if exact else limit), exact

    async def _count(self, most: int) -> int:
        if self._exact:
            bound: list[Document] = [{"$limit": most}] if most else []
            match = {"$match": self._reading.where(self._query.type, self._where)}
            counted = await self._reading.aggregate([match, *bound, {"$count": "count"}])
            return int(counted[0]["count"]) if counted else 0
        counting = 0
        async for _ in self._passing(self._where, fields={"id": 1}):
            counting += 1
            if counting == most:
                break
        return counting

    async def _by_creation(self, after: int, condition: Document | None = None) -> list[_Match]:
        where = conjunction((condition or {}, self._where))
        found = self._passing(where, sort=[("at", 1)], after=after)
        missing = (None,) if self._query.sort else ()
        return [((*missing, document["at"]), document) async for document in self._first(found)]

    async def _by_one(self, sort: Sort) -> list[_Match]:
        """Along the key's texts, then what has none."""
        query, found = self._query, list[_Match]()
        own = order.bounds_of(sort, query.where)
        after = query.after
        if after is None or after[0] is not None:
            parts = [await self._walk(sort, own, span) for span in order.spans_of(sort)]
            found = list(heapq.merge(*parts, key=lambda match: self._text(sort, match), reverse=sort.descending))
        if own is None and len(found) <= query.count:
            absent = conjunction(
                {f"w.{each}": {"$exists": False}} for each in order.names(self._reading.tenant, query, sort)
            )
            missing_after = after[-1] if after is not None and after[0] is None else 0
            found += await self._by_creation(missing_after, absent)
        return found[: query.count + 1]

    async def _walk(self, sort: Sort, own: Interval | None, span: int) -> list[_Match]:
        """The first matches along the texts of one class of length."""
        field = f"w.{order.name(self._reading.tenant, self._query, sort, span)}"
        where = conjunction(({field: self._range(sort, own, span)}, self._where))
        found = self._passing(where, sort=[(field, -1 if sort.descending else 1)])
        return [
            ((value_of(document["w"][field[2:]][:-TAIL_LENGTH], sort.shape), document["at"]), document)
            async for document in self._first(found)
        ]

    def _range(self, sort: Sort, own: Interval | None, span: int) -> Document:
        """The part of the walk: after the last page's place, and within what the query asks of the key itself."""
        bounds = {"$gt": "", "$lt": "\U0010ffff"}
        if own is not None:
            asked = lo_bounds(sort.shape, own.box, span)
            if "$gte" in asked:
                bounds["$gt"] = value_text(asked["$gte"])
            if "$lt" in asked:
                bounds["$lt"] = value_text(asked["$lt"])
        if self._query.after is not None:
            value, key = self._query.after
            last = place(value, key, descending=sort.descending)
            if sort.descending:
                bounds["$lt"] = min(bounds["$lt"], last)
            else:
                bounds["$gt"] = max(bounds["$gt"], last)
        return bounds

    def _text(self, sort: Sort, match: _Match) -> str:
        (value, key), _ = match
        return place(value, key, descending=sort.descending)

    def _passing(self, where: Document, **options: Any) -> AsyncIterator[Document]:
        limit = self._query.count + 1 if self._exact and "sort" in options else 0
        found = self._reading.find(self._query.type, where, options.pop("fields", _HEAD), limit=limit, **options)
        if self._exact:
            return found
        return join.passing(self._reading, self._query.type, self._query.where, found)

    async def _first(self, found: AsyncIterator[Document]) -> AsyncIterator[Document]:
        n = 0
        async for document in found:
            yield document
            n += 1
            if n > self._query.count:
                break


# What a match needs of its document; not the arrays of entries.
_HEAD = {
    "type": 1, "id": 1, "version": 1, "updated": 1, "body": 1, "key": 1, "patients": 1, "at": 1, "w": 1,
}  # fmt: skip
