"""Reading the audit log: read and search-type of AuditEvent (FHIR R4 auditevent.html, IHE BALP).

The log is searched newest first, or oldest first by `_sort=date`: an index on patient, agent or entity, or the time
alone, leads to entries, and the plan is asked of each as rendered. Imported AuditEvents, which are foreign to the
log, follow after it. `_include` brings agents and entities along, as the caller may see them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fhir_server.audit.event import Event, from_entry
from fhir_server.audit.render import NOBODY, audit_event
from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions import bundle, include, paging, search_type, subset, visibility
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.matches import matches
from fhir_server.search.parse import SearchRequest
from fhir_server.search.plan import All, Interval, Node, Position, Query, Target, Test, Token
from fhir_server.store.protocol import AuditQuery, Recorded, Stored

TYPE = "AuditEvent"
BATCH = 500
# Entries looked at for one page; a page may end early with a link to go on.
MOST_SCANNED = 20_000
_MILLISECOND = 1_000


async def read(call: Call, repository: Repository) -> Answer:
    """One AuditEvent, of the log or imported."""
    grants = repository.granted(TYPE, "r")
    for recorded in await repository.unit.audited(AuditQuery(id=call.id)):
        resource = _rendered(call, recorded)
        if any(visibility.allows(grant, call.clinic.extractor.entries(resource)) for grant in grants):
            return Answer(200, json.serialise(resource), headers={"etag": 'W/"1"'})
    stored = await repository.read(TYPE, call.id)
    return Answer(200, repository.shown(stored), stored, shown=(stored,))


async def search(call: Call, repository: Repository) -> Answer:
    """A searchset of AuditEvents."""
    server = call.clinic.server
    pairs = [(name, value) for name, value in call.query if name != paging.PARAMETER]
    request = call.clinic.parser.parse(TYPE, pairs, server.clock())
    if [sort.param for sort in request.sort] not in ([], ["date"]):
        raise BadRequest("The audit log is sorted by 'date' or '-date' alone.", expression="_sort")
    if request.revincludes:
        raise BadRequest("The audit log takes no _revinclude: nothing points at its entries.", expression="_revinclude")
    for name, _ in request.applied:
        if "." in name or name.startswith("_has:"):
            raise BadRequest(f"The audit log is searched without chains: '{name}' is one.", expression=name)
    where = visibility.bound(TYPE, request.where, (), repository.access, "s", server.registry)
    page = await _page(call, repository, replace(request, where=where), paging.place(call, TYPE, pairs))
    links = [("self", bundle.link(call.clinic.base_url, TYPE, request.applied))]
    if page.next is not None:
        following = [*pairs, (paging.PARAMETER, paging.cursor(call, TYPE, pairs, page.next))]
        links.append(("next", bundle.link(call.clinic.base_url, TYPE, following)))
    included = await include.included(repository, request, page.matches)
    entries = page.entries + [search_type.entry(call, repository, request, each, "include") for each in included]
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, page.total)
    return Answer(200, body, shown=included)


@dataclass(slots=True)
class _Page:
    """`matches` are the entries' resources, kept where a search asks for what they point at."""

    entries: list[bytes] = field(default_factory=list)
    matches: list[Stored] = field(default_factory=list)
    next: Position | None = None
    total: int | None = None


async def _page(call: Call, repository: Repository, request: SearchRequest, place: Position | None) -> _Page:
    """One page. A place is (1, recorded, id) in the log, or (2, …) among the imported ones."""
    settings = call.clinic.server.settings
    count = min(settings.page_size if request.count is None else request.count, settings.largest_page)
    if request.summary == "count" or count == 0:
        total = await _count(call, repository, request)
        return _Page(total=total)
    page = _Page(total=await _count(call, repository, request) if request.total == "accurate" else None)
    if place is None or place[0] == 1:
        await _from_log(call, repository, request, page, count, place)
    if page.next is None:
        await _imported(call, repository, request, page, count, place)
    if page.next is None and place is None and request.total != "none":
        page.total = len(page.entries)
    return page


async def _from_log(
    call: Call, repository: Repository, request: SearchRequest, page: _Page, count: int, place: Position | None
) -> None:
    query = _audit_query(request)
    if place is not None:
        query = replace(query, after=(place[1], place[2]))
    last: Recorded | None = None
    for scanned in range(0, MOST_SCANNED, BATCH):
        batch = await repository.unit.audited(query)
        for recorded in batch:
            resource = _rendered(call, recorded)
            if not matches(request.where, call.clinic.extractor.entries(resource)):
                last = recorded
                continue
            if len(page.entries) == count:
                assert last is not None
                page.next = (1, last.recorded, last.id)
                return
            last = recorded
            body = json.serialise(resource)
            page.entries.append(_entry(call, request, recorded.id, body))
            if request.includes:
                page.matches.append(Stored(TYPE, recorded.id, 1, recorded.recorded, body, 0))
        if len(batch) < BATCH or last is None:
            return
        query = replace(query, after=(last.recorded, last.id))
        if scanned + BATCH >= MOST_SCANNED:
            page.next = (1, last.recorded, last.id)


async def _imported(
    call: Call, repository: Repository, request: SearchRequest, page: _Page, count: int, place: Position | None
) -> None:
    after = tuple(place[1:]) or None if place is not None and place[0] == 2 else None
    room = count - len(page.entries)
    if room == 0:  # the log ended with the page: the imported ones begin the next
        there = await repository.search(Query(TYPE, request.where, count=0, total=1))
        page.next = (2,) if there.total else None
        return
    found = await repository.search(Query(TYPE, request.where, request.sort, room, after))
    page.entries += [_entry(call, request, stored.id, repository.shown(stored, "s")) for stored in found.matches]
    page.matches += found.matches
    page.next = (2, *found.next) if found.next is not None else None


async def _count(call: Call, repository: Repository, request: SearchRequest) -> int:
    query, total = _audit_query(request), 0
    while True:
        batch = await repository.unit.audited(query)
        total += sum(
            matches(request.where, call.clinic.extractor.entries(_rendered(call, recorded))) for recorded in batch
        )
        if len(batch) < BATCH:
            break
        query = replace(query, after=(batch[-1].recorded, batch[-1].id))
    page = await repository.search(Query(TYPE, request.where, count=0, total=-1))
    return total + (page.total or 0)


def shown_by(call: Call, repository: Repository) -> Callable[[str, Event], bool]:
    """Whether the caller's grants for searching let an event through."""
    grants = repository.granted(TYPE, "s")
    if any(visibility.is_everything(grant) for grant in grants):
        return lambda _, __: True

    def allows(id_: str, event: Event) -> bool:
        entries = call.clinic.extractor.entries(audit_event(event, id_, call.clinic.base_url))
        return any(visibility.allows(grant, entries) for grant in grants)

    return allows


def _rendered(call: Call, recorded: Recorded) -> dict[str, Any]:
    return audit_event(from_entry(recorded.recorded, recorded.body), recorded.id, call.clinic.base_url)


def _entry(call: Call, request: SearchRequest, id_: str, body: bytes) -> bytes:
    if request.summary not in (None, "false", "count") or request.elements:
        body = json.serialise(subset.of(json.parse(body), request, call.clinic.server.definitions))
    url = f'{{"fullUrl":"{call.clinic.base_url}/{TYPE}/{id_}","resource":'.encode()
    return url + body + b',"search":{"mode":"match"}}'


def _audit_query(request: SearchRequest) -> AuditQuery:
    """Bounds and an index that follow from the plan; what they let through is asked of the plan all the same."""
    query = AuditQuery(count=BATCH, ascending=bool(request.sort) and not request.sort[0].descending)
    for node in request.where.nodes if isinstance(request.where, All) else (request.where,):
        query = _narrowed(query, node)
    return query


def _narrowed(query: AuditQuery, node: Node) -> AuditQuery:
    match node:
        case All(nodes):
            for inner in nodes:
                query = _narrowed(query, inner)
        case Test("date", _, Interval(box)):
            # Times are recorded in microseconds and shown in milliseconds.
            for bound in (box.lo_from, box.hi_above):
                if bound is not None:
                    query = replace(query, since=max(query.since or 0, bound - _MILLISECOND))
            for bound in (box.lo_below, box.hi_to):
                if bound is not None:
                    query = replace(query, before=min(query.before or 1 << 62, bound + _MILLISECOND))
        case Test("patient", _, Target(id_)):
            return replace(query, found_by=("patient", id_))
        case Test("entity", _, Target(id_, "Patient")):
            return replace(query, found_by=("patient", id_))  # under which all that names a patient is filed
        case Test("agent" | "entity" as kind, _, Target(id_, type_)) if type_:
            return replace(query, found_by=(kind, f"{type_}/{id_}"))
        case Test("agent", "token", Token(str(code))) if code != NOBODY:
            return replace(query, found_by=("agent", code))
        case Test("correlation", "token", Token(str(code))):
            return replace(query, found_by=("correlation", code))
    return query
