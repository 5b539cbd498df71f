"""Conditional create, update, patch, delete: a search in the place of an id (FHIR R4 http.html#ccreate, #cond-update).

The search and the write are in one Unit, so that parallel requests with one criterion make one resource. A criterion
finds only what the caller may search: what is out of sight is as if it were not there.
"""

from dataclasses import replace

from fhir_server.fhir.errors import BadRequest, Conflict, NotFound, PreconditionFailed
from fhir_server.interactions import delete as direct_delete
from fhir_server.interactions import patch as direct_patch
from fhir_server.interactions import update as direct_update
from fhir_server.interactions.call import Answer, Call, Pairs
from fhir_server.interactions.if_match import check_if_match
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import SearchRequest
from fhir_server.search.parse import pairs as query_pairs
from fhir_server.search.plan import EVERYTHING, Node, Query
from fhir_server.store.protocol import Stored


def criteria(text: str) -> Pairs:
    """The pairs of an If-None-Exist: a query, with or without the type and question mark before it. Raises BadRequest.

    A `?` further on is part of a value (RFC 3986 §3.4).
    """
    before, mark, query = text.partition("?")
    return query_pairs(query if mark and "=" not in before else text)


async def matches(call: Call, repository: Repository, type_: str, pairs: Pairs, most: int = 1) -> list[Stored]:
    """What the condition finds for this caller, at most one more than `most`. Raises BadRequest, Forbidden."""
    where = _condition(call, type_, pairs)
    await repository.guard(type_, pairs)
    page = await repository.search(Query(type_, where, count=most + 1))
    return list(page.matches)


async def one(call: Call, repository: Repository, type_: str, pairs: Pairs) -> Stored | None:
    """The one match, or None. Raises PreconditionFailed for several."""
    found = await matches(call, repository, type_, pairs)
    if len(found) > 1:
        raise PreconditionFailed(
            f"The condition finds more than one {type_}; name more of the one that is meant.", code="multiple-matches"
        )
    return found[0] if found else None


async def update(call: Call, repository: Repository) -> Answer:
    """Update the one match; without a match create, at the body's id where it has one."""
    found, given = await one(call, repository, call.type, call.query), call.body.get("id")
    if found is not None:
        if given not in (None, found.id):
            raise BadRequest("The body's id is not that of the match; leave it out.", expression=f"{call.type}.id")
        return await direct_update.handle(_direct(call, found.id, {**call.body, "id": found.id}), repository)
    check_if_match(call.headers, None)
    if given is None:
        return answer_with(call, repository, await repository.create(call.body), 201)
    current, is_there = await repository.look(call.type, given, "u")
    if current is not None and not current.is_deleted and is_there:
        raise Conflict(f"{call.type}/{given} is there already, and the condition does not find it.")
    return await direct_update.handle(_direct(call, given, call.body), repository)


async def patch(call: Call, repository: Repository) -> Answer:
    """Patch the one match."""
    found = await one(call, repository, call.type, call.query)
    if found is None:
        raise NotFound("The condition finds nothing.")
    return await direct_patch.handle(_direct(call, found.id, call.body), repository)


async def delete(call: Call, repository: Repository) -> Answer:
    """Delete what matches: nothing, one, or as many as the setting `conditional_deletes` allows."""
    repository.granted(call.type, "d")
    for stored in await deletable(call, repository, call.type, call.query):
        await direct_delete.handle(_direct(call, stored.id, None), repository)
    return Answer(204)


async def deletable(call: Call, repository: Repository, type_: str, pairs: Pairs) -> list[Stored]:
    """What a conditional delete deletes. Raises PreconditionFailed for more than the setting allows."""
    most = call.clinic.server.settings.conditional_deletes
    found = await matches(call, repository, type_, pairs, most)
    if len(found) > most:
        raise PreconditionFailed(
            f"The condition finds more than {most} of {type_}, the most that one request deletes here.",
            code="multiple-matches",
        )
    return found


def _direct(call: Call, id_: str, body: object) -> Call:
    return replace(call, id=id_, query=(), body=body)


def _condition(call: Call, type_: str, pairs: Pairs) -> Node:
    request = call.clinic.parser.parse(type_, pairs, call.clinic.server.clock())
    if request != SearchRequest(type_, request.where, applied=request.applied):
        raise BadRequest("A condition has search criteria only, no parameters of how results are shown.")
    if request.where == EVERYTHING:
        raise BadRequest("The condition has no search criteria; name what is sought.", code="required")
    return request.where
