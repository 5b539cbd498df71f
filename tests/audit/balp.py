"""The rules of IHE BALP 1.1 for AuditEvents, as code: what is wrong with one."""

from collections.abc import Iterator, Mapping
from typing import Any

DCM = "http://dicom.nema.org/resources/ontology/DCM"
REST = "http://hl7.org/fhir/restful-interaction"
_PATTERNS: Mapping[str, tuple[str, str, str, str, str]] = {
    # subtype: pattern, action, client's type, server's type, user's participations
    "create": ("Create", "C", "110153", "110152", "AUT INF CST"),
    "read": ("Read", "R", "110152", "110153", "IRCP"),
    "vread": ("Read", "R", "110152", "110153", "IRCP"),
    "update": ("Update", "U", "110153", "110152", "AUT INF CST"),
    "patch": ("Update", "U", "110153", "110152", "AUT INF CST"),
    "delete": ("Delete", "D", "110150", "custodian", "AUT INF CST"),
    "search": ("Query", "E", "110153", "110152", "IRCP"),
    "search-type": ("Query", "E", "110153", "110152", "IRCP"),
    "search-system": ("Query", "E", "110153", "110152", "IRCP"),
}
Resource = dict[str, Any]


def faults(event: Resource) -> list[str]:
    """Every rule that an event breaks, by its layout, and by the pattern that it claims."""
    return [*_layout(event), *_claimed(event), *_secrets(event)]


def _code(agent: Resource) -> str:
    return str(agent["type"]["coding"][0]["code"])


def _entities(event: Resource, code: str) -> list[Resource]:
    return [e for e in event.get("entity", ()) if e.get("role", {}).get("code") == code]


def _layout(event: Resource) -> Iterator[str]:
    for name in ("type", "subtype", "action", "recorded", "outcome", "agent", "source"):
        if name not in event:
            yield f"no {name}"
    if event["outcome"] not in ("0", "4", "8", "12"):
        yield "outcome is none of R4's"
    if event["outcome"] != "0" and not event.get("outcomeDesc"):
        yield "a failure without outcomeDesc"
    if len(event["agent"]) < 2:
        yield "fewer than two agents"
    if sum(agent["requestor"] for agent in event["agent"]) != 1:
        yield "not one initiator"
    if "observer" not in event["source"] or event["source"]["type"][0]["code"] != "4":
        yield "source is no application server"
    for entity in event.get("entity", ()):
        if "what" in entity and "query" in entity:
            yield "an entity with what and query"  # sev-1 of R4


def _claimed(event: Resource) -> Iterator[str]:
    profiles = event["meta"].get("profile", [])
    subtype = event["subtype"][0]["code"]
    pattern = _PATTERNS.get(subtype) if event["subtype"][0]["system"] == REST else None
    if pattern is None or event["outcome"] != "0":
        if profiles:
            yield "claims a pattern that is not its own"
        return
    name, action, client_type, server_type, participations = pattern
    patients = _entities(event, "1")
    of = "Patient" if len(patients) == 1 else ""
    expected = f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{of}{name}"
    if profiles != [expected]:
        yield f"claims {profiles}, not {expected}"
    if event["action"] != action or event["type"]["code"] != "rest":
        yield "type or action is not the pattern's"
    clients = [a for a in event["agent"] if _code(a) == client_type]
    servers = [a for a in event["agent"] if _code(a) == server_type]
    users = [a for a in event["agent"] if _code(a) in participations.split()]
    if len(clients) != 1 or len(servers) != 1 or len(users) > 1:
        yield "not one client, one server and at most one user"
        return
    for agent in (*clients, *servers):
        if "who" not in agent or "address" not in agent.get("network", {}) or "media" in agent:
            yield "client or server without who or network"
        if agent["network"]["type"] not in ("1", "2", "5"):
            yield "network type is none of BALP's"
    for user in users:
        if not user["requestor"] or "network" in user or "who" not in user:
            yield "the user is no requestor, or has a network"
    yield from _pattern_entities(event, name, patients)


def _pattern_entities(event: Resource, name: str, patients: list[Resource]) -> Iterator[str]:
    data, queries = _entities(event, "4"), _entities(event, "24")
    if name == "Query":
        if len(queries) != 1 or not queries[0].get("query") or {"what", "lifecycle", "detail"} & queries[0].keys():
            yield "not one query entity as BALP has it"
        if data:
            yield "a Query with a data entity"
    elif len(data) != 1 or "what" not in data[0] or data[0]["type"]["code"] != "2":
        yield "not one data entity"
    for patient in patients:
        if not patient["what"]["reference"].startswith("Patient/") or patient["type"]["code"] != "1":
            yield "a patient entity that is no patient"


def _secrets(event: Resource) -> Iterator[str]:
    text = str(event)
    if "eyJ" in text or "Bearer" in text:
        yield "it carries a token"
