"""One side of a migration in MongoDB: a clinic's documents as the rows that every store has (`store/migrate.py`)."""

from collections.abc import Sequence
from typing import Any

from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.migrate import Order, Part, Row
from fhir_server.store.mongo import documents, schema
from fhir_server.store.mongo.schema import SHAPE_FIELDS, Document
from fhir_server.store.mongo.sealer import Sealer
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transaction import DURABLE

# The fields that a part is ordered by.
_ORDERS: dict[Part, tuple[str, ...]] = {
    "resource": ("type", "id"),
    "history": ("type", "id", "version"),
    "kept": ("type", "id"),
    "audit": ("type", "number"),
}
_Write = ReplaceOne[Document] | DeleteOne | UpdateOne


class MongoSide:
    """A database to copy from or to. To copy from it whole, stop its servers and `settle` first."""

    def __init__(self, store: MongoStore) -> None:
        self._store = store

    @property
    def database(self) -> schema.Database:
        """The database."""
        return self._store.database

    async def tenants(self) -> Sequence[str]:
        """The clinics that it has."""
        return await self._store.tenants()

    async def make_tenant(self, tenant: str) -> None:
        """Make a clinic, and what the schema lacks, unless they are there."""
        if tenant not in await self._store.tenants():
            await self._store.create_tenant(tenant)
        await schema.make(self._store.database)

    async def settle(self, sealer: Sealer) -> None:
        """Seal the whole audit log; only while no server writes."""
        await sealer.seal(settled_after=-1_000_000)

    async def rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        """The next rows of a part in its order."""
        fields = _ORDERS[part]
        where: Document = {"tenant": tenant}
        if after is not None:
            where["$or"] = [
                dict(zip(fields[:n], after, strict=False)) | {fields[n]: {"$gt": after[n]}} for n in range(len(fields))
            ]
            where[fields[0]] = {"$gte": after[0]}
        found = self._store.database[part].find(where, sort=[(name, 1) for name in fields], limit=count)
        return [_ROW[part](document) async for document in found]

    async def replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        """Remove some rows and write others, in one transaction."""
        writes: list[_Write] = [DeleteOne(_at(tenant, part, row)) for row in gone]
        for row in rows:
            at = _at(tenant, part, row)
            writes.append(ReplaceOne(at, at | _DOCUMENT[part](tenant, row), upsert=True))
        database = self._store.database

        async def write(session: AsyncClientSession) -> None:
            if writes:
                await database[part].bulk_write(writes, session=session)
            if part == "history":
                await _date_predecessors(self._store, tenant, rows, session)

        async with database.client.start_session() as session:
            await session.with_transaction(write, write_concern=DURABLE)
        if part == "audit":
            await self._place(tenant, {row.order[0] for row in rows})

    async def _place(self, tenant: str, chains: set[str]) -> None:
        """Number the entries of copied chains, and set their heads."""
        for chain in chains:
            at = {"tenant": tenant, "type": chain}
            place, hash_ = 0, b""
            writes = []
            async for entry in self._store.database.audit.find(at, {"id": 1, "hash": 1}, sort=[("number", 1)]):
                place, hash_ = place + 1, entry["hash"]
                writes.append(UpdateOne(at | {"id": entry["id"]}, {"$set": {"place": place}}))
            await self._store.database.audit.bulk_write(writes)
            head = {"tenant": tenant, "type": "chain", "id": chain}
            await self._store.database.head.replace_one(head, head | {"place": place, "hash": hash_}, upsert=True)


async def _date_predecessors(store: MongoStore, tenant: str, rows: Sequence[Row], session: AsyncClientSession) -> None:
    """Tell each version when the next replaced it, on either side of what was copied."""
    history = store.database.history
    for row in rows:
        type_, id_, version = row.order
        at = {"tenant": tenant, "type": type_, "id": id_}
        if version > 1:
            until = {"$set": {"until": row.values[1]}}
            await history.update_one(at | {"version": version - 1}, until, session=session)
        following = await history.find_one(at | {"version": version + 1}, {"updated": 1}, session=session)
        if following is not None:
            until = {"$set": {"until": following["updated"]}}
            await history.update_one(at | {"version": version}, until, session=session)


def _at(tenant: str, part: Part, row: Row) -> Document:
    order = row.order
    match part:
        case "history":
            return {"tenant": tenant, "type": order[0], "id": order[1], "version": order[2]}
        case "resource" | "kept":
            return {"tenant": tenant, "type": order[0], "id": order[1]}
        case "audit":
            return {"tenant": tenant, "type": order[0], "id": f"{order[0]}-{order[1]}"}


def _resource_row(document: Document) -> Row:
    entries = sorted(
        (shape, (entry["p"], *(entry[name] for name in names if name != "n")))
        for shape, names in SHAPE_FIELDS.items()
        for entry in document.get(shape, ())
    )
    head = (document[name] for name in ("key", "version", "updated"))
    return Row(
        (document["type"], document["id"]),
        (*head, tuple(document["patients"]), document["body"], tuple(entries)),
    )


def _history_row(document: Document) -> Row:
    order = (document["type"], document["id"], document["version"])
    values = (document[name] for name in ("key", "updated", "method"))
    return Row(order, (*values, tuple(document["patients"]), document["body"]))


def _kept_row(document: Document) -> Row:
    return Row((document["type"], document["id"]), (document["value"], document["expires"]))


def _audit_row(document: Document) -> Row:
    found = sorted(tuple(each.split(" ", 1)) for each in document["found"])
    values = (document["recorded"], document["body"], document.get("hash"), tuple(found))
    return Row((document["type"], document["number"]), values)


def _resource(tenant: str, row: Row) -> Document:
    key, version, updated, patients, body, entries = row.values
    shapes: dict[str, list[tuple[Any, ...]]] = {}
    for shape, values in entries:
        shapes.setdefault(shape, []).append(values)
    made = {"key": key, "version": version, "updated": updated, "patients": list(patients), "body": body}
    return made if body is None else made | {"at": key} | documents.indexed(tenant, key, shapes)


def _history(_: str, row: Row) -> Document:
    key, updated, method, patients, body = row.values
    return {"key": key, "updated": updated, "method": method, "patients": list(patients), "body": body}


def _kept(_: str, row: Row) -> Document:
    return {"value": row.values[0], "expires": row.values[1]}


def _audit(_: str, row: Row) -> Document:
    recorded, body, hash_, found = row.values
    kept = {"recorded": recorded, "body": body, "hash": hash_, "found": [" ".join(each) for each in found]}
    return {"number": row.order[1]} | kept


_ROW = {"resource": _resource_row, "history": _history_row, "kept": _kept_row, "audit": _audit_row}
_DOCUMENT = {"resource": _resource, "history": _history, "kept": _kept, "audit": _audit}
