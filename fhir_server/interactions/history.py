"""history: the versions of a resource, a type or the whole clinic, newest first (FHIR R4 http.html#history)."""

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest, Forbidden, NotFound
from fhir_server.interactions import bundle, paging
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.store.protocol import HistoryQuery


async def handle(call: Call, repository: Repository) -> Answer:
    """A Bundle of type history; deletions stand in it without a resource."""
    letter = "r" if call.id else "s"
    types = _types(call, repository, letter)
    pairs = [(name, value) for name, value in call.query if name != paging.PARAMETER]
    path = "/".join(part for part in (call.type, call.id, "_history") if part)
    query = _query(call, types, paging.place(call, path, pairs))
    if call.id and not (await repository.look(call.type, call.id, letter))[1]:
        raise NotFound("There is no such resource here.")
    page = await repository.history(query, letter=letter)
    if (
        call.id
        and not page.matches
        and query.after is None
        and query.since is None
        and query.at is None
        and query.count
    ):
        raise NotFound("There is no such resource here.")
    server = call.clinic.server
    entries = [
        bundle.version_entry(
            call.clinic.base_url, stored, None if stored.is_deleted else repository.shown(stored, letter)
        )
        for stored in page.matches
    ]
    links = [("self", bundle.link(call.clinic.base_url, path, pairs))]
    if page.next is not None:
        following = [*pairs, (paging.PARAMETER, paging.cursor(call, path, pairs, page.next))]
        links.append(("next", bundle.link(call.clinic.base_url, path, following)))
    body = bundle.bundle("history", server.ids.resource_id(), server.clock(), links, entries, page.total)
    return Answer(200, body, shown=page.matches)


def _types(call: Call, repository: Repository, letter: str) -> tuple[str, ...]:
    """The types to look at: the one of the URL, or all that the caller may."""
    if call.type:
        repository.granted(call.type, letter)
        return (call.type,)
    allowed = tuple(sorted(type_ for type_ in call.access.grants if call.access.of(type_, letter)))
    if not allowed:
        raise Forbidden("Nothing grants this caller the history of any type.")
    return allowed


def _query(call: Call, types: tuple[str, ...], after: tuple[object, ...] | None) -> HistoryQuery:
    settings = call.clinic.server.settings
    since, at, count = None, None, settings.page_size
    for name, value in call.query:
        match name:
            case "_since":
                since = _interval(call, name, value)[0]
            case "_at":
                at = _interval(call, name, value)
            case "_count":
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise BadRequest("'_count' is a whole number from 0.", expression="_count")
                count = min(int(value), settings.largest_page)
            case paging.PARAMETER | "_format" | "_pretty":
                pass
            case _:
                raise BadRequest(
                    f"history has no parameter '{name}'; it takes _since, _at and _count.", expression=name
                )
    return HistoryQuery(types, call.id or None, since, at, count, after)


def _interval(call: Call, name: str, value: str) -> tuple[Micros, Micros]:
    try:
        return interval(value, call.clinic.zone)
    except ValueError as error:
        raise BadRequest(f"'{name}' is an instant such as 2026-11-22T10:00:00Z.", expression=name) from error
