"""Audit entries as documents, and how they are found again.

Each process writes a chain of its own, whose name it makes at its start; an entry's number grows with time, so that
its id is known, and stays, before the sealer has given it its place and hash.

    {tenant, type: chain, id: '{chain}-{number}', number, recorded, body, found: ['patient 1', …],
     unsealed: true  or  place, hash}
"""

from collections.abc import Iterable

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.fhir.clock import Ids
from fhir_server.store.mongo.schema import Database, Document
from fhir_server.store.protocol import AuditEntry, AuditQuery, Recorded


def document(tenant: str, chain: str, ids: Ids, entry: AuditEntry) -> Document:
    """The document of a new entry."""
    number = ids.creation_key()
    return {
        "tenant": tenant, "type": chain, "id": f"{chain}-{number}", "number": number, "recorded": entry.recorded,
        "body": entry.body, "found": list(found(entry)), "unsealed": True,
    }  # fmt: skip


def found(entry: AuditEntry) -> Iterable[str]:
    """What an entry is found by."""
    for kind, values in (("patient", entry.patients), ("agent", entry.agents), ("entity", entry.entities)):
        yield from dict.fromkeys(f"{kind} {value}" for value in values)


async def audited(
    database: Database, session: AsyncClientSession | None, tenant: str, query: AuditQuery
) -> list[Recorded]:
    """Entries of all chains of a tenant, in the query's order."""
    direction = 1 if query.ascending else -1
    order = [("recorded", direction), ("type", direction), ("number", direction)]
    fields = {"_id": 0, "id": 1, "recorded": 1, "body": 1}
    entries = database.audit.find(_where(tenant, query), fields, sort=order, limit=query.count, session=session)
    return [Recorded(each["id"], each["recorded"], each["body"]) async for each in entries]


def _where(tenant: str, query: AuditQuery) -> Document:
    if query.id is not None:
        return {"tenant": tenant, "type": query.id.rpartition("-")[0], "id": query.id}
    where: Document = {"tenant": tenant}
    if query.found_by is not None:
        where["found"] = " ".join(query.found_by)
    recorded = {"$gte": query.since, "$lt": query.before}
    bounds = {operator: bound for operator, bound in recorded.items() if bound is not None}
    if query.after is not None:
        last, id_ = query.after
        chain, _, number = id_.rpartition("-")
        beyond = "$gt" if query.ascending else "$lt"
        where["$and"] = [
            {"recorded": {f"{beyond}e": last}},
            {
                "$or": [
                    {"recorded": {beyond: last}},
                    {"recorded": last, "type": {beyond: chain}},
                    {"recorded": last, "type": chain, "number": {beyond: int(number)}},
                ]
            },
        ]
    return where | ({"recorded": bounds} if bounds else {})
