"""capabilities: the CapabilityStatement, made of the table and the definitions (FHIR R4 http.html#capabilities).

It claims what the table has rows for and the registry can search, nothing else. `mode=terminology` asks for the
TerminologyCapabilities: the code systems whose concepts are known.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.clock import instant
from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions import integrity
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.interaction import Interaction
from fhir_server.interactions.repository import Repository
from fhir_server.rest import us_core
from fhir_server.search import fulltext

# When this server's abilities last changed.
DATE = 1_795_305_600_000_000
_TYPE_LEVEL = frozenset(
    ("read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type")
)
OWN_ROWS = frozenset({"AuditEvent"})
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/xml-patch+xml",
    "application/fhir+json",
    "application/fhir+xml",
)
# Operation -> the type whose definition it has.
_DEFINED = {"meta": "Resource", "meta-add": "Resource", "meta-delete": "Resource", "validate": "Resource",
            "convert": "Resource"}  # fmt: skip
_MODES = ("full", "normative", "terminology")
_MOST_KEPT = 256
# Parameters without an expression, whose meaning is in the code.
_BY_CODE = frozenset({fulltext.TEXT, fulltext.CONTENT, "_filter"})
# Parameters that R4 describes and has no SearchParameter for.
_WITHOUT_DEFINITION = ("_contained", "_containedType")
_SYSTEM_LEVEL = ("history-system", "search-system", "transaction", "batch")


async def handle(call: Call, _: Repository) -> Answer:
    """The statement with an ETag; the same for every caller of a clinic, and made once."""
    mode = next((value for name, value in call.query if name == "mode"), "full")
    if mode not in _MODES:
        raise BadRequest(f"'mode' is {', '.join(_MODES)}.", expression="mode")
    made, name = call.clinic.server.statements, (call.clinic.name, call.clinic.custom, mode == "terminology")
    if name not in made:
        if len(made) >= _MOST_KEPT:
            made.clear()
        found = terminology(call) if mode == "terminology" else statement(call, call.clinic.server.table)
        text = json.serialise(found)
        made[name] = (text, f'W/"{hashlib.sha256(text).hexdigest()[:16]}"')
    body, tag = made[name]
    if tag in [part.strip() for part in call.headers.get("if-none-match", "").split(",")]:
        return Answer(304, headers={"etag": tag})
    return Answer(200, body, headers={"etag": tag, "cache-control": "max-age=300"})


def terminology(call: Call) -> dict[str, Any]:
    """The TerminologyCapabilities of a clinic: `:below` and `:above` know the concepts of these systems."""
    systems = call.clinic.server.definitions.code_systems()
    return {
        "resourceType": "TerminologyCapabilities",
        **_head(call),
        "codeSystem": [{"uri": uri, "subsumption": True} for uri in systems],
    }


def _head(call: Call) -> dict[str, Any]:
    return {
        "status": "active",
        "date": instant(DATE),
        "kind": "instance",
        "software": {"name": "fhir-server"},
        "implementation": {"description": f"FHIR base of the clinic '{call.clinic.name}'", "url": call.clinic.base_url},
    }


def statement(call: Call, table: Sequence[Interaction]) -> dict[str, Any]:
    """The CapabilityStatement of a clinic."""
    types = sorted(call.clinic.server.definitions.resource_types)
    referrers = _referrers(call)
    return {
        "resourceType": "CapabilityStatement",
        **_head(call),
        "instantiates": [us_core.SERVER],
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": list(PATCHES),
        "rest": [
            {
                "mode": "server",
                "security": call.clinic.server.security(call.clinic.name),
                "resource": [_resource(call, type_, table, referrers) for type_ in types],
                "interaction": [
                    {"code": name} for name in dict.fromkeys(row.name for row in table) if name in _SYSTEM_LEVEL
                ],
                "compartment": [
                    f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}"
                    for name in sorted(call.clinic.server.definitions.compartments)
                ],
                "operation": _operations(row for row in table if row.path.startswith("$")),
            }
        ],
    }


def _resource(
    call: Call, type_: str, table: Sequence[Interaction], referrers: Mapping[str, list[str]]
) -> dict[str, Any]:
    interactions = [row for row in table if row.name != "operation" and row.name[:1] != "$"]
    own = [row for row in interactions if row.path.split("/")[0] == type_]
    apart = type_ in OWN_ROWS
    rows = own if apart else [*own, *(row for row in interactions if row.path.startswith("{type}"))]
    operations = _operations(row for row in table if row.path.split("/")[0] in (type_, "" if apart else "{type}"))
    settings = call.clinic.server.settings
    parameters = call.clinic.registry.parameters(type_)
    searchable = [p for code, p in sorted(parameters.items()) if p.is_searchable or (code in _BY_CODE and not apart)]
    if not settings.content_search:
        searchable = [p for p in searchable if p.code != fulltext.CONTENT]
    references = [p.code for p in searchable if p.type == "reference" and "reference" in p.shapes]
    made: dict[str, Any] = {
        "type": type_,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        **us_core.claims(type_),
        "interaction": [{"code": name} for name in dict.fromkeys(row.name for row in rows) if name in _TYPE_LEVEL],
        "versioning": "versioned",
        "readHistory": not apart,
        "updateCreate": settings.update_as_create and not apart,
        "conditionalCreate": not apart,
        "conditionalRead": "not-supported" if apart else "full-support",
        "conditionalUpdate": not apart,
        "conditionalDelete": "not-supported" if apart else "multiple" if settings.conditional_deletes > 1 else "single",
    }
    policy = ["literal", "logical"] + (["enforced"] if settings.referential_integrity == integrity.STRICT else [])
    made["referencePolicy"] = policy
    if operations:
        made["operation"] = operations
    if references and not apart:
        made["searchInclude"] = [f"{type_}:{code}" for code in references]
    if type_ in referrers and not apart:
        made["searchRevInclude"] = referrers[type_]
    made["searchParam"] = [{"name": p.code, "definition": p.url, "type": p.type} for p in searchable]
    if not apart:
        made["searchParam"] += [{"name": name, "type": "token"} for name in _WITHOUT_DEFINITION]
    return made


def _referrers(call: Call) -> dict[str, list[str]]:
    """Type -> the `Type:parameter` that name this very type among their targets."""
    found: dict[str, list[str]] = {}
    for source in sorted(call.clinic.server.definitions.resource_types):
        for parameter in call.clinic.registry.parameters(source).values():
            if parameter.type == "reference" and "reference" in parameter.shapes:
                for target in parameter.targets:
                    found.setdefault(target, []).append(f"{source}:{parameter.code}")
    return found


def _operations(rows: Iterable[Interaction]) -> list[dict[str, Any]]:
    """The operations that have a definition; those of this server alone are told by its documents."""
    found: dict[str, str] = {}
    for row in rows:
        head, _, name = row.path.rpartition("$")
        owner = _DEFINED.get(name) or (head.partition("/")[0] if name == "everything" else "")
        if row.definition:
            found[name] = row.definition
        elif row.name == "operation" and owner:
            found[name] = f"http://hl7.org/fhir/OperationDefinition/{owner}-{name}"
    return [{"name": name, "definition": url} for name, url in found.items()]
