"""Who looked at a patient: `Patient/{id}/$accounting-of-disclosures`, as a Bundle, and as a page of plain HTML.

It has every read, search, export and message of what is about the patient, in the log's order, newest first, for
`start` to `end` (six years where not given: 45 CFR 164.528). The patient's own acts are left out. `MOST` of them at a
time, with a link to those before. For callers who may search the audit log.
"""

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.audit import looks_page
from fhir_server.audit.event import Event, from_entry
from fhir_server.audit.log import TYPE, shown_by
from fhir_server.audit.render import audit_event
from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions import bundle
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import Interval, interval
from fhir_server.store.protocol import AuditQuery, Recorded

SIX_YEARS: Micros = 6 * 366 * 86_400_000_000
MOST = 5_000
_LOOKS = frozenset("RE")


async def accounting(call: Call, repository: Repository) -> Answer:
    """The events as a searchset."""
    found, is_all = await _found(call, repository)
    server, base_url = call.clinic.server, call.clinic.base_url
    entries = []
    for id_, event in found:
        body = json.serialise(audit_event(event, id_, base_url))
        head = f'{{"fullUrl":"{base_url}/{TYPE}/{id_}","resource":'.encode()
        entries.append(head + body + b',"search":{"mode":"match"}}')
    path = f"Patient/{call.id}/$accounting-of-disclosures"
    links, total = [("self", bundle.link(base_url, path, call.query))], len(entries) if is_all else None
    if not is_all:
        until = [*(pair for pair in call.query if pair[0] != "end"), ("end", instant(found[-1][1].recorded))]
        links.append(("next", bundle.link(base_url, path, until)))
    made = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, total)
    return Answer(200, made)


async def page(call: Call, repository: Repository) -> Answer:
    """The same as a page for people."""
    found, is_all = await _found(call, repository)
    shown = looks_page.render(call.id, [event for _, event in found], call.clinic.zone, is_all=is_all)
    return Answer(200, shown, headers=dict(looks_page.HEADERS))


async def _found(call: Call, repository: Repository) -> tuple[list[tuple[str, Event]], bool]:
    """The newest looks, `MOST` of them at most, and whether that is all of them."""
    repository.granted(TYPE, "s")
    now = call.clinic.server.clock()
    bounds = {name: _bound(name, value, call) for name, value in call.query if name in ("start", "end")}
    since = bounds["start"][0] if "start" in bounds else now - SIX_YEARS
    before = bounds["end"][1] if "end" in bounds else now + 1
    query = AuditQuery(since=since, before=before, found_by=("patient", call.id), count=MOST)
    allowed, looks = shown_by(call, repository), list[tuple[str, Event]]()
    while len(looks) <= MOST:
        recorded: Sequence[Recorded] = await repository.unit.audited(query)
        events = ((each.id, from_entry(each.recorded, each.body)) for each in recorded)
        looks += [(id_, event) for id_, event in events if _is_look(event, call.id) and allowed(id_, event)]
        if len(recorded) < MOST:
            break
        query = replace(query, after=(recorded[-1].recorded, recorded[-1].id))
    return looks[:MOST], len(looks) <= MOST


def _bound(name: str, value: str, call: Call) -> Interval:
    try:
        return interval(value, call.clinic.zone)
    except ValueError as error:
        raise BadRequest(f"'{name}' takes a date or time, as 2026-11-22.", expression=name) from error


def _is_look(event: Event, patient: str) -> bool:
    """Whether somebody other than the patient saw, or tried to see, what is about them."""
    return event.action in _LOOKS and patient in event.patients and event.user != f"Patient/{patient}"
