"""A Unit in a session of MongoDB: a transaction when it may write, else a snapshot.

History, changes and audit entries are gathered and written together at the end (`flush`), or when the Unit asks for
them: each goes in one command, and the resources' own documents at once, so that searches see them.
"""

from collections.abc import Sequence
from dataclasses import replace

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.fhir.clock import Clock, Ids, Micros
from fhir_server.search.plan import SHAPES, Entries, Query
from fhir_server.store.mongo import audit, documents, explain, history, search
from fhir_server.store.mongo.audit import Log
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.schema import Document
from fhir_server.store.protocol import (
    AuditEntry,
    AuditQuery,
    Chained,
    Contained,
    Explained,
    Head,
    HistoryQuery,
    Page,
    Put,
    Recorded,
    Sealed,
    Statement,
    Stored,
    VersionConflict,
)

_PURGED_TOGETHER = 1_000
_CURRENT = {"_id": 0, "type": 1, "id": 1, "version": 1, "updated": 1, "body": 1, "key": 1, "patients": 1}


class MongoUnit:
    """Atomic work on one tenant."""

    def __init__(self, reading: Reading, session: AsyncClientSession, clock: Clock, ids: Ids, suffix: str = "") -> None:
        self._reading, self._session = reading, session
        self._database, self._tenant, self._fields = reading.database, reading.tenant, reading.fields
        self._clock, self._ids, self._suffix = clock, ids, suffix  # no suffix: a Unit for reading
        self._log = Log(self._database, session, self._tenant)
        self._versions: dict[tuple[str, str], tuple[int, int]] = {}  # version and key of what was read
        self._guarded: set[str] = set()
        self._history: list[InsertOne[Document] | UpdateOne] = []
        self._changes: list[Document] = []
        self._audit: list[Document] = []

    async def read(self, type_: str, id_: str) -> Stored | None:
        """The current version, a deletion included; None when there never was one."""
        found = await self._database.resource.find_one(self._at(type_, id_), _CURRENT, session=self._session)
        self._versions[type_, id_] = (found["version"], found["key"]) if found is not None else (0, 0)
        return documents.stored(found, self._fields) if found is not None else None

    async def vread(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version, a deletion included."""
        await self.flush()
        where = self._at(type_, id_) | {"version": version}
        found = await self._database.history.find_one(where, session=self._session)
        return documents.stored(found, self._fields) if found is not None else None

    async def search(self, query: Query) -> Page:
        """One page of the current resources for which the plan holds."""
        page = await search.run(self._reading, query)
        self._versions |= {(each.type, each.id): (each.version, each.key) for each in page.matches}
        return page

    async def explain(self, query: Query) -> Explained:
        """How that page is found; outside of the session, in which nothing can be explained."""
        found = await explain.explain(self._database, self._tenant, self._fields, query)
        statements = [
            Statement(str(step.command), (), (*step.stages, *step.indexes), step.rows, step.examined)
            for step in found.steps
        ]
        return Explained("commands in turn", None, (), tuple(statements), "index keys and documents examined")

    async def history(self, query: HistoryQuery) -> Page:
        """One page of versions, newest first."""
        await self.flush()
        return await history.page(self._database, self._session, self._tenant, self._fields, query)

    async def put(self, put: Put) -> Stored:
        """Store a version with its index entries and a change for the outbox. Raises VersionConflict."""
        if (put.type, put.id) not in self._versions:
            await self.read(put.type, put.id)
        current, key = self._versions[put.type, put.id]
        if current != put.expected:
            raise VersionConflict(current)
        version, key = current + 1, key or self._ids.creation_key()
        at, resources = self._at(put.type, put.id), self._database.resource
        sealed = replace(put, body=self._fields.seal_body(put.body, put.type, put.id, version))
        document = documents.of_put(self._tenant, sealed, version, key, self._fields)
        if current == 0:
            await resources.insert_one(document, session=self._session)
        else:
            await resources.replace_one(at | {"version": current}, document, session=self._session)
            replaced = {"$set": {"until": put.updated}}
            self._history.append(UpdateOne(at | {"version": current}, replaced))
        self._versions[put.type, put.id] = (version, key)
        self._history.append(InsertOne(history.of_put(self._tenant, sealed, version, key)))
        self._changes.append(at | {"version": version, "updated": put.updated, "key": key})
        return Stored(put.type, put.id, version, put.updated, put.body, key, put.patients, put.method)

    async def reindex(self, stored: Stored, entries: Entries) -> None:
        """Replace the index entries of a current version. Raises VersionConflict."""
        rows = documents.numbered(stored.type, entries)
        indexed = documents.indexed(self._tenant, stored.key, rows, self._fields)
        gone = {shape: "" for shape in SHAPES if shape not in indexed}
        change = {"$set": indexed} | ({"$unset": gone} if gone else {})
        at = self._at(stored.type, stored.id)
        done = await self._database.resource.update_one(at | {"version": stored.version}, change, session=self._session)
        if not done.matched_count:
            current = await self.read(stored.type, stored.id)
            raise VersionConflict(current.version if current is not None else 0)

    async def contain(self, container: Stored, contained: Sequence[Contained], gone: Sequence[tuple[str, str]]) -> None:
        """Have what a current version contains found by search, and what is gone no more."""
        resources, version = self._database.resource, container.version
        for name in gone:
            await resources.delete_one(self._at(*name), session=self._session)
        for each in contained:
            at = self._at(each.type, each.id)
            found = await resources.find_one(at, {"_id": 0, "key": 1}, session=self._session)
            key = found["key"] if found is not None else self._ids.creation_key()
            body = self._fields.seal_body(each.body, each.type, each.id, version)
            put = Put(each.type, each.id, 0, container.updated, body, each.entries, "", container.patients)
            document = documents.of_put(self._tenant, put, version, key, self._fields)
            await resources.replace_one(at, document, upsert=True, session=self._session)

    async def audit(self, entry: AuditEntry) -> None:
        """Record what this Unit does."""
        if not self._suffix:
            raise RuntimeError("a Unit for reading records nothing; use Store.record")
        self._audit.append(audit.document(self._tenant, self._suffix, self._ids, entry))

    async def audited(self, query: AuditQuery) -> Sequence[Recorded]:
        """Audit entries, in the order that the query asks for."""
        await self.flush()
        return await self._log.audited(query)

    async def placed(self, id_: str) -> tuple[str, int] | None:
        """The chain of an audit entry, and its number there; 0 while it has none."""
        return await self._log.placed(id_)

    async def heads(self) -> Sequence[Head]:
        """The chains of all writers, by name. A Unit that may write chains what waits, first."""
        if self._suffix:
            await self._log.extend()
        return await self._log.heads()

    async def strays(self, count: int) -> Sequence[str]:
        """Entries that the chain of no registered writer has."""
        return await self._log.strays(count)

    async def chained(self, chain: str, after: int | None, count: int) -> Sequence[Chained]:
        """Entries of a chain after a number, or all, in its order."""
        return await self._log.chained(chain, after, count)

    async def hashes(self, chain: str, after: int, upto: int) -> Sequence[bytes]:
        """The hashes of a chain's entries after a number, up to another."""
        return await self._log.hashes(chain, after, upto)

    async def seal(self, sealed: Sealed) -> None:
        """Keep a checkpoint, or another form of it."""
        at = self._at("seal", str(sealed.number))
        body = {"number": sealed.number, "body": sealed.body, "signature": sealed.signature, "marks": sealed.marks}
        await self._database.seal.replace_one(at, at | body, upsert=True, session=self._session)

    async def sealed(self, after: int, count: int) -> Sequence[Sealed]:
        """Checkpoints after a number, in their order; the last when that is -1."""
        where: Document = {"tenant": self._tenant, "type": "seal"}
        if after >= 0:
            where["number"] = {"$gt": after}
        order = [("number", 1 if after >= 0 else -1)]
        found = self._database.seal.find(where, sort=order, limit=count, session=self._session)
        return [Sealed(each["number"], each["body"], each["signature"], each["marks"]) async for each in found]

    async def purge(self, chain: str, upto: int) -> None:
        """Remove a chain's entries up to a number: outside of the transaction, which so many would be too long for.

        The last goes first, so that what is left of a removal that was broken off follows where the chain began.
        """
        where: Document = {"tenant": self._tenant, "type": chain}
        entries = self._database.audit
        last = await entries.find_one(where | {"number": upto}, {"hash": 1})
        if last is not None:
            purged = {"$set": {"purged": [upto, last["hash"]]}}
            await self._database.head.update_one(self._at("chain", chain), purged)
        where["number"] = {"$lte": upto}
        while found := await entries.find(where, {"id": 1}, sort=[("number", -1)], limit=_PURGED_TOGETHER).to_list():
            await entries.bulk_write([DeleteOne(self._at(chain, each["id"])) for each in found])

    async def guard(self, *names: str) -> None:
        """Write a document for each name: of two Units that do so at once, one is run again after the other.

        A Unit for reading decides on nothing that stays.
        """
        if not self._suffix:
            return
        for name in sorted(set(names) - self._guarded):
            type_, _, id_ = name.partition("/")
            touch = {"$inc": {"times": 1}, "$currentDate": {"touched": True}}
            await self._database.guard.update_one(self._at(type_, id_), touch, upsert=True, session=self._session)
            self._guarded.add(name)

    async def keep(self, kind: str, name: str, value: bytes, expires: Micros | None = None) -> None:
        """Keep a value by name, replacing what was there."""
        document = self._at(kind, name) | {"value": value, "expires": expires}
        await self._database.kept.replace_one(self._at(kind, name), document, upsert=True, session=self._session)

    async def peek(self, kind: str, name: str) -> bytes | None:
        """A kept value that has not expired."""
        found = await self._database.kept.find_one(self._at(kind, name), session=self._session)
        return self._unexpired(found)

    async def take(self, kind: str, name: str) -> bytes | None:
        """Remove a kept value and return it; None when it is gone or has expired."""
        found = await self._database.kept.find_one_and_delete(self._at(kind, name), session=self._session)
        return self._unexpired(found)

    async def kept(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All values of a kind that have not expired, by name."""
        where = {"tenant": self._tenant, "type": kind}
        found = self._database.kept.find(where, sort=[("id", 1)], session=self._session)
        return [(each["id"], each["value"]) async for each in found if self._unexpired(each) is not None]

    async def forget(self, count: int) -> int:
        """Remove values that have expired, `count` of them at most."""
        where = {"tenant": self._tenant, "expires": {"$lte": self._clock()}}
        fields = {"_id": 0, "type": 1, "id": 1}
        found = await self._database.kept.find(where, fields, limit=count, session=self._session).to_list()
        if found:
            gone = [DeleteOne(self._at(each["type"], each["id"])) for each in found]
            await self._database.kept.bulk_write(gone, session=self._session)
        return len(found)

    async def flush(self) -> None:
        """Write what was gathered."""
        gathered, self._history = self._history, []
        if gathered:
            await self._database.history.bulk_write(gathered, session=self._session)
        changes, self._changes = self._changes, []
        if changes:
            await self._database.change.insert_many(changes, session=self._session)
        entries, self._audit = self._audit, []
        if entries:
            await self._database.audit.insert_many(entries, session=self._session)

    def _at(self, type_: str, id_: str) -> Document:
        return {"tenant": self._tenant, "type": type_, "id": id_}

    def _unexpired(self, found: Document | None) -> bytes | None:
        if found is None or (found["expires"] is not None and found["expires"] <= self._clock()):
            return None
        value: bytes = found["value"]
        return value
