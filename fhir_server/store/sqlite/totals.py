"""Totals that were counted, each good for as long as nobody commits anything to the clinic's file.

SQLite tells by `data_version`, for one connection, whether another one, of any process, has committed since. So they
are kept for each connection that only reads, and are exact.
"""

from collections.abc import Callable

import apsw

from fhir_server.search.plan import Node, Query

# How many match, counted to the query's limit, and whether that is all of them.
Total = tuple[int | None, bool]

_MOST_KNOWN = 512


class Totals:
    """Totals of searches on one connection that only reads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._version: int | None = None
        self._known: dict[tuple[str, Node, int | None], Total] = {}

    def of(self, query: Query, count: Callable[[], Total]) -> Total:
        """The query's total in the snapshot that the connection reads; `count` counts it."""
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]  # type: ignore[index]
        if version != self._version or len(self._known) >= _MOST_KNOWN:
            self._version, self._known = version, {}
        name = (query.type, query.where, query.total)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = count()
        return known
