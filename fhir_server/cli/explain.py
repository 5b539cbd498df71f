"""`explain`: how a search would run."""

import argparse
from dataclasses import fields, is_dataclass
from typing import Any

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query, written


async def run(arguments: argparse.Namespace) -> int:
    """Print the plan, and how the store runs it."""
    type_, _, query = arguments.search.partition("?")
    async with opened(arguments, "explain") as shell:
        clinic = await shell.parts.clinics.get(arguments.tenant)
        server = clinic.server
        if type_ not in server.definitions.resource_types:
            raise Refusal(f"'{type_}' is no resource type of FHIR R4.")
        request = clinic.parser.parse(type_, pairs(query) if query else [], server.clock())
        count = request.count if request.count is not None else server.settings.page_size
        asked = Query(type_, request.where, request.sort, count)
        route = await shell.store.explain(arguments.tenant, asked)
    print("Plan")
    print(_tree(request.where, 1))
    for sort in request.sort:
        print(f"  sort by {sort.param}{', descending' if sort.descending else ''}")
    for line in route.lines():
        print(line)
    return 0


def _tree(node: Any, depth: int) -> str:
    children = getattr(node, "nodes", None)
    if children is None and is_dataclass(getattr(node, "node", None)):
        children = (node.node,)
    name = type(node).__name__.rstrip("_")
    if children is None:
        return "  " * depth + written(node)
    own = [f"{f.name}={getattr(node, f.name)}" for f in fields(node) if f.name not in ("node", "nodes")]
    head = "  " * depth + " ".join((name, *own)) + ("" if children else " (always)" if name == "All" else " (never)")
    return "\n".join((head, *(_tree(child, depth + 1) for child in children)))
