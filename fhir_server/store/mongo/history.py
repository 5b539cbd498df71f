"""Versions as documents of `history`, and pages of them.

`until` is when the next version replaced this one; the current version has none.
"""

from collections.abc import Sequence

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search.plan import Position
from fhir_server.store.mongo.documents import stored
from fhir_server.store.mongo.fields import Fields
from fhir_server.store.mongo.schema import Database, Document
from fhir_server.store.protocol import HistoryQuery, Page, Put

_NEWEST_FIRST = [("updated", -1), ("key", -1), ("version", -1)]


def of_put(tenant: str, put: Put, version: int, key: int) -> Document:
    """The document of a new version; its body is sealed already."""
    return {
        "tenant": tenant, "type": put.type, "id": put.id, "version": version, "key": key, "updated": put.updated,
        "method": put.method, "patients": list(put.patients), "body": put.body,
    }  # fmt: skip


async def page(
    database: Database, session: AsyncClientSession | None, tenant: str, fields: Fields, query: HistoryQuery
) -> Page:
    """One page of versions, newest first."""
    every = _where(tenant, query, paging=False)
    total = await database.history.count_documents(every, session=session)
    if query.count == 0:
        return Page((), None, total)
    found = database.history.find(
        _where(tenant, query, paging=True), sort=_NEWEST_FIRST, limit=query.count + 1, session=session
    )
    versions = [stored(document, fields) async for document in found]
    matches, rest = versions[: query.count], versions[query.count :]
    following: Position | None = (matches[-1].updated, matches[-1].key, matches[-1].version) if rest else None
    return Page(matches, following, total)


def _where(tenant: str, query: HistoryQuery, *, paging: bool) -> Document:
    where: Document = {"tenant": tenant}
    parts: list[Document] = []
    if query.types:
        where["type"] = query.types[0] if len(query.types) == 1 else {"$in": list(query.types)}
    if query.id is not None:
        where["id"] = query.id
    if query.since is not None:
        parts.append({"updated": {"$gte": query.since}})
    if query.at is not None:
        lo, hi = query.at
        # Those that were current at some time in [lo, hi).
        parts += [{"updated": {"$lt": hi}}, {"$or": [{"until": {"$gt": lo}}, {"until": None}]}]
    if paging and query.after is not None:
        parts.append(_beyond(("updated", "key", "version"), query.after, "$lt"))
    return where | ({"$and": parts} if parts else {})


def _beyond(fields: Sequence[str], values: Sequence[object], operator: str) -> Document:
    """What lies beyond a place in the order of some fields, with the bound on the first for the index."""
    steps: list[Document] = []
    equal: Document = {}
    for field, value in zip(fields, values, strict=True):
        steps.append(equal | {field: {operator: value}})
        equal = equal | {field: value}
    return {fields[0]: {f"{operator}e": values[0]}, "$or": steps}
