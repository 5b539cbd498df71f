"""`explain`: how a search would run."""

import argparse

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import opened
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query
from fhir_server.search.plan_text import line, tree
from fhir_server.store.protocol import Explained, Unit


async def run(arguments: argparse.Namespace) -> int:
    """Print plan, route, counts, and the store's statements with what each looked at."""
    type_, _, query = arguments.search.partition("?")
    async with opened(arguments, "explain") as shell:
        clinic = await shell.parts.clinics.get(arguments.tenant)
        server = clinic.server
        if type_ not in server.definitions.resource_types:
            raise Refusal(f"'{type_}' is no resource type of FHIR R4.")
        request = clinic.parser.parse(type_, pairs(query) if query else [], server.clock())
        count = request.count if request.count is not None else server.settings.page_size
        asked = Query(type_, request.where, request.sort, count)

        async def explain(unit: Unit) -> Explained:
            return await unit.explain(asked)

        found = await shell.parts.store.run(arguments.tenant, explain, write=False)
    print("Plan")
    print(tree(request.where, 1))
    for sort in request.sort:
        print(f"  sort by {sort.param}{', descending' if sort.descending else ''}")
    print(f"Route: {found.way}" + (f", led by {line(found.leader)}" if found.leader is not None else ""))
    if found.counts:
        print("Counted in the indexes (up to a bound)")
        for node, counted in found.counts:
            print(f"  {counted:>8}  {line(node)}")
    for number, each in enumerate(found.statements, 1):
        print(f"Statement {number}: {each.rows} rows, {each.touched} {found.touched_unit}\n  {each.text}")
        if each.values:
            print(f"  with {list(each.values)}")
        for how in each.how:
            print(f"    {how}")
    return 0
