"""$reindex: what is stored, indexed anew by the search parameters of now (docs/operations/reindex.md).

For a clinic's own search parameters and after a change of settings that the index depends on. Each slice is a Unit of
its own, so that others write between; what they write is indexed by the new parameters already.
"""

from functools import partial

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Conflict, Forbidden
from fhir_server.interactions import contained, own_index, search_parameters
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search import custom
from fhir_server.search.plan import Position, Query
from fhir_server.store.protocol import VersionConflict

SLICE = 200


async def handle(call: Call) -> Answer:
    """200 with the number of resources; `type` (any number) names the types, else it is all of them."""
    if not call.access.of(search_parameters.TYPE, "u"):
        raise Forbidden("Nothing grants this caller $reindex: it is for whoever may change search parameters.")
    assert call.units is not None
    types = await call.units.step(partial(_with_containers, types=_types(call)))
    before, count = await call.units.step(_kept), 0
    for type_ in types:
        after: Position | None = ()
        while after is not None:
            done, after = await call.units.step(partial(_slice, type_=type_, after=after or None))
            count += done
    await call.units.step(partial(_finish, before=before, types=frozenset(types)))
    body = {"resourceType": "Parameters", "parameter": [{"name": "resources", "valueInteger": count}]}
    return Answer(200, json.serialise(body))


def _types(call: Call) -> list[str]:
    known = call.clinic.server.definitions.resource_types
    named = []
    for n, parameter in enumerate(call.body.get("parameter", ())):
        type_ = parameter.get("valueCode")
        if parameter.get("name") != "type" or type_ not in known:
            raise BadRequest(
                "$reindex takes parameters 'type', each with a resource type as valueCode.",
                expression=f"Parameters.parameter[{n}]",
            )
        named.append(type_)
    return sorted(set(named) or known)


async def _with_containers(repository: Repository, *, types: list[str]) -> list[str]:
    """The types, and those in whose resources theirs are contained."""
    found = {container for type_ in types for container in await contained.containers(repository.unit, type_)}
    return sorted(found.union(types))


async def _kept(repository: Repository) -> bytes:
    return await search_parameters.kept(repository.unit) or b""


async def _slice(repository: Repository, *, type_: str, after: Position | None) -> tuple[int, Position | None]:
    """Indexes one slice; how many resources it had, and where the next begins."""
    await repository.renew()
    page = await repository.unit.search(Query(type_, count=SLICE, after=after))
    for stored in page.matches:
        assert stored.body is not None
        try:
            resource = json.parse(stored.body)
            await repository.unit.reindex(stored, repository.entries(resource))
            await contained.index(repository.unit, repository.clinic, stored, resource)
        except VersionConflict:
            continue  # on a store with snapshots: written meanwhile, and so indexed
    return len(page.matches), page.next


async def _finish(repository: Repository, *, before: bytes, types: frozenset[str]) -> None:
    """Have what was stale searched again. Raises Conflict when the parameters were changed meanwhile."""
    if await _kept(repository) != before:
        raise Conflict("The search parameters were changed meanwhile; run $reindex again.")
    await own_index.keep(repository.unit, types & repository.clinic.server.own_entries.keys())
    known = custom.read(before)
    now = known.indexed(types)
    if now != known:
        await search_parameters.keep(repository.unit, now)
