"""The search plan: the small tree that a query becomes and that every store interprets.

A plan says what must hold of a resource's index entries, never how to find it. Values in it are normalised by the
same code as the entries (`values`), so no store's own notion of text, float or time zone enters an answer.

Index entries, by shape (the tuples of `Entries`, each after the parameter's code):

    token      (code, system)        '' where absent
    string     (folded, exact)       folded: lower case, no accents
    date       (lo, hi)              half-open interval in microseconds since 1970 UTC
    number     (lo, hi)              half-open interval of order-preserving text keys
    quantity   (unit, lo, hi)        as number; one entry for each way that the unit may be sought
    reference  (type, id)            type '' and a URL as id where the target is not on this server
    uri        (value,)

Source: FHIR R4 search.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["token", "string", "date", "number", "quantity", "reference", "uri"]
SHAPES: tuple[Shape, ...] = ("token", "string", "date", "number", "quantity", "reference", "uri")

# Shape -> tuples of (parameter code, *the shape's values).
Entries = Mapping[Shape, Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Token:
    """A coded value. `system` None: any system; '': none. `code` None: any code of the system."""

    code: str | None
    system: str | None


@dataclass(frozen=True, slots=True)
class Text:
    """A string: `starts`, `contains` and `whole` compare the folded form, `exact` the written one."""

    value: str
    match: Literal["starts", "contains", "whole", "exact"]


@dataclass(frozen=True, slots=True)
class Box:
    """A set of half-open intervals [lo, hi), by up to four bounds; None leaves a side open.

    An interval is inside when lo_from <= lo < lo_below and hi_above < hi <= hi_to.
    """

    lo_from: Any = None
    lo_below: Any = None
    hi_above: Any = None
    hi_to: Any = None

    def holds(self, lo: Any, hi: Any) -> bool:
        """Whether the stored interval is in the set."""
        return (
            (self.lo_from is None or lo >= self.lo_from)
            and (self.lo_below is None or lo < self.lo_below)
            and (self.hi_above is None or hi > self.hi_above)
            and (self.hi_to is None or hi <= self.hi_to)
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """A date, number or quantity: the entry's interval is in the box. `unit` is for quantities only.

    `brief` says that every entry of the parameter is an instant, a second long at most, so that a store need not look
    among longer ones.
    """

    box: Box
    unit: str | None = None
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A reference's target. `type` None: of any type; '' with a URL as `id`: not on this server."""

    id: str
    type: str | None


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI: equal, `below` (it or a path under it) or `above` (it or a path over it)."""

    value: str
    match: Literal["exact", "below", "above"] = "exact"


Sought = Token | Text | Interval | Target | Uri


@dataclass(frozen=True, slots=True)
class All:
    """Every node holds; with no nodes it always holds."""

    nodes: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - `Any` is typing's
    """At least one node holds; with no nodes it never holds."""

    nodes: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The node does not hold."""

    node: "Node"


@dataclass(frozen=True, slots=True)
class Test:
    """Some entry of `param` (in `shape`) is what is sought; `sought` None: there is any entry at all.

    `single` says that a resource has at most one entry, so that tests of one parameter may be joined.
    """

    __test__ = False  # pytest takes classes of this name for test cases

    param: str
    shape: Shape
    sought: Sought | None
    single: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """The reference `param` points at a resource of `type` for which `node` holds."""

    param: str
    type: str
    node: "Node"


@dataclass(frozen=True, slots=True)
class Has:
    """A resource of `type`, for which `node` holds, points here by its reference `param`."""

    type: str
    param: str
    node: "Node"


Node = All | Any_ | Not | Test | Chain | Has

EVERYTHING = All()
NOTHING = Any_()


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key: the least entry of `param` when ascending, the greatest when descending; missing ones last.

    Compared is the first value of an entry (a token's code, the folded string, an interval's lo either way, the uri),
    of a reference its id, of a quantity the lo of its entry for any unit.
    """

    param: str
    shape: Shape
    descending: bool = False


# The place of a page's last match: one value for each sort key (None: missing), then its creation key.
Position = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One page of a search over one type, in the order of `sort` and then of creation.

    `count` 0 asks for the total alone; `total` None for no total, else count to at most that many (-1: all).
    """

    type: str
    where: Node = EVERYTHING
    sort: tuple[Sort, ...] = ()
    count: int = 20
    after: Position | None = None
    total: int | None = None


def all_of(*nodes: Node) -> Node:
    """A conjunction without needless nesting."""
    flat = [n for node in nodes for n in (node.nodes if isinstance(node, All) else (node,))]
    return flat[0] if len(flat) == 1 else All(tuple(flat))


def any_of(*nodes: Node) -> Node:
    """A disjunction without needless nesting."""
    flat = [n for node in nodes for n in (node.nodes if isinstance(node, Any_) else (node,))]
    return flat[0] if len(flat) == 1 else Any_(tuple(flat))
