"""search-system and compartment search over several types: one order over all (FHIR R4 http.html#search, #vsearch).

Each type is asked for a page after the same place, and the pages are merged: creation keys order resources of all
types alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cmp_to_key
from typing import Any

from fhir_server.fhir.errors import BadRequest, Forbidden, NotFound
from fhir_server.interactions import include, order, paging, search_type
from fhir_server.interactions.call import Answer, Call, Pairs
from fhir_server.interactions.repository import Repository
from fhir_server.search.matches import comparison
from fhir_server.search.parse import Include, SearchRequest
from fhir_server.search.plan import EVERYTHING, Node, Target, Test, all_of, any_of
from fhir_server.store.protocol import Page, Stored

# Types that are not among the stored resources: they are sought on their own.
_APART = frozenset({"AuditEvent"})
Placed = tuple[tuple[Any, ...], Stored]


async def system(call: Call, repository: Repository) -> Answer:
    """A searchset of the types that `_type` names, or of all that the caller may search."""
    known = call.clinic.server.definitions.resource_types
    types = _named(call) or _allowed(repository, sorted(known - _APART))
    return await answer(call, repository, "", dict.fromkeys(types, EVERYTHING))


async def compartment(call: Call, repository: Repository) -> Answer:
    """A searchset of what is in one compartment, of one type or (`*`) of all (FHIR R4 compartmentdefinition.html)."""
    members = call.clinic.server.definitions.compartments.get(call.type)
    if members is None:
        raise NotFound(f"{call.type} is no compartment of FHIR R4.", code="not-supported")
    path = f"{call.type}/{call.id}/{call.other}"
    if call.other == "*":
        types = sorted(type_ for type_, codes in members.items() if codes and type_ not in _APART)
        named = _named(call)
        allowed = [type_ for type_ in named if type_ in types] if named else _allowed(repository, types)
        within = {type_: inside(call, members[type_]) for type_ in allowed}
        return await answer(call, repository, path, within)
    if not members.get(call.other) or call.other in _APART:
        raise NotFound(f"{call.other} is not in the compartment of a {call.type}.", code="not-supported")
    one = replace(call, type=call.other, id="", other="")
    return await search_type.answer(one, repository, path, inside(call, members[call.other]))


def _named(call: Call) -> tuple[str, ...]:
    """The types that `_type` names, each once. Raises BadRequest."""
    named = [type_ for name, value in call.query if name == "_type" for type_ in value.split(",") if type_]
    for type_ in named:
        if type_ not in call.clinic.server.definitions.resource_types or type_ in _APART:
            raise BadRequest(f"'_type': '{type_[:64]}' cannot be searched here.", expression="_type")
    return tuple(dict.fromkeys(named))


def _allowed(repository: Repository, types: Sequence[str]) -> tuple[str, ...]:
    allowed = tuple(type_ for type_ in types if repository.access.of(type_, "s"))
    if not allowed:
        raise Forbidden("Nothing grants this caller the search of any type.")
    return allowed


def inside(call: Call, codes: Sequence[str]) -> Node:
    """The condition of being in the compartment of the call's resource, by these parameters of a type."""
    return any_of(*(Test(code, "reference", Target(call.id, call.type)) for code in codes))


async def answer(
    call: Call, repository: Repository, path: str, within: Mapping[str, Node], criteria: Pairs | None = None
) -> Answer:
    """A searchset at a path of several types, each with what is `within`, by the query's criteria or those given."""
    pairs = [(name, value) for name, value in call.query if name != paging.PARAMETER]
    is_search = criteria is None
    if criteria is None:
        criteria = [(name, value) for name, value in pairs if name != "_type"]
    place = paging.place(call, path, pairs)
    pages: list[Page] = []
    found: list[Placed] = []
    request, count = SearchRequest(""), 0
    includes: dict[Include, None] = {}
    ignored = set(criteria)  # by every type
    for type_, node in within.items():
        request = search_type.read(replace(call, type=type_), criteria, tuple(within))
        search_type.refuse_contained(request)
        query = search_type.query_of(replace(call, type=type_), replace(request, where=all_of(node, request.where)))
        pages.append(await repository.search(replace(query, after=place)))
        count = query.count
        includes |= dict.fromkeys(request.includes)
        ignored.intersection_update(request.ignored)
        found += [
            (order.place(repository.clinic.extractor, stored, request.sort), stored) for stored in pages[-1].matches
        ]
    found.sort(key=cmp_to_key(comparison(request.sort)))
    more = len(found) > count or any(page.next is not None for page in pages)
    kept = found[:count]
    totals = [page.total for page in pages]
    total = sum(t for t in totals if t is not None) if None not in totals else None
    is_exact = all(page.total_is_exact for page in pages)
    page = Page([stored for _, stored in kept], kept[-1][0] if more and kept else None, total, is_exact)
    types = [("_type", ",".join(within))] if is_search and len(pairs) != len(criteria) else []
    applied = (*types, *request.applied) if is_search else tuple(pairs)
    pairs = [pair for pair in pairs if pair not in ignored]
    request = replace(request, includes=tuple(includes))
    included = await include.included(repository, request, page.matches)
    return search_type.bundled(call, repository, replace(request, applied=applied), page, included, path, pairs)
