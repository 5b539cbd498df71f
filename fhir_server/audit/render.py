"""A stored event as an AuditEvent in the patterns of IHE BALP 1.1 (content profiles for RESTful operations)."""

import base64
from typing import Any

from fhir_server.audit import codes
from fhir_server.audit.event import Event
from fhir_server.fhir.clock import instant
from fhir_server.fhir.own import CODES

# How a client that is not known is shown; nothing is filed under it.
NOBODY = "anonymous"
_DCM = codes.DCM
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_PROVENANCE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP = "https://profiles.ihe.net/ITI/BALP"

_PATTERN = {
    "create": "Create", "read": "Read", "vread": "Read", "update": "Update", "patch": "Update", "delete": "Delete",
    "search-type": "Query", "patient-search": "Query", "search-system": "Query", "search-compartment": "Query",
}  # fmt: skip
# Pattern -> the types of the client's and of the server's agent, and the user's participation.
_AGENTS = {
    "Read": ((_DCM, "110152"), (_DCM, "110153"), "IRCP"),
    "Query": ((_DCM, "110153"), (_DCM, "110152"), "IRCP"),
    "Delete": ((_DCM, "110150"), (_PROVENANCE, "custodian"), "AUT"),
    "IUA": ((_DCM, "110150"), (f"{_BALP}/CodeSystem/UserAgentTypes", "AuthzOauthService"), "IRCP"),
}
_WRITE_AGENTS = ((_DCM, "110153"), (_DCM, "110152"), "AUT")
_IUA = frozenset({"token", "refresh"})


def audit_event(event: Event, id_: str, base_url: str) -> dict[str, Any]:
    """The AuditEvent resource."""
    pattern = _PATTERN.get(event.subtype, "")
    resource: dict[str, Any] = {"resourceType": "AuditEvent", "id": id_, "meta": _meta(event, pattern)}
    kind = codes.kind_of(event.subtype)
    resource["type"], resource["subtype"] = _coding(kind.type), [_coding(kind.subtype)]
    if event.transaction:
        resource["subtype"].append({"system": "urn:ihe:event-type-code", "code": event.transaction})
    resource |= {"action": event.action, "recorded": instant(event.recorded), "outcome": event.outcome}
    if event.description:
        resource["outcomeDesc"] = event.description
    purpose = event.purpose or codes.PURPOSES.get(event.role, "")
    if purpose:
        resource["purposeOfEvent"] = [_concept((_REASON, purpose))]
    resource["agent"] = _agents(event, pattern, base_url)
    resource["source"] = {
        "observer": {"display": base_url},
        "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
    }
    entities = _entities(event)
    if entities:
        resource["entity"] = entities
    return resource


def _meta(event: Event, pattern: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"versionId": "1", "lastUpdated": instant(event.recorded)}
    if pattern and event.outcome == "0":
        # The Patient patterns ask for exactly one patient.
        of = "Patient" if len(event.patients) == 1 else ""
        meta["profile"] = [f"{_BALP}/StructureDefinition/IHE.BasicAudit.{of}{pattern}"]
    return meta


def _agents(event: Event, pattern: str, base_url: str) -> list[dict[str, Any]]:
    name = "IUA" if event.subtype in _IUA else pattern
    client_type, server_type, participation = _AGENTS.get(name, _WRITE_AGENTS)
    client: dict[str, Any] = {
        "type": _concept(client_type),
        "who": {"identifier": {"value": event.client or NOBODY}},
        "requestor": not event.user,
        "network": {"address": event.address or "local", "type": "2" if event.address else "1"},
    }
    server = {
        "type": _concept(server_type),
        "who": {"display": base_url},
        "requestor": False,
        "network": {"address": base_url, "type": "5"},
    }
    policies = [f"urn:ietf:params:oauth:jti:{event.token_id}"] if event.token_id else []
    policies += [f"urn:fhir-server:rule:{event.rule.replace(' ', '-')}"] if event.rule else []
    if not event.user:
        if event.user_name:  # who ran a command, for whom no resource stands
            client["name"] = event.user_name
        return [client | ({"policy": policies} if policies else {}) | _role(event), server, *_authors(event)]
    user: dict[str, Any] = {"type": _concept((_PARTICIPATION, participation)), "who": {"reference": event.user}}
    if event.user_name:
        user["name"] = event.user_name
    user["requestor"] = True
    return [client, server, user | ({"policy": policies} if policies else {}) | _role(event), *_authors(event)]


def _authors(event: Event) -> list[dict[str, Any]]:
    """Who set the rule that decided, where a rule did (R-10.2)."""
    return [
        {
            "type": _concept((_PROVENANCE, "author")),
            "who": {"reference": author} if "/" in author else {"identifier": {"value": author}},
            "name": "set the rule",
            "requestor": False,
        }
        for author in event.rule_author.split()
    ]


def _role(event: Event) -> dict[str, Any]:
    return {"role": [{"coding": [{"system": f"{CODES}role", "code": event.role}]}]} if event.role else {}


def _concept(coding: tuple[str, str]) -> dict[str, Any]:
    return {"coding": [_coding(coding)]}


def _coding(coding: tuple[str, str]) -> dict[str, Any]:
    return {"system": coding[0], "code": coding[1]}


def _entities(event: Event) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if event.entity:
        data: dict[str, Any] = {"what": {"reference": event.entity}, **_kind("2", "4")}
        details = (("version-before", str(event.before or "")), ("sha-256", event.digest))
        if any(value for _, value in details):
            data["detail"] = [{"type": type_, "valueString": value} for type_, value in details if value]
        entities.append(data)
    if event.query:
        query = {**_kind("2", "24"), "query": base64.b64encode(event.query.encode()).decode()}
        entities.append(query | {"description": event.query})
    entities += [{"what": {"reference": f"Patient/{patient}"}, **_kind("1", "1")} for patient in event.patients]
    # A master file: the rule.
    entities += [{"what": {"reference": version}, **_kind("2", "5")} for version in event.rule_versions()]
    ties = dict.fromkeys((event.correlation, event.booking))
    for value, code in ((event.request_id, "XrequestId"), *((tie, "correlation") for tie in ties)):
        if value:
            system = f"{_BALP}/CodeSystem/BasicAuditEntityType" if code == "XrequestId" else f"{CODES}audit-entity"
            entities.append({"what": {"identifier": {"value": value}}, "type": {"system": system, "code": code}})
    return entities


def _kind(type_: str, role: str) -> dict[str, Any]:
    return {"type": {"system": _ENTITY, "code": type_}, "role": {"system": _ROLE, "code": role}}
