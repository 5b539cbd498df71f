"""The sealer: chains audit entries after they are committed, so that chain heads do not make transactions conflict.

An entry has its id at once, and its place and hash once it is older than any transaction can be: then no entry of a
lower number can appear any more, and a chain's order is that of its numbers. One process seals at a time, by a lease;
should two, their heads conflict and one gives way.

    head {tenant, type: 'chain', id: chain, place, hash}      audit {…, place, hash} in place of {…, unsealed}
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.fhir.clock import Clock, Micros, key_at
from fhir_server.store.chain import GENESIS, link
from fhir_server.store.mongo.schema import Database, Document
from fhir_server.store.mongo.transaction import DURABLE

# A transaction lives 60 seconds at most (the server's transactionLifetimeLimitSeconds); the rest is for clocks apart.
SETTLED_AFTER: Micros = 90_000_000
LEASE: Micros = 30_000_000
EVERY_SECONDS = 10.0
MOST_TOGETHER = 1_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verified:
    """One chain: how many entries are sealed and found right, the first that is not, and how many wait."""

    chain: str
    entries: int
    broken: str
    unsealed: int


class Sealer:
    """Seals while it has the lease. `name` is this process's own."""

    def __init__(self, database: Database, clock: Clock, name: str) -> None:
        self._database, self._clock, self._name = database, clock, name

    async def run(self) -> None:
        """Seal for as long as the process lives."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                if await self.has_lease():
                    await self.seal()
            except PyMongoError:
                _logger.warning("the audit log could not be sealed; the next round tries again")

    async def has_lease(self) -> bool:
        """Take the lease, or prolong it; False while another process has it."""
        now, at = self._clock(), {"tenant": "", "type": "lease", "id": "sealer"}
        free = {"$or": [{"holder": self._name}, {"until": {"$lte": now}}]}
        leases = self._database.get_collection("head", write_concern=DURABLE)
        await leases.update_one(at, {"$setOnInsert": {"holder": "", "until": 0}}, upsert=True)
        taken = await leases.update_one(at | free, {"$set": {"holder": self._name, "until": now + LEASE}})
        return taken.matched_count == 1

    async def seal(self, settled_after: Micros = SETTLED_AFTER) -> int:
        """Seal all that is settled, of all tenants; how many entries that were."""
        before, sealed = key_at(self._clock() - settled_after), 0
        tenants = [each["tenant"] async for each in self._database.tenant.find({"type": "tenant"})]
        for tenant in ("", *tenants):
            where = {"tenant": tenant, "unsealed": True, "number": {"$lt": before}}
            for chain in await self._database.audit.distinct("type", where):
                while count := await self._seal_some(tenant, chain, before):
                    sealed += count
        return sealed

    async def _seal_some(self, tenant: str, chain: str, before: int) -> int:
        """Seal the first entries of one chain, in one transaction with its head."""
        async with self._database.client.start_session() as session:
            await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
            count = await self._extend(tenant, chain, before, session)
            await session.commit_transaction()
            return count

    async def _extend(self, tenant: str, chain: str, before: int, session: AsyncClientSession) -> int:
        at = {"tenant": tenant, "type": "chain", "id": chain}
        head = await self._database.head.find_one(at, session=session)
        place, hash_ = (head["place"], head["hash"]) if head is not None else (0, GENESIS)
        where = {"tenant": tenant, "type": chain, "unsealed": True, "number": {"$lt": before}}
        found = self._database.audit.find(where, sort=[("number", 1)], limit=MOST_TOGETHER, session=session)
        updates = []
        async for entry in found:
            place, hash_ = place + 1, link(hash_, entry["number"], entry["recorded"], entry["body"])
            change = {"$set": {"place": place, "hash": hash_}, "$unset": {"unsealed": ""}}
            updates.append(UpdateOne({"tenant": tenant, "type": chain, "id": entry["id"]}, change))
        if updates:
            await self._database.audit.bulk_write(updates, session=session)
            await self._database.head.replace_one(
                at, at | {"place": place, "hash": hash_}, upsert=True, session=session
            )
        return len(updates)


async def verify(database: Database, tenant: str) -> list[Verified]:
    """Walk every chain of a tenant from its beginning, and compare its end with the head."""
    chains = await database.audit.distinct("type", {"tenant": tenant})
    heads = {each["id"] async for each in database.head.find({"tenant": tenant, "type": "chain"})}
    return [await _walk(database, tenant, chain) for chain in sorted({*chains, *heads})]


async def _walk(database: Database, tenant: str, chain: str) -> Verified:
    place, hash_, broken = 0, GENESIS, ""
    async for entry in _sealed(database, tenant, chain):
        hash_ = link(hash_, entry["number"], entry["recorded"], entry["body"])
        if entry["place"] != place + 1 or hash_ != entry["hash"] or entry["id"] != f"{chain}-{entry['number']}":
            broken = entry["id"]
            break
        place += 1
    head = await database.head.find_one({"tenant": tenant, "type": "chain", "id": chain})
    if not broken and head is not None and (head["place"], head["hash"]) != (place, hash_):
        broken = f"after {place} entries: the end is missing"
    waiting = await database.audit.count_documents({"tenant": tenant, "type": chain, "unsealed": True})
    return Verified(chain, place, broken, waiting)


async def _sealed(database: Database, tenant: str, chain: str) -> AsyncIterator[Document]:
    where = {"tenant": tenant, "type": chain, "place": {"$gt": 0}}
    async for entry in database.audit.find(where, sort=[("place", 1)], allow_disk_use=True):
        yield entry
