"""Composites of a token and two numbers, such as a chromosome with a variant's start and end (FHIR R4 search.html).

The numbers of one element are filed as one interval, from the first to the second, under a parameter for each of the
token's codes: so that both are sought in the same element by an ordinary condition. An element that lacks one of the
numbers, or has them the wrong way round, has no entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.search import decimals
from fhir_server.search.collected import Collected
from fhir_server.search.composite import Ends, entered, found_at, under
from fhir_server.search.paths import Step, walk
from fhir_server.search.plan import Box, Interval, Node, Test, any_of


@dataclass(frozen=True, slots=True)
class Span:
    """Where the elements are, from the resource; the token in an element or (`apart`) in the resource; the numbers."""

    elements: tuple[Step, ...]
    tokens: Ends
    apart: Ends
    first: tuple[Step, ...]
    second: tuple[Step, ...]


def convert(resource: dict[str, Any], param: str, span: Span, out: Collected) -> None:
    """The entries of a resource."""
    for element in walk(span.elements, resource):
        first, second = walk(span.first, element), walk(span.second, element)
        if not first or not second or first[0] > second[0]:
            continue
        lo, hi = decimals.key(first[0]), decimals.exact(second[0])[1]
        tokens = entered([*found_at(element, span.tokens), *found_at(resource, span.apart)], param, out).token
        for _, code, system in tokens:
            for name in (under(param, code), under(param, f"{system}|{code}")) if code else ():
                out.number[(name, lo, hi)] = None


# (prefix, lo, hi) of a written number.
Number = tuple[str, str, str]


def node(param: str, first: Number, second: Number) -> Node:
    """The condition on both numbers of one element."""
    boxes = [
        Box(low.lo_from, low.lo_below, high.hi_above, high.hi_to)
        for low in _between(first, lambda at, below: Box(lo_from=at, lo_below=below))
        for high in _between(second, lambda at, below: Box(hi_above=at, hi_to=below))
    ]
    return any_of(*(Test(param, "number", Interval(box)) for box in boxes))


def _between(number: Number, box: Callable[[str | None, str | None], Box]) -> list[Box]:
    """The boxes of the exact values that a prefix and number let through; `box` takes the least and what is beyond."""
    prefix, lo, hi = number
    match prefix:
        case "ne":
            return [box(None, lo), box(hi, None)]
        case "gt" | "sa":
            return [box(hi, None)]
        case "lt" | "eb":
            return [box(None, lo)]
        case "ge":
            return [box(lo, None)]
        case "le":
            return [box(None, hi)]
    return [box(lo, hi)]
