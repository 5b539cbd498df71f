"""Who looked at a patient: `Patient/{id}/$accounting-of-disclosures`, as a Bundle, and as a page of plain HTML.

It has every read, search, export and message of what is about the patient, in the log's order, newest first, for
`start` to `end` (six years where not given: 45 CFR 164.528). The patient's own acts are left out. For callers who may
search the audit log.
"""

from collections.abc import Sequence

from fhir_server.audit import looks_page
from fhir_server.audit.event import Event, from_entry
from fhir_server.audit.log import TYPE, shown_by
from fhir_server.audit.render import audit_event
from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros
from fhir_server.interactions import bundle
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.store.protocol import AuditQuery, Recorded

SIX_YEARS: Micros = 6 * 366 * 86_400_000_000
MOST = 5_000
_LOOKS = frozenset("RE")


async def accounting(call: Call, repository: Repository) -> Answer:
    """The events as a searchset."""
    found = await _found(call, repository)
    server, base_url = call.clinic.server, call.clinic.base_url
    entries = []
    for id_, event in found:
        body = json.serialise(audit_event(event, id_, base_url))
        head = f'{{"fullUrl":"{base_url}/{TYPE}/{id_}","resource":'.encode()
        entries.append(head + body + b',"search":{"mode":"match"}}')
    links = [("self", bundle.link(base_url, f"Patient/{call.id}/$accounting-of-disclosures", call.query))]
    made = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), links, entries, len(entries))
    return Answer(200, made)


async def page(call: Call, repository: Repository) -> Answer:
    """The same as a page for people."""
    events = [event for _, event in await _found(call, repository)]
    return Answer(200, looks_page.render(call.id, events, call.clinic.zone), headers=dict(looks_page.HEADERS))


async def _found(call: Call, repository: Repository) -> list[tuple[str, Event]]:
    repository.granted(TYPE, "s")
    now = call.clinic.server.clock()
    bounds = {name: interval(value, call.clinic.zone) for name, value in call.query if name in ("start", "end")}
    since = bounds["start"][0] if "start" in bounds else now - SIX_YEARS
    before = bounds["end"][1] if "end" in bounds else now + 1
    query = AuditQuery(since=since, before=before, found_by=("patient", call.id), count=MOST)
    recorded: Sequence[Recorded] = await repository.unit.audited(query)
    events = [(each.id, from_entry(each.recorded, each.body)) for each in recorded]
    allowed = shown_by(call, repository)
    return [(id_, event) for id_, event in events if _is_look(event, call.id) and allowed(id_, event)]


def _is_look(event: Event, patient: str) -> bool:
    """Whether somebody other than the patient saw, or tried to see, what is about them."""
    return event.action in _LOOKS and patient in event.patients and event.user != f"Patient/{patient}"
