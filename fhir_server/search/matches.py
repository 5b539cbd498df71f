"""The plain-Python interpreter of plans: subscription criteria, access checks on writes, oracle of the stores' tests.

Source: FHIR R4 search.html.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from fhir_server.search.plan import (
    All,
    Any_,
    Chain,
    Entries,
    Has,
    Interval,
    Node,
    Not,
    Sort,
    Sought,
    Target,
    Test,
    Text,
    Token,
    Uri,
)


class Around(Protocol):
    """The other resources, as far as chains and `_has` look at them."""

    def target(self, type_: str, id_: str) -> Entries | None:
        """The entries of a resource; None when it is not there."""

    def referrers(self, type_: str, id_: str, source: str, param: str) -> Iterable[Entries]:
        """The entries of the resources of type `source` that point at `type_/id_` by `param`."""


class NothingAround(Exception):
    """A plan has a chain or `_has` and the caller gave no `Around` (or not the resource's type)."""


def matches(node: Node, entries: Entries, *, type_: str = "", around: Around | None = None) -> bool:
    """Whether the plan holds for a resource of `type_` with these entries. Raises NothingAround."""
    match node:
        case Test(param, shape, sought):
            return any(_is(sought, row) for row in entries.get(shape, ()) if row[0] == param)
        case All(nodes):
            return all(matches(each, entries, type_=type_, around=around) for each in nodes)
        case Any_(nodes):
            return any(matches(each, entries, type_=type_, around=around) for each in nodes)
        case Not(inner):
            return not matches(inner, entries, type_=type_, around=around)
    if around is None:
        raise NothingAround("the plan follows references, and no resources around were given")
    if isinstance(node, Chain):
        return any(
            matches(node.node, other, type_=node.type, around=around) for other in _targets(node, entries, around)
        )
    if not type_:
        raise NothingAround("the plan asks who points here, and the resource's type was not given")
    return any(
        matches(node.node, other, type_=node.type, around=around) for other in _referrers(node, entries, type_, around)
    )


def sort_values(entries: Entries, sorts: Sequence[Sort]) -> tuple[Any, ...]:
    """The value to sort by for each key, as `plan.Sort` says; None where there is none."""
    return tuple(_sort_value(entries, sort) for sort in sorts)


def in_order(candidates: Sequence[Entries], sorts: Sequence[Sort]) -> list[int]:
    """The places of the candidates, sorted; those alike stay in the order given."""
    places = list(range(len(candidates)))
    for sort in reversed(sorts):
        values = [_sort_value(entries, sort) for entries in candidates]
        present = [place for place in places if values[place] is not None]
        present.sort(key=values.__getitem__, reverse=sort.descending)
        places = present + [place for place in places if values[place] is None]
    return places


def comparison(sorts: Sequence[Sort]) -> Callable[[tuple[Any, ...], tuple[Any, ...]], int]:
    """Which of two, each beginning with its place, comes first: missing values last, then by creation."""

    def compare(one: tuple[Any, ...], other: tuple[Any, ...]) -> int:
        for left, right, sort in zip(one[0], other[0], sorts, strict=False):
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return -1 if (left < right) != sort.descending else 1
        return int(one[0][-1] > other[0][-1]) - int(one[0][-1] < other[0][-1])

    return compare


def _is(sought: Sought | None, row: tuple[Any, ...]) -> bool:
    match sought:
        case None:
            return True
        case Token(code, system):
            return (code is None or row[1] == code) and (system is None or row[2] == system)
        case Text(value, "starts"):
            return bool(row[1].startswith(value))
        case Text(value, "contains"):
            return value in row[1]
        case Text(value, "whole"):
            return bool(row[1] == value)
        case Text(value, _):
            return bool(row[2] == value)
        case Interval(box, unit):
            return (unit is None or row[1] == unit) and box.holds(row[-2], row[-1])
        case Target(id_, type_):
            return row[2] == id_ and (type_ is None or row[1] == type_)
        case Uri(value, how):
            return _is_uri(value, how, row[1])
    raise TypeError(repr(sought))


def _is_uri(value: str, how: str, stored: str) -> bool:
    return (
        stored == value
        or (how == "below" and stored.startswith(value.rstrip("/") + "/"))
        or (how == "above" and value.startswith(stored.rstrip("/") + "/"))
    )


def _targets(chain: Chain, entries: Entries, around: Around) -> Iterable[Entries]:
    for param, type_, id_ in entries.get("reference", ()):
        if param == chain.param and type_ == chain.type:
            target = around.target(type_, id_)
            if target is not None:
                yield target


def _referrers(has: Has, entries: Entries, type_: str, around: Around) -> Iterable[Entries]:
    for param, id_, _ in entries.get("token", ()):
        if param == "_id":
            yield from around.referrers(type_, id_, has.type, has.param)


def _sort_value(entries: Entries, sort: Sort) -> Any:
    place = 2 if sort.shape in ("reference", "quantity") else 1
    rows = [row for row in entries.get(sort.shape, ()) if row[0] == sort.param]
    values = [row[place] for row in rows if sort.shape != "quantity" or row[1] == ""]
    if not values:
        return None
    return max(values) if sort.descending else min(values)
