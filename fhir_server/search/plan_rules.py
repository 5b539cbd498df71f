"""Rewrites of a plan that mean the same and that stores answer faster."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fhir_server.search.plan import (
    EVERYTHING,
    NOTHING,
    All,
    Any_,
    Box,
    Chain,
    Has,
    Interval,
    Node,
    Not,
    Sort,
    Test,
    all_of,
    any_of,
)

# More boxes than this cost a store more than the join saves.
_MOST_BOXES = 16


def optimise(node: Node) -> Node:
    """The plan flattened, without repetition, with the intervals of one single-valued parameter joined into boxes."""
    match node:
        case All(nodes):
            return _all(map(optimise, nodes))
        case Any_(nodes):
            return _any(map(optimise, nodes))
        case Not(inner):
            return _not(optimise(inner))
        case Chain() | Has():
            return replace(node, node=optimise(node.node))
    return node


def natural_order(where: Node) -> tuple[Sort, ...]:
    """The order of a query that asks for none: by time, where it asks for a time that a resource has one of.

    A store then walks that stretch of its index and ends with the page. Otherwise: none, the order of creation.
    """
    nodes = where.nodes if isinstance(where, All) else (where,)
    timed = [
        node.param
        for node in nodes
        if isinstance(node, Test) and node.single and isinstance(node.sought, Interval) and node.sought.brief
    ]
    return (Sort(timed[0], "date"),) if len(timed) == 1 else ()


def intersection(one: Box, other: Box) -> Box | None:
    """The box of the intervals that both hold; None when there can be none (every interval has lo < hi)."""
    joined = Box(
        _tighter(max, one.lo_from, other.lo_from),
        _tighter(min, one.lo_below, other.lo_below),
        _tighter(max, one.hi_above, other.hi_above),
        _tighter(min, one.hi_to, other.hi_to),
    )
    for least, limit in (
        (joined.lo_from, joined.lo_below),
        (joined.hi_above, joined.hi_to),
        (joined.lo_from, joined.hi_to),
    ):
        if least is not None and limit is not None and least >= limit:
            return None
    return joined


def _all(nodes: Iterable[Node]) -> Node:
    flat = all_of(*nodes)
    if not isinstance(flat, All):
        return flat
    kept = _join(list(dict.fromkeys(flat.nodes)))
    return NOTHING if NOTHING in kept else all_of(*kept)


def _any(nodes: Iterable[Node]) -> Node:
    flat = any_of(*nodes)
    if not isinstance(flat, Any_):
        return flat
    return EVERYTHING if EVERYTHING in flat.nodes else any_of(*dict.fromkeys(flat.nodes))


def _not(node: Node) -> Node:
    if isinstance(node, Not):
        return node.node
    if node == NOTHING:
        return EVERYTHING
    return NOTHING if node == EVERYTHING else Not(node)


def _join(nodes: list[Node]) -> list[Node]:
    """The nodes of a conjunction, those that are boxes of the same values intersected at the place of the first."""
    boxes: dict[Any, list[Box]] = {}
    joined: dict[Any, Node] = {}
    for node in nodes:
        place = _same_values(node)
        if place is None:
            joined[node] = node
        elif place not in boxes:
            boxes[place] = _boxes(node)
            joined[place] = node
        else:
            both = [box for one in boxes[place] for other in _boxes(node) if (box := intersection(one, other))]
            if len(both) > _MOST_BOXES:
                joined[node] = node
                continue
            boxes[place] = both
            param, shape, *of = place
            joined[place] = any_of(*(Test(param, shape, Interval(box, *of), single=True) for box in both))
    return list(joined.values())


def _same_values(node: Node) -> tuple[Any, ...] | None:
    """(param, shape, unit, brief) when the node is a box, or any of some boxes, over one single value."""
    tests = node.nodes if isinstance(node, Any_) else (node,)
    places = {
        (test.param, test.shape, test.sought.unit, test.sought.brief)
        if isinstance(test, Test) and test.single and isinstance(test.sought, Interval)
        else None
        for test in tests
    }
    return places.pop() if len(places) == 1 else None


def _boxes(node: Node) -> list[Box]:
    tests = node.nodes if isinstance(node, Any_) else (node,)
    return [test.sought.box for test in tests if isinstance(test, Test) and isinstance(test.sought, Interval)]


def _tighter(choose: Any, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
