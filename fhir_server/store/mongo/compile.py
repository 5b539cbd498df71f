"""From plan nodes to MongoDB filters over a resource's arrays of entries.

Chains and `_has` cross from resource to resource, which a filter cannot: `join` looks them up first and hands in what
it found. What it could not look up whole makes the filter wider than the plan, and is asked again of each page.
"""

import re
from collections.abc import Iterable, Mapping
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
from fhir_server.store.mongo.schema import Document
from fhir_server.store.params import SPANS, param_number, spans, uris_above

NEVER: Document = {"id": {"$in": []}}

# (type, Chain or Has) -> the ids found: of a chain's targets, or of the resources that are pointed at. None: too many.
Found = Mapping[tuple[str, Node], "list[str] | None"]


def compile_(type_: str, node: Node, found: Found, *, wider: bool = True) -> Document:
    """The filter of a node: exact, or wider (narrower, if not `wider`) where `found` has None."""
    match node:
        case All(nodes):
            return conjunction(compile_(type_, each, found, wider=wider) for each in nodes)
        case Any_(nodes):
            return _disjunction([compile_(type_, each, found, wider=wider) for each in nodes])
        case Not(inner):
            return {"$nor": [compile_(type_, inner, found, wider=not wider)]}
        case Test():
            return _test(type_, node)
        case Chain(param, target):
            ids = found[type_, node]
            if ids is None:
                return entry("reference", {"p": param_number(type_, param), "y": target}) if wider else NEVER
            return entry("reference", {"p": param_number(type_, param), "i": {"$in": ids}, "y": target})
        case Has():
            ids = found[type_, node]
            if ids is None:
                return {} if wider else NEVER
            return {"id": {"$in": ids}}


def conjunction(filters: Iterable[Document]) -> Document:
    """All of the filters, flat."""
    flat: list[Document] = []
    for each in filters:
        flat += each["$and"] if each.keys() == {"$and"} else [each] if each else []
    if len(flat) == 1:
        return flat[0]
    return {"$and": flat} if flat else {}


def entry(shape: str, conditions: Document) -> Document:
    """That some one entry fulfils all conditions."""
    return {shape: {"$elemMatch": conditions}}


def _disjunction(filters: list[Document]) -> Document:
    if not filters:
        return NEVER
    if {} in filters:
        return {}
    flat: list[Document] = []
    for each in filters:
        flat += each["$or"] if each.keys() == {"$or"} else [each]
    return flat[0] if len(flat) == 1 else {"$or": flat}


def _test(type_: str, test: Test) -> Document:
    param = param_number(type_, test.param)
    match test.sought:
        case None:
            return entry(test.shape, {"p": param})
        case Interval():
            return _interval(test.shape, param, test.sought)
        case Uri(value, "below"):
            path = value.rstrip("/")
            below = [{"p": param, "v": value}, {"p": param, "v": {"$gte": path + "/", "$lt": path + "0"}}]
            return _disjunction([entry("uri", each) for each in below])
    return entry(test.shape, {"p": param, **condition(test.sought)})


def condition(sought: Sought) -> Document:
    """What must hold of an entry's own fields."""
    match sought:
        case Token(code, system):
            wanted = {"c": code, "s": system}
            return {name: value for name, value in wanted.items() if value is not None}
        case Text(value, "exact"):
            return {"e": value}
        case Text(value, "whole"):
            return {"f": value}
        case Text(value, "contains"):
            return {"f": {"$regex": re.escape(value).replace("\0", "\\x00")}}
        case Text(value, _):
            return {"f": {"$gte": value, "$lt": value + "\U0010ffff"}}
        case Target(id_, None):
            return {"i": id_, "y": {"$gt": ""}}
        case Target(id_, target):
            return {"i": id_, "y": target}
        case Uri(value, "above"):
            return {"v": {"$in": uris_above(value)}}
        case Uri(value, _):
            return {"v": value}
    raise AssertionError(sought)


def _interval(shape: str, param: int, sought: Interval) -> Document:
    """That an interval is in the box; a bound on its end becomes one on its start, class of length by class."""
    head: Document = {"p": param}
    if sought.unit is not None:
        head["u"] = sought.unit
    if sought.box.hi_above is None:
        return entry(
            shape, head | {"n": {"$in": list(spans(shape, brief=sought.brief))}} | _bounds(shape, sought.box, None)
        )
    classes = spans(shape, brief=sought.brief)
    return _disjunction([entry(shape, head | {"n": span} | _bounds(shape, sought.box, span)) for span in classes])


def _bounds(shape: str, box: Box, span: int | None) -> Document:
    lo, hi = lo_bounds(shape, box, span), _range(gt=box.hi_above, lte=box.hi_to)
    return ({"lo": lo} if lo else {}) | ({"hi": hi} if hi else {})


def lo_bounds(shape: str, box: Box, span: int | None) -> Document:
    """The bounds on an interval's start that follow from a box, for one class of length (None: for any)."""
    # An interval begins before it ends.
    below = [bound for bound in (box.lo_below, box.hi_to) if bound is not None]
    bounds = _range(gte=box.lo_from, lt=min(below) if below else None)
    if box.hi_above is None or span is None:
        return bounds
    if shape == "date":
        longest = SPANS[span]
        least = None if longest is None else box.hi_above - longest + 1
    else:
        least = box.hi_above.rstrip("!") if span == 0 else None
    if least is not None:
        bounds["$gte"] = max(least, bounds.get("$gte", least))
    return bounds


def _range(**bounds: Any) -> Document:
    return {f"${name}": bound for name, bound in bounds.items() if bound is not None}
