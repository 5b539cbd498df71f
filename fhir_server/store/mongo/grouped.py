"""A walk in the order of several sort keys: along the first one's texts, its equals ordered by the others.

Up to MOST equals are read and ordered here. Where there are more, the next key's texts are walked in their turn, and
the first key's is probed; so no page costs more than some thousands of documents, however many there are.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cmp_to_key
from itertools import groupby

from fhir_server.search.matches import comparison
from fhir_server.search.plan import Position, Query, Sort
from fhir_server.store.mongo import order
from fhir_server.store.mongo.compile import conjunction
from fhir_server.store.mongo.documents import TAIL_LENGTH, value_of, value_text
from fhir_server.store.mongo.schema import Document

FEWEST, MOST = 64, 2_048
# Before and after every creation key.
_FIRST, _LAST = -1, (1 << 63) - 1

# A match: its place, and its document.
Match = tuple[Position, Document]
# The matches of a query that asks the same with other keys and from another place on, and fulfil one more condition.
Ask = Callable[[Query, Document], Awaitable[list[Match]]]


async def matches(tenant: str, query: Query, ask: Ask) -> list[Match]:
    """The page's matches and, where there is one, the next."""
    first, wanted = query.sort[0], query.count + 1
    found: list[Match] = []
    place = (query.after[0], _FIRST) if query.after is not None else None
    many = max(FEWEST, 2 * wanted)
    while len(found) < wanted:
        rows = await ask(replace(query, sort=(first,), after=place, count=many - 1), {})
        groups = [(value, list(group)) for value, group in groupby(rows, key=lambda row: row[0][0])]
        if len(rows) == many:  # the last group may go on
            if len(groups) == 1 and many < MOST:
                many *= 4
                continue
            groups = groups[:-1] or groups
        is_large = len(rows) == many and len(groups) == 1 and len(groups[0][1]) == many
        for value, group in groups:
            after = query.after[1:] if query.after is not None and query.after[0] == value else None
            rest = replace(query, sort=query.sort[1:], after=after, count=wanted - len(found) - 1)
            if is_large:
                below = await ask(rest, standing(tenant, query, first, value))
            else:
                below = _ordered(tenant, rest, [document for _, document in group])
            found += [((value, *at), document) for at, document in below]
            place = (value, _LAST)
            if len(found) >= wanted:
                break
        if len(rows) < many:
            break
    return found[:wanted]


def standing(tenant: str, query: Query, sort: Sort, value: object) -> Document:
    """The condition that a resource stands at a value in the order of a sort; None: that it has none."""
    fields = [f"w.{name}" for name in order.names(tenant, query, sort)]
    if value is None:
        return conjunction({field: {"$exists": False}} for field in fields)
    text = value_text(value)
    ranges: list[Document] = [{field: {"$gte": f"{text}\0", "$lt": f"{text}\1"}} for field in fields]
    return ranges[0] if len(ranges) == 1 else {"$or": ranges}


def _ordered(tenant: str, query: Query, documents: Sequence[Document]) -> list[Match]:
    """The documents by the query's keys, from its place on."""
    names = [order.names(tenant, query, sort) for sort in query.sort]
    compare = comparison(query.sort)
    found = [
        ((*(_value(d["w"], each, s) for each, s in zip(names, query.sort, strict=True)), d["at"]), d) for d in documents
    ]
    if query.after is not None:
        found = [match for match in found if compare(match, (query.after,)) > 0]
    return sorted(found, key=cmp_to_key(compare))


def _value(texts: Document, names: Sequence[str], sort: Sort) -> object:
    text = next((texts[name] for name in names if name in texts), None)
    return None if text is None else value_of(text[:-TAIL_LENGTH], sort.shape)
