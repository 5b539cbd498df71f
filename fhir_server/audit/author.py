"""Who made a version of a resource, by the log: for events that a rule decided, who set the rule (R-10.2)."""

from fhir_server.audit.event import from_entry
from fhir_server.store.protocol import AuditQuery, Unit

_MOST = 500


async def author_of(unit: Unit, versions: str) -> str:
    """The user, else the client, who stored versioned references (separated by spaces); '' where the log has none."""
    found = dict.fromkeys([await _author(unit, version) for version in versions.split()])
    return " ".join(author for author in found if author)


async def _author(unit: Unit, version: str) -> str:
    entity = version.partition("/_history/")[0]
    for recorded in await unit.audited(AuditQuery(found_by=("entity", entity), count=_MOST)):
        event = from_entry(recorded.recorded, recorded.body)
        if event.entity == version and event.action in ("C", "U") and event.outcome == "0":
            return event.user or event.client
    return ""
