"""The free slots that `$find` walks, in the order of time: all of them, or those of a few schedules merged.

Each source is one index of free slots, read a few at a time as they are needed.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.booking.find_asked import Asked, body_of
from fhir_server.booking.find_schedules import Offering
from fhir_server.booking.index import FREE, free_for, free_in
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Node, Not, Position, Query, Sort, Test, Token, all_of, any_of
from fhir_server.store.protocol import Stored

_MINUTE = 60_000_000
_FEW, _LEAST = 4, 21
# Of so large a share of all schedules, all free slots are walked, and those of the others are passed over.
_SHARE = 4


@dataclass(slots=True)
class _Source:
    code: str
    after: Position | None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A free slot, its content, and its start."""

    stored: Stored
    slot: dict[str, Any]
    start: Micros

    @property
    def place(self) -> Position:
        """Where a page that follows it begins."""
        return (self.start, self.stored.key)


@dataclass(slots=True)
class Walk:
    """Through the free slots that may be offered, from `place` on."""

    repository: Repository
    asked: Asked
    whole: Mapping[str, Offering]
    now: Micros
    place: Position | None
    count: int
    _sources: list[_Source] = field(default_factory=list)
    _heap: list[tuple[Micros, int, int, Found]] = field(default_factory=list)
    _left: list[int] = field(default_factory=list)

    async def next(self) -> Found | None:
        """The next free slot; None after the last."""
        if not self._sources:
            codes = [FREE] if len(self.whole) * _SHARE >= self.asked.schedules else list(map(free_in, self.whole))
            self._sources = [_Source(code, self.place) for code in codes]
            self._left = [0] * len(codes)
        for n, source in enumerate(self._sources):
            if not self._left[n] and not source.is_over:
                await self._read(n, source)
        if not self._heap:
            return None
        _, _, n, found = heapq.heappop(self._heap)
        self._left[n] -= 1
        return found

    async def total(self) -> int:
        """How many free slots there are, by the index."""
        found = 0
        for where in self._apart():
            query = Query("Slot", all_of(where, *self._rest()), count=0, total=-1)
            found += (await self.repository.unit.search(query)).total or 0
        return found

    async def _read(self, n: int, source: _Source) -> None:
        several = len(self._sources)
        ask = max(_LEAST, self.count + 1) if several == 1 else max(_FEW, 2 * self.count // several)
        where = all_of(self._free(source.code), *self._services(), *self._rest())
        query = Query("Slot", where, (Sort(source.code, "date"),), ask, source.after)
        page = await self.repository.unit.search(query)
        for stored in page.matches:
            slot = body_of(stored)
            found = Found(stored, slot, interval(slot["start"])[0])
            heapq.heappush(self._heap, (found.start, stored.key, n, found))
        self._left[n] += len(page.matches)
        source.after, source.is_over = page.next, page.next is None

    def _apart(self) -> list[Node]:
        """What is counted: conditions of which no slot fulfils two."""
        codes = self.asked.visit_types
        is_all = len(self.whole) == self.asked.schedules
        if is_all and len(codes) == 1:  # a slot names services, or none
            return [self._free(free_for(*code)) for code in (*codes, ("", ""))]
        apart = [FREE] if is_all else list(map(free_in, self.whole))
        return [all_of(self._free(code), *self._services()) for code in apart]

    def _free(self, code: str) -> Node:
        """Free in the time asked for; not sooner or later than any rule allows."""
        rules = [each.rules for each in self.whole.values()]
        soonest = self.now + min(each.minimum_notice_minutes for each in rules) * _MINUTE
        latest = self.now + max(each.furthest_advance_days for each in rules) * 1_440 * _MINUTE
        # Whole minutes, so that what the store has worked out for a query serves the next one.
        soonest, latest = soonest // _MINUTE * _MINUTE, latest // _MINUTE * _MINUTE
        boxes = [Box(lo_from=max(lo, soonest), lo_below=min(hi, latest + _MINUTE)) for lo, hi in self.asked.windows]
        return any_of(*(Test(code, "date", Interval(box), True) for box in boxes))

    def _services(self) -> list[Node]:
        codes = self.asked.visit_types
        return [any_of(*(self._free(free_for(*code)) for code in (*codes, ("", ""))))] if codes else []

    def _rest(self) -> list[Node]:
        wanted = self.asked.specialties
        if not wanted:
            return []
        tests = [Test("specialty", "token", Token(code, system)) for system, code in wanted]
        return [any_of(*tests, Not(Test("specialty", "token", None)))]
