"""Audit entries as documents: how they are found again, and how they are chained.

An entry has its id when it is made; its number and hash it is given after it was committed, by whoever looks at the
chain to seal it (`heads`): were the chain's end written with every entry, no two transactions could run at once.

    audit  {tenant, type: chain, id, key, recorded, body, found: [number, …]} and {unchained: true} or {number, hash}
    head   {tenant, type: 'chain', id: chain, number, hash, purged: [number, hash]}
    seal   {tenant, type: 'seal', id, number, body, signature, marks}

All processes write into one chain, `OWN`. Chains that came from the embedded store stay as they are.
"""

from collections.abc import Sequence
from math import inf

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.fhir.clock import Ids
from fhir_server.store.chain import genesis, link
from fhir_server.store.mongo.schema import Database, Document
from fhir_server.store.params import what
from fhir_server.store.protocol import AuditEntry, AuditQuery, Chained, Head, Recorded

OWN = "rx"
MOST_CHAINED = 2_000
SUFFIX_DIGITS = 5


def document(tenant: str, suffix: str, ids: Ids, entry: AuditEntry) -> Document:
    """The document of a new entry. `suffix`: digits that keep the ids of processes apart."""
    key = ids.creation_key()
    return {
        "tenant": tenant, "type": OWN, "id": f"{OWN}-{key}{suffix}", "key": key, "recorded": entry.recorded,
        "body": entry.body, "found": list(map(what, dict.fromkeys(entry.found))), "unchained": True,
    }  # fmt: skip


class Log:
    """The audit log of one tenant, in a session."""

    def __init__(self, database: Database, session: AsyncClientSession | None, tenant: str) -> None:
        self._database, self._session, self._tenant = database, session, tenant

    async def audited(self, query: AuditQuery) -> list[Recorded]:
        """Entries of all chains, in the query's order."""
        direction = 1 if query.ascending else -1
        order = [(name, direction) for name in ("recorded", "type", "key", "id")]
        fields = {"_id": 0, "id": 1, "recorded": 1, "body": 1}
        entries = self._database.audit.find(
            self._where(query), fields, sort=order, limit=query.count, session=self._session
        )
        return [Recorded(each["id"], each["recorded"], each["body"]) async for each in entries]

    async def placed(self, id_: str) -> tuple[str, int] | None:
        """The chain of an entry, and its number there; 0 while it is not chained yet."""
        where = {"tenant": self._tenant, "type": id_.rpartition("-")[0], "id": id_}
        found = await self._database.audit.find_one(where, {"type": 1, "number": 1}, session=self._session)
        return (found["type"], found.get("number", 0)) if found is not None else None

    async def heads(self) -> list[Head]:
        """Where the chains stand; entries that wait to be chained are counted as if they were."""
        where = {"tenant": self._tenant, "type": OWN, "unchained": True}
        waiting = await self._database.audit.count_documents(where, session=self._session)
        heads = {OWN: Head(OWN, waiting, b"")} if waiting else {}
        at = {"tenant": self._tenant, "type": "chain"}
        async for each in self._database.head.find(at, session=self._session):
            more = waiting if each["id"] == OWN else 0
            heads[each["id"]] = Head(each["id"], each["number"] + more, each["hash"])
        return [heads[name] for name in sorted(heads)]

    async def extend(self) -> None:
        """Chain the entries that are committed and wait, in the order in which they were made."""
        at = {"tenant": self._tenant, "type": "chain", "id": OWN}
        head = await self._database.head.find_one(at, session=self._session)
        number, hash_ = (head["number"], head["hash"]) if head is not None else (0, genesis(self._tenant, OWN))
        where = {"tenant": self._tenant, "type": OWN, "unchained": True}
        found = self._database.audit.find(where, sort=[("key", 1)], limit=MOST_CHAINED, session=self._session)
        changes = []
        async for entry in found:
            number += 1
            hash_ = link(hash_, number, entry["recorded"], entry["body"])
            change = {"$set": {"number": number, "hash": hash_}, "$unset": {"unchained": ""}}
            changes.append(UpdateOne({"tenant": self._tenant, "type": OWN, "id": entry["id"]}, change))
        if changes:
            await self._database.audit.bulk_write(changes, session=self._session)
            end = {"$set": {"number": number, "hash": hash_}}
            await self._database.head.update_one(at, end, upsert=True, session=self._session)

    async def strays(self, count: int) -> list[str]:
        """Entries that neither stand in a chain that has a head, under a number, nor wait to be chained.

        Each condition is a few stretches of an index, however long the log is: what has no number, and other types.
        """
        heads = self._database.head.find({"tenant": self._tenant, "type": "chain"}, session=self._session)
        chains = [each["id"] async for each in heads]
        no_number: Document = {"$not": {"$lte": inf}}
        own: Document = {"type": OWN, "unchained": {"$ne": True}}
        ids: list[str] = []
        for where in (
            {"type": {"$nin": [*chains, OWN]}},
            {"type": {"$in": [chain for chain in chains if chain != OWN]}, "number": no_number},
            own | {"number": no_number} if OWN in chains else own,
        ):
            found = self._database.audit.find(
                {"tenant": self._tenant} | where, {"id": 1}, limit=count, hint="by_number", session=self._session
            )
            ids += [str(each["id"]) async for each in found]
        return ids[:count]

    async def chained(self, chain: str, after: int | None, count: int) -> Sequence[Chained]:
        """Entries of a chain after a number, in its order; None: from the lowest number there is."""
        where: Document = {"tenant": self._tenant, "type": chain}
        where["number"] = {"$gt": after} if after is not None else {"$type": "number"}
        found = self._database.audit.find(where, sort=[("number", 1)], limit=count, session=self._session)
        return [Chained(each["number"], each["recorded"], each["body"], each["hash"]) async for each in found]

    async def hashes(self, chain: str, after: int, upto: int) -> Sequence[bytes]:
        """The hashes of a chain's entries after a number, up to another."""
        where = {"tenant": self._tenant, "type": chain, "number": {"$gt": after, "$lte": upto}}
        fields = {"_id": 0, "hash": 1}
        found = self._database.audit.find(where, fields, sort=[("number", 1)], session=self._session)
        return [each["hash"] async for each in found]

    def _where(self, query: AuditQuery) -> Document:
        if query.id is not None:
            return {"tenant": self._tenant, "type": query.id.rpartition("-")[0], "id": query.id}
        where: Document = {"tenant": self._tenant}
        if query.found_by is not None:
            where["found"] = what(query.found_by)
        bounds = {"$gte": query.since, "$lt": query.before}
        recorded = {operator: bound for operator, bound in bounds.items() if bound is not None}
        if query.after is not None:
            where["$and"] = _after(*query.after, beyond="$gt" if query.ascending else "$lt")
        return where | ({"recorded": recorded} if recorded else {})


def key_of(id_: str) -> int:
    """The key of an entry, by its id: that of an own one without its process's digits."""
    chain, _, number = id_.rpartition("-")
    return int(number[:-SUFFIX_DIGITS]) if chain == OWN else int(number)


def _after(recorded: int, id_: str, *, beyond: str) -> list[Document]:
    chain = id_.rpartition("-")[0]
    same, key = {"recorded": recorded, "type": chain}, key_of(id_)
    later: list[Document] = [
        {"recorded": {beyond: recorded}},
        {"recorded": recorded, "type": {beyond: chain}},
        same | {"key": {beyond: key}},
        same | {"key": key, "id": {beyond: id_}},
    ]
    return [{"recorded": {f"{beyond}e": recorded}}, {"$or": later}]
