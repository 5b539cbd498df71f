"""Reads of one tenant's current resources in one session: every filter has the tenant and the type."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.mongo.compile import conjunction
from fhir_server.store.mongo.errors import LONGEST_READ_SECONDS
from fhir_server.store.mongo.fields import PLAIN, Fields
from fhir_server.store.mongo.route import Estimates
from fhir_server.store.mongo.schema import Database, Document

_MILLISECONDS = int(LONGEST_READ_SECONDS * 1_000)


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a Unit reads: the database, the session with its snapshot, the tenant and what of it is sealed."""

    database: Database
    session: AsyncClientSession | None
    tenant: str
    estimates: Estimates = field(default_factory=Estimates)
    fields: Fields = PLAIN

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
        hint: str | None = None,
    ) -> AsyncIterator[Document]:
        """The resources of a type that are there and fulfil a condition. `limit` 0: all."""
        cursor = self.database.resource.find(
            self.where(type_, condition, after),
            fields,
            sort=sort,
            limit=limit,
            hint=hint,
            max_time_ms=_MILLISECONDS,
            session=self.session,
        )
        try:
            async for document in cursor:
                yield document
        finally:
            await cursor.close()

    async def aggregate(self, pipeline: Sequence[Document], hint: str | None = None) -> list[Document]:
        """What a pipeline over the resources gives, whose first stage matches what `where` makes."""
        options: dict[str, Any] = {"allowDiskUse": True, "maxTimeMS": _MILLISECONDS}
        if hint is not None:
            options["hint"] = hint
        cursor = await self.database.resource.aggregate(pipeline, session=self.session, **options)
        return [document async for document in cursor]

    async def count(self, type_: str, condition: Document, bound: int, hint: str) -> int:
        """How many resources fulfil a condition, at most `bound` (0: all)."""
        limit: list[Document] = [{"$limit": bound}] if bound else []
        match = {"$match": self.where(type_, condition)}
        counted = await self.aggregate([match, *limit, {"$count": "count"}], hint)
        return int(counted[0]["count"]) if counted else 0

    async def by_ids(self, type_: str, ids: Sequence[str]) -> dict[str, Any]:
        """The resources of these ids."""
        return {
            document["id"]: document async for document in self.find(type_, {"id": {"$in": list(ids)}}, hint="identity")
        }
