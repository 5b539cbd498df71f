"""How a search runs: which condition leads, in which order an index is walked, and the page that comes of it.

Four ways, chosen by counting (to a bound) what each condition's index holds:
- *sort walk*: the index of the sort parameter, in its order, within what the query asks of that parameter;
- *group walk*: the same along the first of several keys, its equals ordered by the others (`several`);
- *candidates*: what the most selective condition leads to, then ordered;
- *walk*: all resources of the type in the order of creation.
The other conditions are probed, one resource at a time, and the page's end ends the walk.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Literal

import apsw

from fhir_server.fhir.errors import Unprocessable
from fhir_server.search.plan import All, Interval, Node, Position, Query, Sort, Test
from fhir_server.store.protocol import Page, Stored
from fhir_server.store.sqlite import order, several
from fhir_server.store.sqlite.compile import TRUE, Sql, drive, probe
from fhir_server.store.sqlite.estimate import BROAD, Estimates
from fhir_server.store.sqlite.totals import Total, Totals

Row = tuple[Any, ...]  # creation key, then a value for each sort


@dataclass(slots=True)
class Route:
    """How one page is found: the way, what leads, what each condition counted, and the statements in turn.

    Statements of one step are merged in the order of the sort; steps follow one another.
    """

    way: Literal["sort walk", "group walk", "candidates", "walk"]
    leader: Node | None
    counts: dict[Node, int]
    steps: tuple[tuple[Sql, ...], ...]
    # More than the query's limit of a total were counted, so nobody counts again while the route is remembered.
    is_past_limit: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Found:
    """A page, the place after it where there is more, and how many match where finding the page told it."""

    matches: Sequence[Stored]
    following: Position | None
    counted: int | None


def run(connection: apsw.Connection, estimates: Estimates, query: Query, totals: Totals | None = None) -> Page:
    """One page of the query's matches, with the total where it is asked for. Raises Unprocessable.

    `totals` are what was counted on this connection, where it only reads.
    """
    try:
        return _page(connection, estimates, query, totals)
    except apsw.SQLError as error:
        if "too many" not in str(error) and "too large" not in str(error):
            raise
        raise Unprocessable("The search asks for too much at once; ask less.", code="too-costly") from error


def _page(connection: apsw.Connection, estimates: Estimates, query: Query, totals: Totals | None) -> Page:
    route = estimates.routes.get(query)
    if route is None:
        route = choose(connection, estimates, query)
        estimates.routes.put(query, route)

    def total() -> Total:
        if query.total is None or totals is None:
            return _total(connection, query, route)
        return totals.of(query, lambda: _total(connection, query, route))

    if query.count == 0:
        return Page((), None, *total())
    single = _single(query, route)
    found = _at_once(connection, query, single) if single is not None else None
    if found is None:
        found = _step_by_step(connection, query, route)
    if route.is_past_limit and found.following is not None:
        return Page(found.matches, found.following, query.total, total_is_exact=False)
    counted, exact = _of_first_page(query, found.counted) if found.counted is not None else total()
    route.is_past_limit = not exact
    return Page(found.matches, found.following, counted, exact)


def _single(query: Query, route: Route) -> Sql | None:
    """The one statement of a page, where nothing is gained by looking at more of its rows than the page's.

    Gathered candidates are counted on for a total, unless they are few.
    """
    if len(route.steps) != 1 or len(route.steps[0]) != 1:
        return None
    if route.way == "candidates" and query.total is not None and query.after is None and not route.is_past_limit:
        known = route.counts.get(route.leader) if route.leader is not None else None
        if known is None or known > query.count:
            return None
    return route.steps[0][0]


def _at_once(connection: apsw.Connection, query: Query, single: Sql) -> _Found | None:
    """The page of one statement, its resources fetched along with their keys; None when some came twice.

    Each step of a statement lets another thread in and waits for its turn again, so one statement is better than two.
    """
    # SQLite keeps the order of a CROSS JOIN's tables: the rows come as the walk finds them.
    rows: list[Any] = connection.execute(
        f"SELECT r.id, r.version, r.updated, r.body, r.key, r.patients, w.* FROM ({single.text} "
        f"LIMIT {query.count + 1}) AS w CROSS JOIN resource r ON r.key = w.key",
        single.args,
    ).fetchall()
    if len({row[4] for row in rows}) < len(rows):
        return None
    type_, following = query.type, None
    if len(rows) > query.count:
        rows.pop()
        key, *values = rows[-1][6:]
        following = (*values, key)
    matches = [
        Stored(type_, row[0], row[1], row[2], row[3], row[4], tuple(row[5].split()) if row[5] else ()) for row in rows
    ]
    return _Found(matches, following, len(rows) if following is None and query.after is None else None)


def _step_by_step(connection: apsw.Connection, query: Query, route: Route) -> _Found:
    """The page of several statements, or of one that is counted on for the total after the page is full."""
    rows = _rows(connection, query, route)
    found = list(islice(rows, query.count + 1))
    following, counted = None, len(found) if query.after is None else None
    if len(found) > query.count:
        key, *values = found[query.count - 1]
        following = (*values, key)
        if route.way != "candidates" or query.total is None or route.is_past_limit:
            counted = None
        elif counted is not None:
            most = max(0, query.total - counted + 1) if query.total >= 0 else None
            counted += sum(1 for _ in islice(rows, most))
    return _Found(_fetch(connection, query.type, [row[0] for row in found[: query.count]]), following, counted)


def _of_first_page(query: Query, counted: int) -> Total:
    """The total as far as it is asked for, where a first page came to it."""
    if query.total is None:
        return None, True
    exact = query.total < 0 or counted <= query.total
    return (counted if exact else query.total), exact


def choose(connection: apsw.Connection, estimates: Estimates, query: Query) -> Route:
    """The route for a query."""
    conditions = query.where.nodes if isinstance(query.where, All) else (query.where,)
    counts = estimates.counts(connection, query.type, conditions)
    leader = min(counts, key=lambda node: counts[node]) if counts else None
    least = counts[leader] if leader is not None else BROAD
    own = _bounds_of(query.sort[0], conditions) if query.sort else None
    # A walk of the sort's own range ends with the page; gathering pays for all that the leader leads to.
    if query.sort and (least >= BROAD or (own is not None and counts.get(own, BROAD) <= 2 * least)):
        if len(query.sort) == 1:
            return Route("sort walk", own, counts, _sort_walk(query, conditions, own, leader))
        one = replace(query, sort=query.sort[:1], after=None)
        return Route("group walk", own, counts, (*_sort_walk(one, conditions, own, leader, by_key=False), ()))
    if query.sort or least < BROAD:
        return Route("candidates", leader, counts, ((_candidates(query, conditions, leader),),))
    return Route("walk", leader, counts, ((_walk(query, conditions, leader),),))


def _rows(connection: apsw.Connection, query: Query, route: Route) -> Iterator[Row]:
    """The page's keys and sort values in order, each resource once; lazily, so that the page's end ends the work."""
    seen: set[int] = set()
    if route.way == "group walk":
        yield from several.Grouped(connection, partial(_walked, connection, route)).rows(query)
        return
    for statements in route.steps:
        for row in _merged([connection.execute(s.text, s.args) for s in statements], query):
            if row[0] not in seen:
                seen.add(row[0])
                yield row


def _walked(connection: apsw.Connection, route: Route, query: Query, also: Sql, *, by_key: bool) -> Iterator[Row]:
    """The keys and values in the order of one sort key, of what a condition lets through besides the query's own."""
    conditions = query.where.nodes if isinstance(query.where, All) else (query.where,)
    leader = min(route.counts, key=lambda node: route.counts[node]) if route.counts else None
    steps = _sort_walk(query, conditions, _bounds_of(query.sort[0], conditions), leader, also, by_key=by_key)
    return _rows(connection, query, Route("sort walk", None, {}, steps))


def _merged(cursors: list[Iterable[Row]], query: Query) -> Iterable[Row]:
    if len(cursors) == 1:
        return cursors[0]
    if query.sort[0].descending:
        return heapq.merge(*cursors, key=lambda row: (order.Descending(row[1]), row[0]))
    return heapq.merge(*cursors, key=lambda row: (row[1], row[0]))


def _bounds_of(sort: Sort, conditions: tuple[Node, ...]) -> Node | None:
    """The condition on the sort's own parameter that bounds a walk of its index: an interval, or one of several."""
    for condition in conditions:
        if all(_is_interval_of(sort, node) for node in order.alternatives(condition)):
            return condition
    return None


def _is_interval_of(sort: Sort, node: Node) -> bool:
    match node:
        case Test(param, shape, Interval(_, unit), True):
            # Quantities are sorted by the number itself, whatever it is in the unit that is asked for.
            return (param, shape) == (sort.param, sort.shape) and (shape != "quantity" or unit == "")
    return False


def _others(conditions: tuple[Node, ...], leader: Node | None) -> All:
    # A route that is remembered has the nodes of an earlier query: equal ones, not the same.
    return All(tuple(condition for condition in conditions if condition != leader))


def _every(type_: str) -> Sql:
    return Sql("SELECT key FROM resource WHERE type = ? AND body IS NOT NULL", (type_,))


def _walk(query: Query, conditions: tuple[Node, ...], leader: Node | None) -> Sql:
    """Keys in the order of creation, by the type's own index or by the leader's where that has the order too."""
    after = 0 if query.after is None else query.after[-1]
    source = _ordered_by_key(query.type, leader)
    if source is None:
        leader, source = None, _every(query.type)
    head = Sql("SELECT d.key FROM (") + source + Sql(") AS d WHERE d.key > ? AND ", (after,))
    return head + probe(query.type, _others(conditions, leader), "d.key") + Sql(" ORDER BY d.key")


def _ordered_by_key(type_: str, leader: Node | None) -> Sql | None:
    """The leader's keys where its index holds them in order: a token, reference or URI of one code, id or value."""
    if not isinstance(leader, Test) or leader.shape not in ("token", "reference", "uri") or leader.sought is None:
        return None
    if leader.shape == "token" and getattr(leader.sought, "code", None) is None:
        return None
    if leader.shape == "uri" and getattr(leader.sought, "match", "") != "exact":
        return None
    return drive(type_, leader)


def _candidates(query: Query, conditions: tuple[Node, ...], leader: Node | None) -> Sql:
    """Keys of what the leader leads to, with their sort values, in order."""
    driver = drive(query.type, leader) if leader is not None else None
    if driver is None:
        leader, driver = None, _every(query.type)
    if not query.sort:
        return _in_order_of_creation(query, driver, _others(conditions, leader))
    return order.ordered(query, driver, probe(query.type, _others(conditions, leader), "r.key"))


def _in_order_of_creation(query: Query, driver: Sql, others: All) -> Sql:
    """The leader's keys sorted first, so that no more of them are probed than the page needs."""
    after = query.after[-1] if query.after is not None else 0
    head = (
        Sql("WITH c (key) AS MATERIALIZED (SELECT key FROM (")
        + driver
        + Sql(") WHERE key > ? ORDER BY key) ", (after,))
    )
    return head + Sql("SELECT c.key FROM c WHERE ") + probe(query.type, others, "c.key")


def _sort_walk(
    query: Query,
    conditions: tuple[Node, ...],
    own: Node | None,
    leader: Node | None,
    also: Sql = TRUE,
    *,
    by_key: bool = True,
) -> tuple[tuple[Sql, ...], ...]:
    """Through the index of the one sort parameter; then through what has no entry there, in order of creation.

    What `own` bounds has one value a resource. `also` must hold of the key `d.key`.
    """
    sort, rest = query.sort[0], _others(conditions, own)
    with_entry = tuple(
        order.walk(
            query,
            source,
            probe(query.type, rest, "d.key") + Sql(" AND ") + also,
            is_single=own is not None,
            by_key=by_key,
        )
        for source in order.sources(query.type, sort, own)
    )
    if own is not None:
        return (with_entry,)
    after = query.after[-1] if query.after is not None and query.after[0] is None else 0
    source = _ordered_by_key(query.type, leader)
    if source is None:
        leader, source = None, _every(query.type)
    missing = Sql("SELECT d.key, NULL FROM (") + source + Sql(") AS d WHERE d.key > ? AND NOT ", (after,))
    missing += order.has_entry(query.type, sort, "d.key") + Sql(" AND ")
    missing += probe(query.type, _others(conditions, leader), "d.key") + Sql(" AND ") + also + Sql(" ORDER BY d.key")
    return ((missing,),) if after else (with_entry, (missing,))


def _total(connection: apsw.Connection, query: Query, route: Route) -> Total:
    """How many match, counted to the query's limit, and whether that is all of them."""
    if query.total is None:
        return None, True
    conditions = query.where.nodes if isinstance(query.where, All) else (query.where,)
    leader = min(route.counts, key=lambda node: route.counts[node]) if route.counts else None
    driver = drive(query.type, leader) if leader is not None else None
    if driver is None:
        leader, driver = None, _every(query.type)
    limit = query.total + 1 if query.total >= 0 else -1
    # Where a resource has one entry at most, none is led to twice.
    once = "" if isinstance(leader, Test) and leader.single and leader.sought is not None else "DISTINCT "
    sql = Sql(f"SELECT count(*) FROM (SELECT {once}d.key FROM (") + driver + Sql(") AS d WHERE ")
    sql += probe(query.type, _others(conditions, leader), "d.key") + Sql(" LIMIT ?)", (limit,))
    counted: int = connection.execute(sql.text, sql.args).fetchone()[0]  # type: ignore[index]
    exact = query.total < 0 or counted <= query.total
    return (counted if exact else query.total), exact


def _fetch(connection: apsw.Connection, type_: str, keys: Sequence[int]) -> Sequence[Stored]:
    """The resources of a page, in its order."""
    found = {
        key: Stored(type_, id_, version, updated, body, key, tuple(patients.split()))
        for key, id_, version, updated, body, patients in connection.execute(
            "SELECT key, id, version, updated, body, patients FROM resource "
            f"WHERE key IN ({', '.join('?' * len(keys))})",
            keys,
        )
    }
    return [found[key] for key in keys]
