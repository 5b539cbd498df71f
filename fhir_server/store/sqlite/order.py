"""Order: sort values as SQL, what lies after a page's place, and walks along a sort parameter's index.

Ascending, a resource stands at its least entry, descending at its greatest; without an entry it stands last; equal
ones stand in the order of creation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.search.plan import Any_, Box, Interval, Node, Query, Sort, Test
from fhir_server.store.params import param_number, spans
from fhir_server.store.sqlite.compile import TRUE, Sql, interval_range, join

_COLUMN = {"token": "code", "string": "folded", "reference": "id", "uri": "value"}


@dataclass(frozen=True, slots=True)
class Descending:
    """A value that compares the other way round."""

    value: Any

    def __lt__(self, other: "Descending") -> bool:
        return bool(other.value < self.value)


def column(sort: Sort) -> str:
    """The column of the sort's table that orders."""
    return _COLUMN.get(sort.shape, "lo")


def value(type_: str, sort: Sort, at: str = "r.key") -> Sql:
    """The sort value of the resource whose key is `at`."""
    which = "max" if sort.descending else "min"
    return Sql(
        f"(SELECT {which}({column(sort)}) FROM {sort.shape} WHERE key = {at} AND param = ?{_any_unit(sort)})",
        (param_number(type_, sort.param),),
    )


def _any_unit(sort: Sort, table: str = "") -> str:
    """A quantity has entries for each way that its unit may be sought; its order is that of the number itself."""
    return f" AND {table}unit = ''" if sort.shape == "quantity" else ""


def ordered(query: Query, keys: Sql, where: Sql) -> Sql:
    """Of these keys those for which a condition on `r.key` holds, with their sort values, in the query's order."""
    inner = Sql("SELECT r.key AS key")
    for n, sort in enumerate(query.sort):
        inner += Sql(", ") + value(query.type, sort) + Sql(f" AS s{n}")
    inner += Sql(" FROM resource r WHERE r.key IN (") + keys + Sql(") AND ") + where
    return Sql("SELECT * FROM (") + inner + Sql(") WHERE ") + after(query) + Sql(by(query))


def by(query: Query) -> str:
    """The ORDER BY clause over the columns s0, s1, … and key."""
    directions = [f"s{n} {'DESC' if sort.descending else 'ASC'} NULLS LAST" for n, sort in enumerate(query.sort)]
    return f" ORDER BY {', '.join(directions)}, key"


def after(query: Query) -> Sql:
    """What lies after the last page's place: by the sort keys in turn, then by creation."""
    if query.after is None:
        return TRUE
    values, key = query.after[:-1], query.after[-1]
    steps: list[Sql] = []
    equal = Sql("")
    for n, (sort, last) in enumerate(zip(query.sort, values, strict=True)):
        if last is not None:
            steps.append(equal + Sql(f"(s{n} {'<' if sort.descending else '>'} ? OR s{n} IS NULL)", (last,)))
        equal += Sql(f"s{n} IS ? AND ", (last,))
    steps.append(equal + Sql("key > ?", (key,)))
    return Sql("(") + join([Sql("(") + step + Sql(")") for step in steps], " OR ") + Sql(")")


def has_entry(type_: str, sort: Sort, at: str) -> Sql:
    """Whether the resource whose key is `at` has an entry for the sort parameter."""
    return Sql(
        f"EXISTS (SELECT 1 FROM {sort.shape} e WHERE e.key = {at} AND e.param = ?{_any_unit(sort, 'e.')})",
        (param_number(type_, sort.param),),
    )


def alternatives(node: Node) -> Sequence[Node]:
    """The nodes one of which must hold for `node` to hold."""
    return node.nodes if isinstance(node, Any_) and node.nodes else (node,)


def sources(type_: str, sort: Sort, own: Node | None) -> Sequence[Sql]:
    """The parts of the sort's index, each in order, within what `own` asks."""
    param = param_number(type_, sort.param)
    if sort.shape not in ("date", "number", "quantity"):
        return [Sql(f"SELECT key, {column(sort)} AS s0 FROM {sort.shape} WHERE param = ?", (param,))]
    found = []
    for test in alternatives(own) if own is not None else (None,):
        sought = test.sought if isinstance(test, Test) and isinstance(test.sought, Interval) else Interval(Box())
        if sort.shape == "quantity":
            sought = Interval(sought.box, sought.unit or "")
        classes = spans(sort.shape, brief=sought.brief)
        found += [interval_range(sort.shape, param, sought, span, "key, lo AS s0") for span in classes]
    return found


def walk(query: Query, source: Sql, rest: Sql, *, is_single: bool, by_key: bool = True) -> Sql:
    """Keys and sort values of one part, in order, from the last page's place on, each resource at its first entry.

    `is_single`: a resource has one entry, and none nearer need be looked for. Not `by_key`: equals in any order.
    """
    sort = query.sort[0]
    nearer = ">" if sort.descending else "<"
    parts = [rest]
    if not is_single:
        first = Sql(
            f"NOT EXISTS (SELECT 1 FROM {sort.shape} e WHERE e.key = d.key AND e.param = ? "
            f"AND e.{column(sort)} {nearer} d.s0{_any_unit(sort, 'e.')})",
            (param_number(query.type, sort.param),),
        )
        parts.insert(0, first)
    if query.after is not None:
        last, key = query.after
        bound, beyond = ("<=", "<") if sort.descending else (">=", ">")
        parts.insert(0, Sql(f"s0 {bound} ? AND (s0 {beyond} ? OR key > ?)", (last, last, key)))
    direction = "DESC" if sort.descending else "ASC"
    return (
        Sql("SELECT key, s0 FROM (")
        + source
        + Sql(") AS d WHERE ")
        + join(parts, " AND ")
        + Sql(f" ORDER BY s0 {direction}" + (", key" if by_key else ""))
    )
