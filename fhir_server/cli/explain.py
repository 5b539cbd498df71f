"""`explain`: how a search would run."""

import argparse

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query
from fhir_server.search.plan_text import line, tree


async def run(arguments: argparse.Namespace) -> int:
    """Print plan, route, counts and SQL."""
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
    print(tree(request.where, 1))
    for sort in request.sort:
        print(f"  sort by {sort.param}{', descending' if sort.descending else ''}")
    print(f"Route: {route.way}" + (f", led by {line(route.leader)}" if route.leader is not None else ""))
    if route.counts:
        print("Counted in the indexes (up to a bound)")
        for node, counted in route.counts.items():
            print(f"  {counted:>8}  {line(node)}")
    for number, step in enumerate(route.steps, 1):
        for sql in step:
            print(f"SQL, step {number}\n  {sql.text}\n  with {list(sql.args)}")
    return 0
