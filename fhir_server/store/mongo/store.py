"""The store for many machines: one database in a MongoDB replica set or sharded cluster, of version 6.0 or newer.

Which servers, which database, who signs in and how (TLS, SCRAM, X.509), and how many connections: all is in the
connection string (docs/mongodb.md). A client is made when it is first needed, in the event loop that needs it.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from fhir_server.fhir.clock import Clock, Ids
from fhir_server.fhir.errors import Conflict, NotFound
from fhir_server.search.plan import Query
from fhir_server.store.mongo import audit, schema, transaction
from fhir_server.store.mongo.audit import Log
from fhir_server.store.mongo.connection import connect
from fhir_server.store.mongo.errors import unavailable_on_failure
from fhir_server.store.mongo.explain import Explained, explain
from fhir_server.store.mongo.fields import PLAIN, Fields, Sealing, fields_of
from fhir_server.store.mongo.reading import Reading
from fhir_server.store.mongo.record import Recorder
from fhir_server.store.mongo.route import Estimates
from fhir_server.store.mongo.schema import Database
from fhir_server.store.mongo.transaction import DURABLE, Client, Turns
from fhir_server.store.mongo.unit import MongoUnit
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded, Work
from fhir_server.store.tenants import NO_CLINIC, SERVER, check_name, is_name

T = TypeVar("T")

DEFAULT_DATABASE = "fhir"


class MongoStore:
    """All tenants' data in one database. With `sealing`, those that are made by this store are sealed."""

    def __init__(
        self, uri: str, clock: Clock, ids: Ids, *, sealing: Sealing | None = None, listeners: Sequence[Any] = ()
    ) -> None:
        self._uri, self._clock, self._ids, self._sealing = uri, clock, ids, sealing
        self._listeners = list(listeners)
        # New at every start, so that no two processes ever give one id.
        self._suffix = f"{secrets.randbelow(10**audit.SUFFIX_DIGITS):0{audit.SUFFIX_DIGITS}}"
        self._known: dict[str, str] = {}  # the mark of the key that each clinic is sealed with, or ''
        self._fields: dict[str, Fields] = {SERVER: PLAIN}
        self._turns = Turns()
        self._estimates = Estimates()
        self._made: tuple[Client, Database, Recorder] | None = None

    async def run(
        self,
        tenant: str,
        work: Work[T],
        *,
        write: bool,
        quick: bool = False,  # noqa: ARG002
        may_lag: bool = False,
    ) -> T:
        """Do `work` in one Unit; `quick` makes no difference here. A read that may lag asks the nearest node."""
        fields = await self.fields(tenant)
        client, database, _ = self._parts()
        if write:

            def writing(session: AsyncClientSession) -> MongoUnit:
                reading = Reading(database, session, tenant, self._estimates, fields)
                return MongoUnit(reading, session, self._clock, self._ids, self._suffix)

            return await transaction.write(client, self._turns, tenant, work, writing)
        preference = ReadPreference.NEAREST if may_lag else ReadPreference.PRIMARY
        source = database.with_options(read_preference=preference)

        def reading(session: AsyncClientSession) -> MongoUnit:
            return MongoUnit(Reading(source, session, tenant, self._estimates, fields), session, self._clock, self._ids)

        return await transaction.read(client, work, reading)

    async def record(self, tenant: str, entries: Iterable[AuditEntry]) -> None:
        """Record what happened without a change; durable at return."""
        await self._check(tenant)
        documents = [audit.document(tenant, self._suffix, self._ids, entry) for entry in entries]
        if documents:
            await self._parts()[2].record(documents)

    async def server_log(self, query: AuditQuery) -> Sequence[Recorded]:
        """Audit entries of what belongs to no tenant."""
        with unavailable_on_failure():
            return await Log(self._parts()[1], None, SERVER).audited(query)

    async def explain(self, tenant: str, query: Query) -> Explained:
        """How a search would run."""
        fields = await self.fields(tenant)
        with unavailable_on_failure():
            return await explain(self._parts()[1], tenant, fields, query)

    async def create_tenant(self, tenant: str) -> None:
        """Make an empty tenant, and what the schema lacks. Raises Conflict when there is one, BadRequest."""
        check_name(tenant)
        database = self._parts()[1]
        cipher = self._sealing.fields(tenant).cipher if self._sealing is not None else None
        mark = {"mark": cipher.mark} if cipher is not None else {}
        with unavailable_on_failure():
            await schema.make(database)
            tenants = database.get_collection("tenant", write_concern=DURABLE)
            try:
                await tenants.insert_one({"tenant": tenant, "type": "tenant", "id": tenant} | mark)
            except DuplicateKeyError as error:
                raise Conflict(f"There is a clinic named '{tenant}' already.") from error

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants."""
        with unavailable_on_failure():
            found = self._parts()[1].tenant.find({"type": "tenant"}, {"id": 1, "mark": 1})
            self._known |= {each["id"]: each.get("mark", "") async for each in found}
            return sorted(self._known)

    def at_hand(self) -> Sequence[str]:
        """The names of the tenants that were met."""
        return [tenant for tenant in self._known if tenant != SERVER]

    async def has(self, tenant: str) -> bool:
        """Whether there is a tenant of this name; tenants never go, so one that was met is remembered."""
        if tenant in self._known:
            return True
        if not is_name(tenant):
            return False
        with unavailable_on_failure():
            where = {"tenant": tenant, "type": "tenant", "id": tenant}
            found = await self._parts()[1].tenant.find_one(where)
        if found is None:
            return False
        self._known[tenant] = found.get("mark", "")
        return True

    async def fields(self, tenant: str) -> Fields:
        """How the tenant's fields are sealed. Raises NotFound, Unavailable where the key is not theirs."""
        await self._check(tenant)
        if tenant not in self._fields:
            self._fields[tenant] = fields_of(self._sealing, tenant, self._known[tenant])
        return self._fields[tenant]

    async def close(self) -> None:
        """Finish what is under way and close the connections."""
        if self._made is not None:
            client, _, recorder = self._made
            await recorder.close()
            await client.close()
            self._made = None

    @property
    def database(self) -> Database:
        """The database, for what operators do."""
        return self._parts()[1]

    async def _check(self, tenant: str) -> None:
        if tenant != SERVER and not await self.has(tenant):
            raise NotFound(NO_CLINIC)

    def _parts(self) -> tuple[Client, Database, Recorder]:
        if self._made is None:
            client = connect(self._uri, self._listeners)
            database = client.get_default_database(DEFAULT_DATABASE)
            self._made = client, database, Recorder(database)
        return self._made
