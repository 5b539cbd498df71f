"""$everything: a compartment with what it refers to (FHIR R4 patient-operation-everything.html).

`_type`, `_since`, `_count`, and for patients `start` and `end`; paged like a search, and by the caller's grants alike.
"""

from dataclasses import replace
from typing import Any

from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions import paging, search_many
from fhir_server.interactions.call import Answer, Call, Pairs
from fhir_server.interactions.repository import Repository
from fhir_server.search.criteria import Criteria
from fhir_server.search.plan import Node, Not, Test, Token, all_of, any_of
from fhir_server.search.sought import Reading

_TAKEN = frozenset({"_type", "_since", "_count", "start", "end", "_format", "_pretty", paging.PARAMETER})


async def handle(call: Call, repository: Repository) -> Answer:
    """A searchset of the resource itself, its compartment, and what those refer to."""
    if isinstance(call.body, dict) and call.body.get("resourceType") == "Parameters":
        call = replace(call, query=[*call.query, *_posted(call.body)])
    await repository.read(call.type, call.id)
    for name, _ in call.query:
        if name not in _TAKEN:
            raise BadRequest(f"$everything takes {', '.join(sorted(_TAKEN - {paging.PARAMETER}))}.", expression=name)
    within: dict[str, Node] = {call.type: Test("_id", "token", Token(call.id, None), single=True)}
    wanted = [type_ for name, value in call.query if name == "_type" for type_ in value.split(",")]
    for type_, codes in call.clinic.server.definitions.compartments[call.type].items():
        if codes and type_ != "AuditEvent" and type_ != call.type and repository.access.of(type_, "s"):
            within[type_] = all_of(search_many.inside(call, codes), *_dated(call, type_))
    if wanted:
        within = {type_: node for type_, node in within.items() if type_ in wanted}
    path = f"{call.type}/{call.id}/$everything"
    return await search_many.answer(call, repository, path, within, _criteria(call.query, not wanted))


def _posted(body: dict[str, Any]) -> Pairs:
    """The parameters of a Parameters resource as a query has them, so that page links can repeat them."""
    return [
        (str(each.get("name")), str(value))
        for each in body.get("parameter", ())
        for value in [held for name, held in each.items() if name.startswith("value")] or [""]
    ]


def _criteria(query: Pairs, references: bool) -> Pairs:
    """The search that stands for the operation's parameters."""
    made = [("_lastUpdated", f"ge{value}") for name, value in query if name == "_since"]
    made += [(name, value) for name, value in query if name == "_count"]
    return [*made, ("_include", "*")] if references else made


def _dated(call: Call, type_: str) -> list[Node]:
    """The conditions on the care date, for types that have one; what has no date is always there."""
    registry, server = call.clinic.registry, call.clinic.server
    parameter = registry.parameter(type_, "date")
    if parameter is None or parameter.type != "date":
        return []
    criteria = Criteria(registry, Reading(server.clock(), server.definitions.resource_types, call.clinic.zone))
    found = []
    for name, prefix in (("start", "ge"), ("end", "le")):
        for value in [value for key, value in call.query if key == name]:
            node = criteria.node(type_, "date", f"{prefix}{value}")
            if node is not None:
                found.append(any_of(node, Not(Test("date", "date", None))))
    return found
