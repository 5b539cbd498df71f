"""$explain: how a search runs in the store (docs/operations/explain.md)."""

from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import Forbidden
from fhir_server.interactions import search_type
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan_text import line, tree
from fhir_server.store.protocol import Explained

_ROLES = frozenset({"administrator", "auditor"})


async def handle(call: Call, repository: Repository) -> Answer:
    """Parameters with the plan, the way, what its indexes count, and the statements. It shows no resource."""
    if call.access.agent.role not in _ROLES:
        raise Forbidden("Nothing grants this caller $explain: it is for administrators and auditors.")
    request = search_type.read(call, call.query)
    search_type.refuse_contained(request)
    query = search_type.query_of(call, request)
    found = await repository.unit.explain(query)
    sorts = [_text("sort", f"{sort.param}{', descending' if sort.descending else ''}") for sort in request.sort]
    parameters = [_text("plan", tree(request.where)), *sorts, *_described(found)]
    return Answer(200, json.serialise({"resourceType": "Parameters", "parameter": parameters}))


def _described(found: Explained) -> list[dict[str, Any]]:
    made = [_text("way", found.way)]
    if found.leader is not None:
        made.append(_text("leader", line(found.leader)))
    made += [
        {"name": "counted", "part": [_text("condition", line(node)), {"name": "entries", "valueInteger": counted}]}
        for node, counted in found.counts
    ]
    for each in found.statements:
        parts = [_text("text", each.text), *(_text("value", value) for value in each.values if value)]
        parts += [_text("how", how) for how in each.how]
        parts.append({"name": "rows", "valueInteger": each.rows})
        parts.append({"name": "touched", "valueInteger": each.touched})
        made.append({"name": "statement", "part": parts})
    return [*made, _text("touched-unit", found.touched_unit)]


def _text(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "valueString": text}
