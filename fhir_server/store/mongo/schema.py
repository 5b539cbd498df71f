"""The collections and indexes, declared in one place, and how they are made (docs/mongodb.md says what each serves).

Every document has `tenant`, `type` and `id`: the shard key, which leads every unique index and stands in every filter
of a point operation. A search names at least the tenant, so that a router asks only the shards that have its data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import NetworkTimeout

Document = dict[str, Any]
Database = AsyncDatabase[Document]

SHARD_KEY = ("tenant", "type", "id")
# A guard that nobody touched for this long guards nothing any more.
GUARD_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Index:
    """One index: its name, its fields (-1: descending, '$**' is a wildcard), and MongoDB's options for it."""

    name: str
    fields: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def specification(self) -> Document:
        """The index as the createIndexes command takes it."""
        return {"name": self.name, "key": dict.fromkeys(self.fields, 1), **self.options}


def _unique(*more: str) -> Index:
    return Index("identity", (*SHARD_KEY, *more), {"unique": True})


# The values of each shape in an entry beside `p`, the parameter's number; the names are short, as they are stored in
# every entry. n: class of length, y: type of the target, i: its id.
SHAPE_FIELDS = {
    "token": ("c", "s"),
    "string": ("f", "e"),
    "date": ("n", "lo", "hi"),
    "number": ("n", "lo", "hi"),
    "quantity": ("u", "n", "lo", "hi"),
    "reference": ("y", "i"),
    "uri": ("v",),
}
# What the indexes order entries by before the creation key, so that those of one code, id or value are in its order.
_INDEXED = {
    "token": ("c",),
    "string": ("f",),
    "date": ("n", "lo", "hi"),
    "number": ("n", "lo", "hi"),
    "quantity": ("u", "n", "lo", "hi"),
    "reference": ("i",),
    "uri": ("v",),
}


def _by_shape() -> Iterator[Index]:
    for shape, names in _INDEXED.items():
        fields = ("tenant", f"{shape}.p", *(f"{shape}.{name}" for name in names), "at")
        yield Index(f"by_{shape}", fields, {"partialFilterExpression": {"at": {"$exists": True}}})


COLLECTIONS: Mapping[str, tuple[Index, ...]] = {
    "resource": (
        _unique(),
        Index("by_creation", ("tenant", "type", "at"), {"partialFilterExpression": {"at": {"$exists": True}}}),
        *_by_shape(),
        Index("by_order", ("w.$**",)),
    ),
    "history": (
        _unique("version"),
        Index("by_type", ("tenant", "type", "updated", "key", "version")),
        Index("by_time", ("tenant", "updated", "key", "version")),
    ),
    "change": (_unique("version"), Index("by_time", ("tenant", "updated", "key", "version"))),
    "audit": (
        _unique(),
        Index("by_time", ("tenant", "recorded", "type", "key", "id")),
        Index("by_found", ("tenant", "found", "recorded", "type", "key", "id")),
        Index("by_number", ("tenant", "type", "number")),
        Index("unchained", ("tenant", "type", "key"), {"partialFilterExpression": {"unchained": True}}),
    ),
    "head": (_unique(),),
    "seal": (_unique(), Index("by_number", ("tenant", "type", "number"))),
    "kept": (_unique(), Index("by_expiry", ("tenant", "expires"))),
    "guard": (_unique(), Index("by_age", ("touched",), {"expireAfterSeconds": GUARD_SECONDS})),
    "tenant": (_unique(),),
}


async def missing(database: Database) -> list[str]:
    """The declared collections and indexes that the database lacks, as `collection` or `collection.index`."""
    there = set(await database.list_collection_names())
    lacking: list[str] = []
    for name, indexes in COLLECTIONS.items():
        if name not in there:
            lacking.append(name)
            continue
        known = await database[name].index_information()
        lacking += [f"{name}.{index.name}" for index in indexes if index.name not in known]
    return lacking


async def unlike(database: Database) -> list[str]:
    """The indexes, as `collection.index`, that have a declared name and are not as declared."""
    found: list[str] = []
    for name, indexes in COLLECTIONS.items():
        known = await database[name].index_information()
        for index in indexes:
            there = known.get(index.name)
            if there is not None and (there["key"], _options(there)) != ([(f, 1) for f in index.fields], index.options):
                found.append(f"{name}.{index.name}")
    return found


def _options(there: Mapping[str, Any]) -> Document:
    """What an index has beside its fields; `ns` and `v` are the server's."""
    return {name: value for name, value in there.items() if name not in ("key", "ns", "v")}


async def make(database: Database) -> list[str]:
    """Make what is missing, and return its names; what is there already stays as it is."""
    lacking = await missing(database)
    for collection in dict.fromkeys(name.partition(".")[0] for name in lacking):
        specifications = [index.specification() for index in COLLECTIONS[collection]]
        await _make_indexes(database, collection, specifications)
    return lacking


async def _make_indexes(database: Database, collection: str, specifications: list[Document]) -> None:
    """Make them, however long the server builds: asked again after a timeout, it goes on with what it has begun."""
    while True:
        try:
            await database.command("createIndexes", collection, indexes=specifications, commitQuorum="majority")
        except NetworkTimeout:
            continue
        return
