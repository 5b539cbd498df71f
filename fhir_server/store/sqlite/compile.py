"""From plan nodes to SQL, in the two forms that a search needs.

`drive(node)` is a SELECT of the creation keys for which the node holds, by an index; `probe(node, at)` a condition on
one resource at hand, by the index on its key. A search drives from one node and probes the others: `search` decides.
"""

from dataclasses import dataclass
from typing import Any

from fhir_server.search.plan import (
    All,
    Any_,
    Box,
    Chain,
    Has,
    Interval,
    Node,
    Not,
    Sought,
    Target,
    Test,
    Text,
    Token,
    Uri,
)
from fhir_server.store.params import SPANS, param_number, spans, uris_above


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text and the values of its question marks."""

    text: str
    args: tuple[Any, ...] = ()

    def __add__(self, other: "Sql") -> "Sql":
        return Sql(self.text + other.text, self.args + other.args)


# SQLite nests an OR of many, and refuses a UNION of more than 500: long lists are joined group by group.
_GROUP = 100


def join(parts: list[Sql], separator: str) -> Sql:
    """The parts with the separator between them."""
    return Sql(separator.join(part.text for part in parts), tuple(arg for part in parts for arg in part.args))


FALSE = Sql("0")
TRUE = Sql("1")


def probe(type_: str, node: Node, at: str, depth: int = 0) -> Sql:
    """The condition that `node` holds for the resource whose creation key is the expression `at`."""
    match node:
        case All(nodes):
            return _logic([probe(type_, n, at, depth) for n in nodes], " AND ", TRUE)
        case Any_(nodes):
            return _logic([probe(type_, n, at, depth) for n in nodes], " OR ", FALSE)
        case Not(inner):
            return Sql("NOT ") + probe(type_, inner, at, depth)
        case Test():
            return _probe_test(type_, node, at)
        case Chain(param, target, inner):
            r, t = f"r{depth}", f"t{depth}"  # the reference's entry, and its target
            head = Sql(
                f"EXISTS (SELECT 1 FROM reference {r} JOIN resource {t} ON {t}.type = {r}.type AND {t}.id = {r}.id "
                f"AND {t}.body IS NOT NULL WHERE {r}.key = {at} AND {r}.param = ? AND {r}.type = ? AND ",
                (param_number(type_, param), target),
            )
            return head + probe(target, inner, f"{t}.key", depth + 1) + Sql(")")
        case Has(source, param, inner):
            r = f"r{depth}"
            head = Sql(
                f"EXISTS (SELECT 1 FROM reference {r} WHERE {r}.param = ? AND {r}.type = ? "
                f"AND {r}.id = (SELECT id FROM resource WHERE key = {at}) AND ",
                (param_number(source, param), type_),
            )
            return head + probe(source, inner, f"{r}.key", depth + 1) + Sql(")")


def drive(type_: str, node: Node) -> Sql | None:
    """A SELECT of the keys (perhaps some twice) for which `node` holds; None when no index leads to them."""
    match node:
        case Test():
            return _drive_test(type_, node)
        case Any_(nodes):
            drives = [drive(type_, n) for n in nodes]
            if not drives:
                return Sql("SELECT key FROM resource WHERE 0")
            found = [d for d in drives if d is not None]
            return _union(found) if len(found) == len(drives) else None
        case All(nodes):
            return _drive_all(type_, nodes)
        case Chain(param, target, inner):
            targets = drive(target, inner)
            if targets is None:
                return None
            return (
                Sql(
                    "SELECT key FROM reference WHERE param = ? AND type = ? "
                    "AND id IN (SELECT id FROM resource WHERE key IN (",
                    (param_number(type_, param), target),
                )
                + targets
                + Sql("))")
            )
        case Has(source, param, inner):
            sources = drive(source, inner)
            if sources is None:
                return None
            # The unary plus keeps SQLite from going through all of the type in the order of `key`, which is asked for.
            return (
                Sql(
                    "SELECT key FROM resource WHERE type = ? AND +body IS NOT NULL "
                    "AND id IN (SELECT id FROM reference WHERE key IN (",
                    (type_,),
                )
                + sources
                + Sql(") AND param = ? AND type = ?)", (param_number(source, param), type_))
            )
        case Not():
            return None


def _drive_all(type_: str, nodes: tuple[Node, ...]) -> Sql | None:
    for n, node in enumerate(nodes):
        driver = drive(type_, node)
        if driver is not None:
            rest = nodes[:n] + nodes[n + 1 :]
            return Sql("SELECT key FROM (") + driver + Sql(") AS d WHERE ") + probe(type_, All(rest), "d.key")
    return None


def _logic(parts: list[Sql], operator: str, empty: Sql) -> Sql:
    if not parts:
        return empty
    while len(parts) > _GROUP:
        parts = [_logic(parts[n : n + _GROUP], operator, empty) for n in range(0, len(parts), _GROUP)]
    return Sql("(") + join(parts, operator) + Sql(")")


def _union(parts: list[Sql]) -> Sql:
    while len(parts) > 1:
        groups = [join(parts[n : n + _GROUP], " UNION ALL ") for n in range(0, len(parts), _GROUP)]
        parts = [Sql("SELECT key FROM (") + group + Sql(")") for group in groups]
    return parts[0]


def _probe_test(type_: str, test: Test, at: str) -> Sql:
    head = Sql(
        f"EXISTS (SELECT 1 FROM {test.shape} INDEXED BY {test.shape}_by_key WHERE key = {at} AND param = ?",
        (param_number(type_, test.param),),
    )
    if test.sought is None:
        return head + Sql(")")
    return head + Sql(" AND ") + condition(test.sought) + Sql(")")


def _drive_test(type_: str, test: Test) -> Sql:
    param = param_number(type_, test.param)
    if isinstance(test.sought, Interval):
        return _union(
            [
                interval_range(test.shape, param, test.sought, span)
                for span in spans(test.shape, brief=test.sought.brief)
            ]
        )
    head = Sql(f"SELECT key FROM {test.shape} WHERE param = ?", (param,))
    return head if test.sought is None else head + Sql(" AND ") + condition(test.sought)


def condition(sought: Sought) -> Sql:
    """What must hold of an entry's own columns."""
    match sought:
        case Token(None, system):
            return Sql("system = ?", (system,))
        case Token(code, None):
            return Sql("code = ?", (code,))
        case Token(code, system):
            return Sql("code = ? AND system = ?", (code, system))
        case Text(value, "exact"):
            return Sql("exact = ?", (value,))
        case Text(value, "whole"):
            return Sql("folded = ?", (value,))
        case Text(value, "contains"):
            return Sql("instr(folded, ?) > 0", (value,))
        case Text(value, _):
            return Sql("folded >= ? AND folded < ?", (value, value + "\U0010ffff"))
        case Target(id_, None):
            return Sql("id = ? AND type <> ''", (id_,))
        case Target(id_, target):
            return Sql("id = ? AND type = ?", (id_, target))
        case Uri(value, "exact"):
            return Sql("value = ?", (value,))
        case Uri(value, "below"):
            return Sql(
                "(value = ? OR (value >= ? AND value < ?))", (value, value.rstrip("/") + "/", value.rstrip("/") + "0")
            )
        case Uri(value, _):
            return _above(value)
        case Interval():
            return _interval(sought)
    raise AssertionError(sought)


def interval_range(shape: str, param: int, sought: Interval, span: int, columns: str = "key") -> Sql:
    """A SELECT over one class of length: bounds on the start of the interval, and on its end."""
    low = _lo_bounds(shape, sought.box, span)
    parts = [Sql("param = ?", (param,)), Sql("span = ?", (span,)), *low]
    if sought.unit is not None:
        parts.insert(1, Sql("unit = ?", (sought.unit,)))
    ends = Box(hi_above=sought.box.hi_above, hi_to=sought.box.hi_to)
    if ends != Box():
        parts.append(_interval(Interval(ends)))
    return Sql(f"SELECT {columns} FROM {shape} WHERE ") + join(parts, " AND ")


def _interval(sought: Interval) -> Sql:
    box = sought.box
    parts = [Sql("unit = ?", (sought.unit,))] if sought.unit is not None else []
    for column, operator, bound in (
        ("lo", ">=", box.lo_from),
        ("lo", "<", box.lo_below),
        ("hi", ">", box.hi_above),
        ("hi", "<=", box.hi_to),
    ):
        if bound is not None:
            parts.append(Sql(f"{column} {operator} ?", (bound,)))
    return join(parts, " AND ") if parts else TRUE


def _lo_bounds(shape: str, box: Box, span: int) -> list[Sql]:
    bounds = []
    if box.lo_from is not None:
        bounds.append(Sql("lo >= ?", (box.lo_from,)))
    if box.lo_below is not None:
        bounds.append(Sql("lo < ?", (box.lo_below,)))
    if box.hi_to is not None:
        bounds.append(Sql("lo < ?", (box.hi_to,)))  # an interval begins before it ends
    if box.hi_above is not None:
        longest = SPANS[span] if shape == "date" else None
        if longest is not None:
            bounds.append(Sql("lo > ?", (box.hi_above - longest,)))
        elif shape != "date" and span == 0:
            bounds.append(Sql("lo >= ?", (box.hi_above.rstrip("!"),)))
    return bounds


def _above(value: str) -> Sql:
    paths = uris_above(value)
    return Sql(f"value IN ({', '.join('?' * len(paths))})", tuple(paths))
