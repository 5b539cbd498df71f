"""A page in the order of several sort keys: the server orders all that match by the value parts of their texts."""

from fhir_server.search.plan import Position, Query, Sort
from fhir_server.store.mongo import order
from fhir_server.store.mongo.documents import TAIL_LENGTH, value_of, value_text
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.schema import Document


async def matches(reading: Reading, query: Query, where: Document, hint: str | None) -> list[tuple[Position, Document]]:
    """The page's matches and, where there is one, the next, each with its place."""
    values = {f"s{n}": _value(order.names(reading.tenant, query, sort)) for n, sort in enumerate(query.sort)}
    pipeline: list[Document] = [
        {"$match": reading.where(query.type, where)},
        {"$project": {"id": 1, "at": 1} | values},
        # What is missing stands last in either direction.
        {"$addFields": {f"m{n}": {"$eq": [f"$s{n}", None]} for n in range(len(query.sort))}},
        {"$match": _after(query)},
        {"$sort": _order(query.sort)},
        {"$limit": query.count + 1},
    ]
    rows = await reading.aggregate(pipeline, hint)
    documents = await reading.by_ids(query.type, [row["id"] for row in rows])
    return [(_place(query, row), documents[row["id"]]) for row in rows]


def _value(names: list[str]) -> Document:
    texts: list[object] = [f"$w.{name}" for name in names]
    text: object = {"$ifNull": [*texts, None]}
    part = {"$substrBytes": ["$$text", 0, {"$subtract": [{"$strLenBytes": "$$text"}, TAIL_LENGTH]}]}
    return {"$let": {"vars": {"text": text}, "in": {"$cond": [{"$eq": ["$$text", None]}, None, part]}}}


def _order(sorts: tuple[Sort, ...]) -> Document:
    keys: Document = {}
    for n, sort in enumerate(sorts):
        keys |= {f"m{n}": 1, f"s{n}": -1 if sort.descending else 1}
    return keys | {"at": 1}


def _after(query: Query) -> Document:
    """What lies after the last page's place: by the sort keys in turn, then by creation."""
    if query.after is None:
        return {}
    steps: list[Document] = []
    equal: Document = {}
    for n, (sort, last) in enumerate(zip(query.sort, query.after, strict=False)):
        text = None if last is None else value_text(last)
        if text is not None:
            beyond: Document = {f"s{n}": {"$lt" if sort.descending else "$gt": text}}
            steps += [equal | beyond, equal | {f"m{n}": True}]
        equal = equal | {f"s{n}": text}
    return {"$or": [*steps, equal | {"at": {"$gt": query.after[-1]}}]}


def _place(query: Query, row: Document) -> Position:
    values = (None if row[f"s{n}"] is None else value_of(row[f"s{n}"], sort.shape) for n, sort in enumerate(query.sort))
    return (*values, row["at"])
