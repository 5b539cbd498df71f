"""Which index leads a search: chosen by counting, to a bound, what each condition's index holds.

MongoDB's own choice is by trial, and remembered for queries of a like shape; over a million slots a trial can take
seconds, and `status=free` and `status=entered-in-error` look alike to it. So the leader is chosen here and given as a
hint, and the other conditions are written so that they cannot lead (`probed`).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from fhir_server.search.plan import Node
from fhir_server.store.mongo.compile import conjunction
from fhir_server.store.mongo.schema import SHAPE_FIELDS, Document

# Counting goes up these steps until one condition is below a step; past the last, a condition is too broad to gather.
STEPS = (64, 1_024, 16_384)
BROAD = STEPS[-1]
_KEPT = 16_384
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Condition:
    """One of the conditions that must all hold: its node, and its filter."""

    node: Node
    filter: Document


@dataclass(frozen=True, slots=True)
class Leader:
    """A condition that leads by its index, and how many resources that leads to, at most BROAD."""

    condition: Condition
    index: str
    count: int


class Estimates:
    """Counts of conditions, kept for a minute. They decide how a search runs, never what it finds."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, Node], tuple[int, int, float]] = OrderedDict()

    def known(self, name: tuple[str, str, Node], bound: int) -> int | None:
        """A count that is good to this bound."""
        kept = self._kept.get(name)
        if kept is None or kept[2] < monotonic() or (kept[0] >= kept[1] and kept[1] < bound):
            return None
        return min(kept[0], bound)

    def keep(self, name: tuple[str, str, Node], count: int, bound: int) -> None:
        """Remember a count to a bound."""
        self._kept[name] = count, bound, monotonic() + _SECONDS
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


class Counting(Protocol):
    """Where the counts come from."""

    @property
    def tenant(self) -> str:
        """Whose resources are counted."""

    @property
    def estimates(self) -> Estimates:
        """What was counted before."""

    async def count(self, type_: str, condition: Document, bound: int, hint: str) -> int:
        """How many resources fulfil a condition, at most `bound`."""


async def leader(reading: Counting, type_: str, conditions: Sequence[Condition]) -> Leader | None:
    """The condition that leads to the fewest resources; None when none has an index."""
    led = [(each, index) for each in conditions if (index := index_of(each.filter)) is not None]
    if len(led) == 1 and in_order(led[0][0].filter):
        return Leader(*led[0], BROAD)  # its index has the order of creation: nothing to choose
    best: Leader | None = None
    for bound in STEPS:
        for condition, index in led:
            count = await _count(reading, type_, condition, index, bound)
            if best is None or count <= best.count or best.count >= bound:
                best = Leader(condition, index, count) if best is None or count < bound else best
            if count == 0:
                return best
        if best is None or best.count < bound:
            return best
        best = Leader(best.condition, best.index, BROAD)
    return best


async def _count(reading: Counting, type_: str, condition: Condition, index: str, bound: int) -> int:
    name = (reading.tenant, type_, condition.node)
    count = reading.estimates.known(name, bound)
    if count is None:
        count = await reading.count(type_, condition.filter, bound, index)
        reading.estimates.keep(name, count, bound)
    return count


def led_by(leader: Leader, conditions: Sequence[Condition]) -> Document:
    """The filter of all conditions in which the leader alone can lead."""
    return conjunction(each.filter if each is leader.condition else probed(each.filter) for each in conditions)


def probed(condition: Document) -> Document:
    """The same condition, in a form that no index can answer: `~` is a field that no document has."""
    return {"$or": [condition, {"~": True}]} if condition else {}


def index_of(condition: Document) -> str | None:
    """The one index that leads to a condition."""
    if condition.keys() == {"id"}:
        return "identity"
    alternatives = condition["$or"] if condition.keys() == {"$or"} else [condition]
    names = {next(iter(each)) if len(each) == 1 else "" for each in alternatives}
    name = names.pop() if len(names) == 1 else ""
    return f"by_{name}" if name in SHAPE_FIELDS else None


def in_order(condition: Document) -> bool:
    """Whether the index has the condition's resources in the order of creation: those of one code, id or value."""
    if len(condition) != 1:
        return False
    [(shape, match)] = condition.items()
    field = {"token": "c", "reference": "i", "uri": "v"}.get(shape)
    return field is not None and isinstance(match["$elemMatch"].get(field), str)
