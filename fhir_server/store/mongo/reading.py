"""Reads of one tenant's current resources in one session: every filter has the tenant and the type."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.mongo.compile import conjunction
from fhir_server.store.mongo.errors import LONGEST_READ_SECONDS
from fhir_server.store.mongo.schema import Database, Document

_MILLISECONDS = int(LONGEST_READ_SECONDS * 1_000)


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a Unit reads: the database, the session with its snapshot, the tenant."""

    database: Database
    session: AsyncClientSession | None
    tenant: str

    def where(self, type_: str, condition: Document, after: int = 0) -> Document:
        """The filter of resources that are there, created after a key."""
        return {"tenant": self.tenant, "type": type_, "at": {"$gt": after}, **conjunction((condition,))}

    async def find(
        self,
        type_: str,
        condition: Document,
        fields: Document | None = None,
        *,
        sort: Sequence[tuple[str, int]] | None = None,
        limit: int = 0,
        after: int = 0,
    ) -> AsyncIterator[Document]:
        """The resources of a type that are there and fulfil a condition. `limit` 0: all."""
        cursor = self.database.resource.find(
            self.where(type_, condition, after),
            fields,
            sort=sort,
            limit=limit,
            max_time_ms=_MILLISECONDS,
            session=self.session,
        )
        try:
            async for document in cursor:
                yield document
        finally:
            await cursor.close()

    async def aggregate(self, pipeline: Sequence[Document]) -> list[Document]:
        """What a pipeline over the resources gives, whose first stage matches what `where` makes."""
        cursor = await self.database.resource.aggregate(
            pipeline, allowDiskUse=True, maxTimeMS=_MILLISECONDS, session=self.session
        )
        return [document async for document in cursor]

    async def by_ids(self, type_: str, ids: Sequence[str]) -> dict[str, Any]:
        """The resources of these ids."""
        return {document["id"]: document async for document in self.find(type_, {"id": {"$in": list(ids)}})}
