"""How many resources a condition's index leads to: counted, to a bound, and remembered for a while.

An estimate decides only how a search runs, never what it finds, so it may be out of date. So may the route that was
chosen by estimates: it is remembered with them.
"""

from collections import OrderedDict
from contextlib import suppress
from time import monotonic
from typing import Any, Generic, TypeVar

import apsw

from fhir_server.search.plan import Node, Query
from fhir_server.store.sqlite.compile import Sql, drive

# Counting goes up these steps until one condition is below a step; past the last, a condition is too broad to gather.
STEPS = (64, 1_024, 16_384)
BROAD = STEPS[-1]
_SECONDS = 60.0

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Values by name, each for a minute, and no more than `most` of them: those that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, name: K) -> V | None:
        """The value, if it is remembered still."""
        found = self._values.get(name)
        if found is None or found[0] <= monotonic():
            return None
        with suppress(KeyError):  # another thread may have had it forgotten
            self._values.move_to_end(name)
        return found[1]

    def put(self, name: K, value: V) -> None:
        """Remember a value; the one that was longest not asked for is forgotten for it."""
        self._values[name] = monotonic() + _SECONDS, value
        self._values.move_to_end(name)
        if len(self._values) > self._most:
            self._values.popitem(last=False)


class Estimates:
    """Counts of one tenant's conditions, and the routes of its last queries."""

    def __init__(self) -> None:
        self._counts: Remembered[tuple[str, Node], tuple[int, int]] = Remembered(4_096)
        self.routes: Remembered[Query, Any] = Remembered(512)

    def count(self, connection: apsw.Connection, type_: str, node: Node, bound: int) -> int | None:
        """How many keys lead to `node`, at most `bound`; None when no index leads to them."""
        known = self._counts.get((type_, node))
        if known is not None and (known[0] < known[1] or known[1] >= bound):
            return min(known[0], bound)
        driver = drive(type_, node)
        if driver is None:
            return None
        # To skip rows, or to count all of them, takes less than half the work of counting up to a limit.
        last = Sql("SELECT 1 FROM (") + driver + Sql(") LIMIT 1 OFFSET ?", (bound - 1,))
        count = bound
        if connection.execute(last.text, last.args).fetchone() is None:
            every = Sql("SELECT count(*) FROM (") + driver + Sql(")")
            count = int(connection.execute(every.text, every.args).fetchone()[0])  # type: ignore[index]
        self._counts.put((type_, node), (count, bound))
        return count

    def counts(self, connection: apsw.Connection, type_: str, conditions: tuple[Node, ...]) -> dict[Node, int]:
        """The counts of all conditions that an index leads to, as far up the steps as the least of them needs."""
        counts: dict[Node, int] = {}
        for bound in STEPS:
            for condition in conditions:
                count = self.count(connection, type_, condition, bound)
                if count is None:
                    continue
                counts[condition] = count
                if count == 0:
                    return counts
            if not counts or min(counts.values()) < bound:
                break
        return counts
