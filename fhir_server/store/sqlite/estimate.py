"""How many resources a condition's index leads to: counted, to a bound, and remembered for a while.

An estimate decides only how a search runs, never what it finds, so it may be out of date.
"""

from collections import OrderedDict
from time import monotonic

import apsw

from fhir_server.search.plan import Node
from fhir_server.store.sqlite.compile import Sql, drive

# Counting goes up these steps until one condition is below a step; past the last, a condition is too broad to gather.
STEPS = (64, 1_024, 16_384)
BROAD = STEPS[-1]
_KEPT = 4_096
_SECONDS = 60.0


class Estimates:
    """Counts of one tenant's conditions, kept for a minute."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Node], tuple[int, int, float]] = OrderedDict()

    def count(self, connection: apsw.Connection, type_: str, node: Node, bound: int) -> int | None:
        """How many keys lead to `node`, at most `bound`; None when no index leads to them."""
        kept = self._kept.get((type_, node))
        if kept is not None and kept[2] > monotonic() and (kept[0] < kept[1] or kept[1] >= bound):
            return min(kept[0], bound)
        driver = drive(type_, node)
        if driver is None:
            return None
        sql = Sql("SELECT count(*) FROM (") + driver + Sql(" LIMIT ?)", (bound,))
        count: int = connection.execute(sql.text, sql.args).fetchone()[0]  # type: ignore[index]
        self._kept[(type_, node)] = count, bound, monotonic() + _SECONDS
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
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
