"""Search among contained resources: `_contained=true|both` and `_containedType` (FHIR R4 search.html#contained).

The types in whose resources there are such, and the resources themselves for `both`, are each asked for a page after
the same place, and the pages are merged. Where containers are to be returned, each is listed once, at the first of
what it contains that matches; one that is a match itself is listed as that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cmp_to_key

from fhir_server.fhir import json
from fhir_server.interactions import bundle, contained, order, paging, subset
from fhir_server.interactions.call import Answer, Call, Pairs
from fhir_server.interactions.repository import Repository
from fhir_server.search.matches import comparison
from fhir_server.search.parse import SearchRequest
from fhir_server.search.plan import Position, Query, Test, Token, all_of
from fhir_server.store.protocol import Page, Stored

# Hits that are looked through at once to count containers.
TOGETHER = 500
# Makes the entry of a resource; `search_type` hands its own in.
Entry = Callable[[Call, Repository, SearchRequest, Stored, str], bytes]
# Where it stands, the type of its container ('': it is in none), and what was found.
Hit = tuple[Position, str, Stored]
_PLAIN = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A search under way; `query` is that of its first page, `sources` the types of containers (_PLAIN: none)."""

    repository: Repository
    request: SearchRequest
    query: Query
    sources: tuple[str, ...] = ()

    @property
    def lists_containers(self) -> bool:
        """Whether containers are returned for what they contain."""
        return self.request.contained_type == "container"

    async def listed(self, after: Position | None) -> tuple[list[Hit], bool]:
        """The hits of a page, and whether there are more."""
        kept: list[Hit] = []
        seen, is_first_page, more = set[tuple[str, str]](), after is None, True
        while more and len(kept) <= self.query.count:
            hits, more = await self._hits(after, self.query.count + 1)
            for hit in hits:
                if self._name(hit) not in seen and await self._stands(hit, is_first_page=is_first_page):
                    kept.append(hit)
                    seen.add(self._name(hit))
            after = hits[-1][0] if hits else after
        return kept[: self.query.count], len(kept) > self.query.count

    async def total(self, limit: int) -> tuple[int, bool]:
        """How many there are, counted to a limit (-1: all), and whether that is all of them."""
        if not self.lists_containers:
            pages = [await self._page(source, replace(self.query, count=0, total=limit)) for source in self.sources]
            return sum(page.total or 0 for page in pages), all(page.total_is_exact for page in pages)
        seen, after, more = set[tuple[str, str]](), None, True
        while more and (limit < 0 or len(seen) <= limit):
            hits, more = await self._hits(after, TOGETHER)
            seen |= set(map(self._name, hits))
            after = hits[-1][0] if hits else after
        exact = limit < 0 or len(seen) <= limit
        return (len(seen) if exact else limit), exact

    async def _hits(self, after: Position | None, count: int) -> tuple[list[Hit], bool]:
        """The next hits over all sources, and whether there are more."""
        found: list[Hit] = []
        more, extractor = False, self.repository.clinic.extractor
        for source in self.sources:
            page = await self._page(source, replace(self.query, after=after, count=count, total=None))
            more = more or page.next is not None
            found += [(order.place(extractor, each, self.query.sort), source, each) for each in page.matches]
        found.sort(key=cmp_to_key(comparison(self.query.sort)))
        return found[:count], more or len(found) > count

    async def _page(self, source: str, query: Query, of: tuple[str, str] | None = None) -> Page:
        if source == _PLAIN:
            return await self.repository.search(query)
        access, registry = self.repository.access, self.repository.clinic.registry
        return await contained.search(self.repository.unit, access, registry, query, source, of)

    async def _stands(self, hit: Hit, *, is_first_page: bool) -> bool:
        """Whether a hit is the one at which it, or its container, is listed."""
        _, source, stored = hit
        if source == _PLAIN or not self.lists_containers:
            return True
        name = contained.place(stored)
        if _PLAIN in self.sources and source == self.query.type:
            itself = Test("_id", "token", Token(name[1], ""), single=True)
            where = all_of(itself, self.query.where)
            page = await self._page(_PLAIN, replace(self.query, where=where, sort=(), count=1, total=None))
            if page.matches:
                return False
        if is_first_page:
            return True  # all before it were seen
        first = await self._page(source, replace(self.query, count=1, total=None), name)
        return first.matches[0].id == stored.id

    def _name(self, hit: Hit) -> tuple[str, str]:
        _, source, stored = hit
        if source == _PLAIN or not self.lists_containers:
            return stored.type, stored.id
        return contained.place(stored)


async def answer(call: Call, search: Search, path: str, pairs: list[tuple[str, str]], entry: Entry) -> Answer:
    """A searchset; its total and links are as those of any other search."""
    repository, request, query = search.repository, search.request, search.query
    plain = [_PLAIN] if request.contained == "both" else []
    # Refused where the caller may not ask this, whether or not there is anything.
    contained.bound(query, call.type, repository.access, repository.clinic.registry)
    found = await contained.containers(repository.unit, call.type)
    search = replace(search, sources=(*plain, *found))
    after = paging.place(call, path, pairs)
    hits, more = await search.listed(after) if query.count else ([], False)
    entries, shown = [], list[Stored]()
    for hit in hits:
        made, source = await _entry(call, search, hit, entry)
        entries.append(made)
        shown.append(source)
    if request.dropped:
        entries.append(bundle.outcome_entry(request.dropped))
    total: int | None = len(hits)
    if query.total is None and (more or after is not None):
        total = None
    elif query.total is not None and (more or after is not None or query.count == 0):
        total, exact = await search.total(query.total)
        total = total if exact or request.total == "estimate" else None
    if request.total == "none" and query.count:
        total = None
    links = [("self", bundle.link(call.clinic.base_url, path, request.applied))]
    if more:
        links.append(("next", bundle.link(call.clinic.base_url, path, _following(call, path, pairs, hits[-1][0]))))
    server = call.clinic.server
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, total)
    return Answer(200, body, shown=shown, informed=request.dropped)


def _following(call: Call, path: str, pairs: list[tuple[str, str]], last: Position) -> Pairs:
    return [*pairs, (paging.PARAMETER, paging.cursor(call, path, pairs, last))]


async def _entry(call: Call, search: Search, hit: Hit, entry: Entry) -> tuple[bytes, Stored]:
    """The entry of a hit, and the resource that is shown by it."""
    (_, source, stored), request = hit, search.request
    if source == _PLAIN:
        return entry(call, search.repository, request, stored, "match"), stored
    container = await search.repository.peek(*contained.place(stored))
    assert container is not None
    assert stored.body is not None
    if search.lists_containers:
        # `_elements` are those of what is sought.
        return entry(call, search.repository, replace(request, elements=()), container, "match"), container
    body, resource = stored.body, json.parse(stored.body)
    if request.summary not in (None, "false", "count") or request.elements:
        body = json.serialise(subset.of(resource, request, call.clinic.server.definitions))
    named = replace(container, id=f"{container.id}#{resource['id']}")
    return bundle.match_entry(call.clinic.base_url, named, body), container
