"""How a search runs: the filter of its plan, in the order of its sort, from the last page's place on.

- without a sort: in the order of creation, by `at`;
- by one key: along that key's texts in `w`, which order a page by index; then what has no entry, by `at`.
  Dates have texts apart for each class of length, so that a bound on their end is one on the walk;
- by several keys: along the first one's, its equals ordered by the others (`grouped`);
- where a condition leads to few: all that match, ordered by the server (`several`); unless they are many, and the
  page is found near the beginning of a walk along the one key.
Which index leads is chosen by counting (`route`), and said to the server as a hint.
"""

import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.search.plan import Box, Position, Query, Sort
from fhir_server.store.mongo import grouped, join, order, route, several
from fhir_server.store.mongo.compile import conjunction, lo_bounds
from fhir_server.store.mongo.documents import (
    TAIL_LENGTH,
    place,
    stored,
    value_of,
    value_text,
)
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.route import BROAD
from fhir_server.store.mongo.schema import Document
from fhir_server.store.protocol import Page

# To gather fewer than this costs less than to look whether the page stands near the walk's beginning.
PATIENT_FROM = 500
CREATION, ORDER = "by_creation", "by_order"
# A match: its place, and its document.
_Match = tuple[Position, Document]


async def run(reading: Reading, query: Query) -> Page:
    """One page of the query's matches, with the total where it is asked for."""
    query = reading.fields.seal_query(query)
    conditions, exact = await join.conditions_of(reading, query.type, query.where)
    search = Search(reading, query, await _choose(reading, query, conditions, exact=exact), exact=exact)
    if query.count == 0:
        return Page((), None, *await search.total())
    matches = await search.matches()
    total, total_is_exact = await search.total(len(matches))
    following = matches[query.count - 1][0] if len(matches) > query.count else None
    page = [stored(document, reading.fields) for _, document in matches[: query.count]]
    return Page(page, following, total, total_is_exact)


@dataclass(frozen=True, slots=True)
class Route:
    """The filter, the index that leads to it, and whether its resources come by that in the order of creation.

    `walks`: along the texts of the sort keys, or through the type; else what the leader leads to is gathered, once
    `patience` many texts of the sort key were looked through for the page in vain.
    """

    where: Document
    index: str
    walks: bool
    patience: int = 0


async def _choose(reading: Reading, query: Query, conditions: list[route.Condition], *, exact: bool) -> Route:
    """The route for a query."""
    own = order.own_condition(query.sort[0], query.where) if len(query.sort) == 1 else None
    # A walk of the sort's own range needs no count of it: it ends with the page.
    others = [each for each in conditions if own is None or each.node is not own]
    leader = await route.leader(reading, query.type, others)
    every = conjunction(each.filter for each in conditions)
    if leader is None:
        return Route(every if not conditions else _probed(conditions), CREATION, walks=True)
    led = route.led_by(leader, conditions)
    if leader.count < BROAD:
        is_one_walk = len(query.sort) == 1 and len(list(order.spans_of(query.sort[0], brief=_is_brief(query)))) == 1
        patience = leader.count // 2 if is_one_walk and exact and leader.count > PATIENT_FROM else 0
        return Route(led, leader.index, walks=False, patience=patience)
    if not query.sort and not route.in_order(leader.condition.filter):
        return Route(_probed(conditions), CREATION, walks=True)
    return Route(led, leader.index, walks=True)


def _is_brief(query: Query) -> bool:
    return order.is_brief(query.sort[0], query)


def _probed(conditions: list[route.Condition]) -> Document:
    return conjunction(route.probed(each.filter) for each in conditions)


class Search:
    """One query under way. If its filter is not `exact`, what it finds is asked again of the plan."""

    def __init__(self, reading: Reading, query: Query, route: Route, *, exact: bool) -> None:
        self._reading, self._query, self._route, self._exact = reading, query, route, exact

    async def matches(self) -> list[_Match]:
        """The page's matches and, where there is one, the next."""
        query, where, index = self._query, self._route.where, self._route.index
        if not query.sort:
            return await self._by_creation(query.after[-1] if query.after is not None else 0)
        if len(query.sort) == 1 and self._route.walks:
            return await self._by_one(query.sort[0])
        if self._route.walks:
            return await grouped.matches(self._reading.tenant, query, self._asked)
        if self._route.patience and (query.after is None or query.after[0] is not None):
            tried = await self._tried(query.sort[0])
            if len(tried) > query.count:
                return tried
        if not self._exact:
            every = [document["id"] async for document in self._passing(where, fields={"id": 1}, hint=index)]
            where, index = {"id": {"$in": every}}, "identity"
        return await several.matches(self._reading, query, where, index)

    async def total(self, found: int | None = None) -> tuple[int | None, bool]:
        """How many match, counted to the query's limit, and whether that is all of them.

        `found` are on the first page: where that has room for more, they are all.
        """
        query, limit = self._query, self._query.total
        if limit is None:
            return None, True
        most = limit + 1 if limit >= 0 else 0
        is_whole = found is not None and query.after is None and found <= query.count
        counted = found if found is not None and is_whole else await self._count(most)
        exact = limit < 0 or counted <= limit
        return (counted if exact else limit), exact

    async def _count(self, most: int) -> int:
        if self._exact:
            return await self._reading.count(self._query.type, self._route.where, most, self._route.index)
        counting = 0
        async for _ in self._passing(self._route.where, fields={"id": 1}, hint=self._route.index):
            counting += 1
            if counting == most:
                break
        return counting

    async def _asked(self, query: Query, also: Document) -> list[_Match]:
        """The matches of another query for the same, with one more condition."""
        where = conjunction((self._route.where, route.probed(also)))
        return await Search(self._reading, query, replace(self._route, where=where), exact=self._exact).matches()

    async def _tried(self, sort: Sort) -> list[_Match]:
        """The page along the key's texts, if it is among so many of them as patience allows."""
        (span,) = order.spans_of(sort, brief=order.is_brief(sort, self._query))
        own = order.boxes_of(sort, order.own_condition(sort, self._query.where))
        field = f"w.{order.name(self._reading.tenant, self._query, sort, span)}"
        pipeline: list[Document] = [
            {"$match": self._reading.where(self._query.type, {field: self._range(sort, own, span)})},
            {"$sort": {field: -1 if sort.descending else 1}},
            {"$limit": self._route.patience},
            {"$match": self._route.where},
            {"$limit": self._query.count + 1},
            {"$project": _HEAD},
        ]
        return [self._match(sort, field, each) for each in await self._reading.aggregate(pipeline, ORDER)]

    def _match(self, sort: Sort, field: str, document: Document) -> _Match:
        return (value_of(document["w"][field[2:]][:-TAIL_LENGTH], sort.shape), document["at"]), document

    async def _by_creation(self, after: int, condition: Document | None = None) -> list[_Match]:
        where = conjunction((condition or {}, self._route.where))
        found = self._passing(where, sort=[("at", 1)], after=after, hint=self._route.index)
        missing = (None,) if self._query.sort else ()
        return [((*missing, document["at"]), document) async for document in self._first(found)]

    async def _by_one(self, sort: Sort) -> list[_Match]:
        """Along the key's texts, then what has none."""
        query, found = self._query, list[_Match]()
        own = order.boxes_of(sort, order.own_condition(sort, query.where))
        after = query.after
        if after is None or after[0] is not None:
            parts = [
                await self._walk(sort, own, span) for span in order.spans_of(sort, brief=order.is_brief(sort, query))
            ]
            found = list(heapq.merge(*parts, key=lambda match: self._text(sort, match), reverse=sort.descending))
        if not own and len(found) <= query.count:
            absent = conjunction(
                {f"w.{each}": {"$exists": False}} for each in order.names(self._reading.tenant, query, sort)
            )
            missing_after = after[-1] if after is not None and after[0] is None else 0
            found += await self._by_creation(missing_after, absent)
        return found[: query.count + 1]

    async def _walk(self, sort: Sort, own: list[Box], span: int) -> list[_Match]:
        """The first matches along the texts of one class of length."""
        field = f"w.{order.name(self._reading.tenant, self._query, sort, span)}"
        where = conjunction(({field: self._range(sort, own, span)}, self._route.where))
        found = self._passing(where, sort=[(field, -1 if sort.descending else 1)], hint=ORDER)
        return [self._match(sort, field, document) async for document in self._first(found)]

    def _range(self, sort: Sort, own: list[Box], span: int) -> Document:
        """The part of the walk: after the last page's place, and within what the query asks of the key itself."""
        bounds = {"$gt": "", "$lt": "\U0010ffff"}
        asked = [lo_bounds(sort.shape, box, span) for box in own]
        if asked and all("$gte" in each for each in asked):
            bounds["$gt"] = value_text(min(each["$gte"] for each in asked))
        if asked and all("$lt" in each for each in asked):
            bounds["$lt"] = value_text(max(each["$lt"] for each in asked))
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
