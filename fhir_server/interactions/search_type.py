"""search-type: a page of the resources of one type that match (FHIR R4 http.html#search, search.html)."""

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions import bundle, include, paging, search_contained, subset
from fhir_server.interactions.call import Answer, Call, Pairs
from fhir_server.interactions.prefer import preference
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import SearchRequest
from fhir_server.search.plan import EVERYTHING, Node, Query, all_of
from fhir_server.search.plan_rules import natural_order
from fhir_server.store.protocol import Page, Stored

# Counting to this many is cheap enough to do unasked; an estimate says that there are this many at least.
COUNTED = 1_000


async def handle(call: Call, repository: Repository) -> Answer:
    """A searchset Bundle; its self link says what was applied."""
    return await answer(call, repository, call.type)


async def answer(call: Call, repository: Repository, path: str, within: Node = EVERYTHING) -> Answer:
    """A searchset of the call's type at a path, of what is `within`."""
    pairs = [(name, value) for name, value in call.query if name != paging.PARAMETER]
    request = read(call, pairs)
    if request.ignored:  # whoever follows a page link need not be lenient
        pairs = [pair for pair in pairs if pair not in request.ignored]
    query = query_of(call, request if within is EVERYTHING else replace(request, where=all_of(within, request.where)))
    if request.contained != "false":
        return await search_contained.answer(
            call, search_contained.Search(repository, request, query), path, pairs, entry
        )
    sort, after = query.sort or natural_order(query.where), paging.place(call, path, pairs)
    page = await repository.search(Query(query.type, query.where, sort, query.count, after, query.total))
    included = await include.included(repository, request, page.matches)
    return bundled(call, repository, request, page, included, path, pairs)


def read(call: Call, pairs: Pairs, among: tuple[str, ...] = ()) -> SearchRequest:
    """What a query asks of the call's type, maybe one `among` several, by the caller's wish strictly or not."""
    lenient = preference(call, "handling") == "lenient"
    return call.clinic.parser.parse(call.type, pairs, call.clinic.server.clock(), lenient=lenient, among=among)


def refuse_contained(request: SearchRequest) -> None:
    """Raises BadRequest for a search of contained resources, where one type at a time can be searched so."""
    if request.contained != "false":
        raise BadRequest(
            "'_contained' is for a search of one type, and not for $explain.",
            expression="_contained",
            code="not-supported",
        )


def bundled(
    call: Call,
    repository: Repository,
    request: SearchRequest,
    page: Page,
    included: Sequence[Stored],
    path: str,
    pairs: list[tuple[str, str]],
) -> Answer:
    """The answer with a page and what comes along with it."""
    server, base_url = call.clinic.server, call.clinic.base_url
    entries = _entries(call, repository, request, page.matches, "match")
    entries += _entries(call, repository, request, included, "include")
    if request.dropped:
        entries.append(bundle.outcome_entry(request.dropped))
    links = [("self", bundle.link(base_url, path, request.applied))]
    if page.next is not None:
        following = [*pairs, (paging.PARAMETER, paging.cursor(call, path, pairs, page.next))]
        links.append(("next", bundle.link(base_url, path, following)))
    total = _total(call, request, page)
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, total)
    return Answer(200, body, shown=(*page.matches, *included), informed=request.dropped)


def query_of(call: Call, request: SearchRequest) -> Query:
    """The first page of what is asked."""
    settings = call.clinic.server.settings
    count = request.count if request.count is not None else settings.page_size
    if request.summary == "count":
        count = 0
    total = {"accurate": -1, "none": None}.get(request.total or "", COUNTED)
    if count == 0 or (request.total is None and call.type == "Appointment"):
        total = -1
    return Query(call.type, request.where, request.sort, min(count, settings.largest_page), None, total)


def _total(call: Call, request: SearchRequest, page: Page) -> int | None:
    """The total that was counted to its end or asked for as an estimate, or that a whole page tells anyway."""
    if request.total == "none" and request.count != 0 and request.summary != "count":
        return None
    if page.total is not None:
        return page.total if page.total_is_exact or request.total == "estimate" else None
    is_whole = page.next is None and not any(name == paging.PARAMETER for name, _ in call.query)
    return len(page.matches) if is_whole else None


def _entries(
    call: Call, repository: Repository, request: SearchRequest, found: Sequence[Stored], mode: str
) -> list[bytes]:
    """The entries of matches, or of what comes along with them."""
    types = {stored.type for stored in found}
    if len(types) == 1 and not _is_narrowed(request, mode):
        type_ = types.pop()
        if repository.access.shows_all(type_, "s"):
            return bundle.match_entries(call.clinic.base_url, type_, found, mode)
    return [entry(call, repository, request, stored, mode) for stored in found]


def entry(call: Call, repository: Repository, request: SearchRequest, stored: Stored, mode: str) -> bytes:
    """A match, or what comes along with one (mode `include`), as the caller may see it and has asked to."""
    body = repository.shown(stored, "s" if repository.access.of(stored.type, "s") else "r")
    if _is_narrowed(request, mode):
        narrowed = subset.of(json.parse(body), request, call.clinic.server.definitions)
        body = json.serialise(narrowed)
    return bundle.match_entry(call.clinic.base_url, stored, body, mode)


def _is_narrowed(request: SearchRequest, mode: str) -> bool:
    """Whether the caller asked for some elements of a resource only."""
    return request.summary not in (None, "false", "count") or (bool(request.elements) and mode == "match")


def too_many(what: str, most: int) -> Issue:
    """The warning that a limit cut something off."""
    return Issue("too-costly", f"Only the first {most} {what} are shown.", severity="warning")
