"""search-type: a page of the resources of one type that match (FHIR R4 http.html#search, search.html)."""

from fhir_server.fhir import json
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions import bundle, include, paging, subset
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.prefer import preference
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import SearchRequest
from fhir_server.search.plan import Query
from fhir_server.store.protocol import Page, Stored

# Counting to this many is cheap enough for an estimate.
ESTIMATE = 1_000


async def handle(call: Call, repository: Repository) -> Answer:
    """A searchset Bundle; its self link says what was applied."""
    server = call.clinic.server
    pairs = [(name, value) for name, value in call.query if name != paging.PARAMETER]
    lenient = preference(call, "handling") == "lenient"
    request = call.clinic.parser.parse(call.type, pairs, server.clock(), lenient=lenient)
    page = await repository.search(_query(call, request, paging.place(call, call.type, pairs)))
    included = await include.included(repository, request, page.matches)
    entries = [_entry(call, repository, request, stored, "match") for stored in page.matches]
    entries += [_entry(call, repository, request, stored, "include") for stored in included]
    if request.dropped:
        entries.append(bundle.outcome_entry(request.dropped))
    body = bundle.bundle(
        "searchset",
        server.ids.resource_id(),
        server.clock(),
        _links(call, request, page, pairs),
        entries,
        _total(call, request, page),
    )
    return Answer(200, body, shown=(*page.matches, *included), informed=request.dropped)


def _query(call: Call, request: SearchRequest, after: tuple[object, ...] | None) -> Query:
    settings = call.clinic.server.settings
    count = request.count if request.count is not None else settings.page_size
    if request.summary == "count":
        count = 0
    total = {"accurate": -1, "estimate": ESTIMATE, "none": None}.get(request.total or "")
    if count == 0 or (request.total is None and call.type == "Appointment"):
        total = -1
    return Query(call.type, request.where, request.sort, min(count, settings.largest_page), after, total)


def _total(call: Call, request: SearchRequest, page: Page) -> int | None:
    """The total that was counted, or that a page which holds everything tells anyway."""
    if page.total is not None or request.total == "none":
        return page.total
    is_whole = page.next is None and not any(name == paging.PARAMETER for name, _ in call.query)
    return len(page.matches) if is_whole else None


def _entry(call: Call, repository: Repository, request: SearchRequest, stored: Stored, mode: str) -> bytes:
    letter = "s" if repository.access.of(stored.type, "s") else "r"
    body = repository.shown(stored, letter)
    if request.summary not in (None, "false", "count") or (request.elements and mode == "match"):
        narrowed = subset.of(json.parse(body), request, call.clinic.server.definitions)
        body = json.serialise(narrowed)
    return bundle.match_entry(call.clinic.base_url, stored, body, mode)


def _links(call: Call, request: SearchRequest, page: Page, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    base_url = call.clinic.base_url
    links = [("self", bundle.link(base_url, call.type, request.applied))]
    if page.next is not None:
        following = [*pairs, (paging.PARAMETER, paging.cursor(call, call.type, pairs, page.next))]
        links.append(("next", bundle.link(base_url, call.type, following)))
    return links


def too_many(what: str, most: int) -> Issue:
    """The warning that a limit cut something off."""
    return Issue("too-costly", f"Only the first {most} {what} are shown.", severity="warning")
