"""How a search runs: its route, SQLite's own plan of each statement, and how much a page of it looked at."""

from itertools import islice
from typing import Any

import apsw

from fhir_server.search.plan import Query
from fhir_server.store.protocol import Explained, Statement
from fhir_server.store.sqlite import search
from fhir_server.store.sqlite.compile import Sql
from fhir_server.store.sqlite.estimate import Estimates


def explain(connection: apsw.Connection, estimates: Estimates, query: Query) -> Explained:
    """The route of one page, tried out; a step that the page does not come to touches nothing."""
    route = search.choose(connection, estimates, query)
    statements: list[Statement] = []
    wanted = query.count + 1
    for step in route.steps:
        tried = [_tried(connection, sql, wanted) for sql in step]
        statements += tried
        wanted = max(0, wanted - sum(each.rows for each in tried))
    counts = tuple(route.counts.items())
    return Explained(route.way, route.leader, counts, tuple(statements), "steps of SQLite's virtual machine")


def _tried(connection: apsw.Connection, sql: Sql, most: int) -> Statement:
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql.text}", sql.args)
    how = tuple(str(row[3]) for row in plan)
    if not most:
        return Statement(sql.text, tuple(map(str, sql.args)), how, 0, 0)
    steps: list[int] = []

    def profile(event: dict[str, Any]) -> None:
        steps.append(event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, profile, id="explain")
    try:
        cursor = connection.cursor()
        rows = sum(1 for _ in islice(cursor.execute(sql.text, sql.args), most))
        cursor.close()
    finally:
        connection.trace_v2(0, None, id="explain")
    return Statement(sql.text, tuple(map(str, sql.args)), how, rows, sum(steps))
