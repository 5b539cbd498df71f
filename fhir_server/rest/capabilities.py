"""capabilities: the CapabilityStatement, made of the table and the definitions (FHIR R4 http.html#capabilities).

It claims what the table has rows for and the registry can search, nothing else.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.clock import instant
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.interaction import Interaction
from fhir_server.interactions.repository import Repository

# When this server's abilities last changed.
DATE = 1_795_305_600_000_000
_SYSTEM_LEVEL = ("history-system", "search-system", "transaction", "batch")


async def handle(call: Call, _: Repository) -> Answer:
    """The statement with an ETag; the same for every caller of a clinic."""
    body = json.serialise(statement(call, call.clinic.server.table))
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    if tag in [part.strip() for part in call.headers.get("if-none-match", "").split(",")]:
        return Answer(304, headers={"etag": tag})
    return Answer(200, body, headers={"etag": tag, "cache-control": "max-age=300"})


def statement(call: Call, table: Sequence[Interaction]) -> dict[str, Any]:
    """The CapabilityStatement of a clinic."""
    types = sorted(call.clinic.server.definitions.resource_types)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(DATE),
        "kind": "instance",
        "software": {"name": "fhir-server"},
        "implementation": {"description": f"FHIR base of the clinic '{call.clinic.name}'", "url": call.clinic.base_url},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [
            {
                "mode": "server",
                "security": {"cors": True, "description": "OAuth 2.0 bearer tokens with SMART on FHIR scopes"},
                "resource": [_resource(call, type_, table) for type_ in types],
                "interaction": [{"code": row.name} for row in table if row.name in _SYSTEM_LEVEL],
            }
        ],
    }


def _resource(call: Call, type_: str, table: Sequence[Interaction]) -> dict[str, Any]:
    rows = [row for row in table if row.path.split("/")[0] == type_ and row.name != "operation"]
    own = any(row.name == "read" for row in rows)  # served by rows of its own alone
    if not own:
        rows += [row for row in table if row.path.startswith("{type}") and row.name != "operation"]
    parameters = call.clinic.server.registry.parameters(type_)
    searchable = [parameter for _, parameter in sorted(parameters.items()) if parameter.is_searchable]
    references = [p.code for p in searchable if p.type == "reference"]
    made: dict[str, Any] = {
        "type": type_,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "interaction": [{"code": name} for name in dict.fromkeys(row.name for row in rows)],
        "versioning": "versioned",
        "readHistory": not own,
        "updateCreate": call.clinic.server.settings.update_as_create and not own,
        "conditionalCreate": False,
        "conditionalRead": "not-supported" if own else "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
    }
    if references and not own:
        made["searchInclude"] = [f"{type_}:{code}" for code in references]
    made["searchParam"] = [{"name": p.code, "definition": p.url, "type": p.type} for p in searchable]
    return made
