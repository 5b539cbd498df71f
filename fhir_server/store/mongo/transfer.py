"""One side of a migration in MongoDB: a clinic's documents as the rows that every store has (`store/migrate.py`)."""

from collections.abc import Sequence
from typing import Any

from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.chain import genesis
from fhir_server.store.migrate import Order, Part, Row
from fhir_server.store.mongo import documents, schema
from fhir_server.store.mongo.audit import key_of
from fhir_server.store.mongo.errors import unavailable_on_failure
from fhir_server.store.mongo.fields import Fields
from fhir_server.store.mongo.schema import SHAPE_FIELDS, Document
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transaction import DURABLE
from fhir_server.store.protocol import Unit

# The fields that a part is ordered by.
_ORDERS: dict[Part, tuple[str, ...]] = {
    "resource": ("type", "id"),
    "history": ("type", "id", "version"),
    "kept": ("type", "id"),
    "writer": ("id",),
    "audit": ("type", "number"),
    "seal": ("number",),
}
_COLLECTION: dict[Part, str] = {"writer": "head"}
_WHERE: dict[Part, Document] = {"writer": {"type": "chain"}, "audit": {"number": {"$gt": 0}}, "seal": {"type": "seal"}}
_Write = ReplaceOne[Document] | DeleteOne | UpdateOne


class MongoSide:
    """A database to copy from or to."""

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
        with unavailable_on_failure():
            await schema.make(self._store.database)

    async def count(self, tenant: str, part: Part) -> int:
        """How many rows a part has; audit entries that wait to be chained are none yet."""
        where: Document = {"tenant": tenant} | _WHERE.get(part, {})
        with unavailable_on_failure():
            return int(await self._store.database[_COLLECTION.get(part, part)].count_documents(where))

    async def rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        """The next rows of a part in its order."""
        with unavailable_on_failure():
            return await self._rows(tenant, part, after, count)

    async def _rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        fields = _ORDERS[part]
        where: Document = {"tenant": tenant} | _WHERE.get(part, {})
        if part == "writer" and after is None:
            await self._chain(tenant)
        if after is not None:
            beyond = [
                dict(zip(fields[:n], after, strict=False)) | {fields[n]: {"$gt": after[n]}} for n in range(len(fields))
            ]
            where["$and"] = [{fields[0]: {"$gte": after[0]}}, {"$or": beyond}]
        found = self._store.database[_COLLECTION.get(part, part)].find(
            where, sort=[(name, 1) for name in fields], limit=count
        )
        opened = await self._store.fields(tenant)
        return [_ROW[part](document, opened) async for document in found]

    async def replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        """Remove some rows and write others, in one transaction."""
        with unavailable_on_failure():
            await self._replace(tenant, part, gone, rows)

    async def _replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        fields = await self._store.fields(tenant)
        writes: list[_Write] = [DeleteOne(_at(tenant, part, row)) for row in gone]
        for row in rows:
            at = _at(tenant, part, row)
            if part == "writer":
                writes.append(UpdateOne(at, _writer_update(tenant, row), upsert=True))
                continue
            writes.append(ReplaceOne(at, at | _DOCUMENT[part](tenant, row, fields), upsert=True))
        database = self._store.database

        async def write(session: AsyncClientSession) -> None:
            if writes:
                await database[_COLLECTION.get(part, part)].bulk_write(writes, session=session)
            if part == "history":
                await _date_predecessors(self._store, tenant, rows, session)

        async with database.client.start_session() as session:
            await session.with_transaction(write, write_concern=DURABLE)
        if part == "audit":
            await self._end(tenant, {row.order[0] for row in (*gone, *rows)})

    async def _chain(self, tenant: str) -> None:
        """Chain all audit entries that wait."""

        async def work(unit: Unit) -> int:
            return sum(head.number for head in await unit.heads())

        before = -1
        while (now := await self._store.run(tenant, work, write=True)) != before:
            before = now

    async def _end(self, tenant: str, chains: set[str]) -> None:
        """Set the heads of copied chains."""
        for chain in chains:
            at = {"tenant": tenant, "type": chain, "number": {"$gt": 0}}
            last = await self._store.database.audit.find_one(at, {"number": 1, "hash": 1}, sort=[("number", -1)])
            if last is not None:
                end = {"$set": {"number": last["number"], "hash": last["hash"]}}
                await self._store.database.head.update_one({"tenant": tenant, "type": "chain", "id": chain}, end)


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
        case "writer":
            return {"tenant": tenant, "type": "chain", "id": order[0]}
        case "audit":
            return {"tenant": tenant, "type": order[0], "id": row.values[0]}
        case "seal":
            return {"tenant": tenant, "type": "seal", "id": str(order[0])}


def _resource_row(document: Document, fields: Fields) -> Row:
    entries = sorted(
        (shape, _entry_row(shape, (entry["p"], *(entry[name] for name in names if name != "n")), fields))
        for shape, names in SHAPE_FIELDS.items()
        for entry in document.get(shape, ())
    )
    this = documents.stored(document, fields)
    return Row((this.type, this.id), (this.key, this.version, this.updated, this.patients, this.body, tuple(entries)))


def _entry_row(shape: str, row: tuple[Any, ...], fields: Fields) -> tuple[Any, ...]:
    return fields.open_token(row) if shape == "token" else row


def _history_row(document: Document, fields: Fields) -> Row:
    this = documents.stored(document, fields)
    return Row((this.type, this.id, this.version), (this.key, this.updated, this.method, this.patients, this.body))


def _kept_row(document: Document, _: Fields) -> Row:
    return Row((document["type"], document["id"]), (document["value"], document["expires"]))


def _writer_row(document: Document, _: Fields) -> Row:
    return Row((document["id"],), tuple(document.get("purged", (0, b""))))


def _writer_update(tenant: str, row: Row) -> Document:
    """Registers a chain; where all of it is purged, that is where it stands."""
    number, hash_ = row.values
    began = (number, hash_) if number else (0, genesis(tenant, row.order[0]))
    update: Document = {"$setOnInsert": {"number": began[0], "hash": began[1]}}
    return update | ({"$set": {"purged": [number, hash_]}} if number else {"$unset": {"purged": ""}})


def _audit_row(document: Document, _: Fields) -> Row:
    values = (document[name] for name in ("id", "recorded", "body", "hash"))
    return Row((document["type"], document["number"]), (*values, tuple(sorted(document["found"]))))


def _seal_row(document: Document, _: Fields) -> Row:
    return Row((document["number"],), tuple(document[name] for name in ("body", "signature", "marks")))


def _resource(tenant: str, row: Row, fields: Fields) -> Document:
    key, version, updated, patients, plain, entries = row.values
    body = fields.seal_body(plain, row.order[0], row.order[1], version)
    shapes: dict[str, list[tuple[Any, ...]]] = {}
    for shape, values in entries:
        shapes.setdefault(shape, []).append(values)
    made = {"key": key, "version": version, "updated": updated, "patients": list(patients), "body": body}
    return made if body is None else made | {"at": key} | documents.indexed(tenant, key, shapes, fields)


def _history(_: str, row: Row, fields: Fields) -> Document:
    key, updated, method, patients, plain = row.values
    body = fields.seal_body(plain, *row.order)
    return {"key": key, "updated": updated, "method": method, "patients": list(patients), "body": body}


def _kept(_: str, row: Row, __: Fields) -> Document:
    return {"value": row.values[0], "expires": row.values[1]}


def _audit(_: str, row: Row, __: Fields) -> Document:
    id_, recorded, body, hash_, found = row.values
    made = {"recorded": recorded, "body": body, "hash": hash_, "found": list(found)}
    return {"number": row.order[1], "key": key_of(id_)} | made


def _seal(_: str, row: Row, __: Fields) -> Document:
    body, signature, marks = row.values
    return {"number": row.order[0], "body": body, "signature": signature, "marks": marks}


_ROW = {"resource": _resource_row, "history": _history_row, "kept": _kept_row, "writer": _writer_row,
        "audit": _audit_row, "seal": _seal_row}  # fmt: skip
_DOCUMENT = {"resource": _resource, "history": _history, "kept": _kept, "audit": _audit, "seal": _seal}
