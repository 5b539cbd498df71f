"""Moving clinics between stores: a copy of everything, in either direction, while the source serves.

Each part of a clinic is walked in its own order, some rows at a time; where source and target differ, the target is
made like the source. So a run that was broken off goes on where it was, a second run finds what changed meanwhile,
and a pass that finds nothing to change has compared every row: the copy is verified by it. Creation keys, versions,
kept values, and the audit log with its chains are the same on both sides. The outbox is not copied: drain it first.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Part = Literal["resource", "history", "kept", "writer", "audit", "seal"]
PARTS: tuple[Part, ...] = ("resource", "history", "kept", "writer", "audit", "seal")
ROWS_AT_ONCE = 500
MOST_PASSES = 5

Order = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a part: its place in the part's order, which names it, and the rest.

    resource  (type, id)           key, version, updated, patients, body, entries ((shape, (param, …)), …) sorted
    history   (type, id, version)  key, updated, method, patients, body
    kept      (kind, name)         value, expires
    writer    (chain,)             the last entry that was purged (0: none), its hash
    audit     (chain, number)      id, recorded, body, hash, found (the numbers of what it is found by) sorted
    seal      (number,)            body, signature, marks
    """

    order: Order
    values: tuple[Any, ...]


class Side(Protocol):
    """One store, opened for copying."""

    async def tenants(self) -> Sequence[str]:
        """The clinics that it has."""

    async def make_tenant(self, tenant: str) -> None:
        """Make a clinic, unless it is there."""

    async def count(self, tenant: str, part: Part) -> int:
        """How many rows a part has, for a progress bar."""

    async def rows(self, tenant: str, part: Part, after: Order | None, count: int) -> list[Row]:
        """The next rows of a part in its order."""

    async def replace(self, tenant: str, part: Part, gone: Sequence[Row], rows: Sequence[Row]) -> None:
        """Remove some rows and write others, in one transaction."""


@dataclass(slots=True)
class Copied:
    """What became of one part in the last pass over it: rows, those changed, and the hash over all of them."""

    rows: int = 0
    changed: int = 0
    hash: str = ""


@dataclass(slots=True)
class Report:
    """What became of one clinic. `is_whole`: the last pass found nothing to change."""

    tenant: str
    passes: int = 0
    parts: dict[Part, Copied] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether both sides were found equal."""
        return bool(self.parts) and not any(part.changed for part in self.parts.values())


# Told (tenant, part, rows so far, rows there are), for a progress bar.
Progress = Callable[[str, Part, int, int], None]


async def migrate(
    source: Side, target: Side, tenants: Sequence[str] | None = None, *, progress: Progress = lambda *_: None
) -> list[Report]:
    """Copy clinics, all unless named, and repeat until a pass finds both sides equal, or the source never rests."""
    reports = []
    for tenant in tenants if tenants is not None else await source.tenants():
        await target.make_tenant(tenant)
        report = Report(tenant)
        while report.passes < MOST_PASSES and not report.is_whole:
            report.passes += 1
            report.parts = {part: await _copy(source, target, tenant, part, progress) for part in PARTS}
        reports.append(report)
    return reports


async def _copy(source: Side, target: Side, tenant: str, part: Part, progress: Progress) -> Copied:
    copied, digest, after = Copied(), hashlib.sha256(), None
    theirs, count = _Walk(target, tenant, part), await source.count(tenant, part)
    while True:
        rows = await source.rows(tenant, part, after, ROWS_AT_ONCE)
        after = rows[-1].order if rows else None
        there = {row.order: row for row in await theirs.up_to(after)}
        wanted = {row.order: row for row in rows}
        different = [row for order, row in wanted.items() if there.get(order) != row]
        gone = [row for order, row in there.items() if order not in wanted]
        if different or gone:
            await target.replace(tenant, part, gone, different)
        for row in wanted.values():
            digest.update(repr(row).encode())
        copied.rows += len(wanted)
        copied.changed += len(different) + len(gone)
        progress(tenant, part, copied.rows, count)
        if after is None:
            copied.hash = digest.hexdigest()
            return copied


class _Walk:
    """The target's rows in step with the source's."""

    def __init__(self, side: Side, tenant: str, part: Part) -> None:
        self._side, self._tenant, self._part = side, tenant, part
        self._ahead: list[Row] = []
        self._after: Order | None = None
        self._ended = False

    async def up_to(self, last: Order | None) -> list[Row]:
        """The rows from where the walk is to `last`, or to the end."""
        passed: list[Row] = []
        while True:
            here = [row for row in self._ahead if last is None or row.order <= last]
            passed += here
            self._ahead = self._ahead[len(here) :]
            if self._ahead or self._ended:
                return passed
            self._ahead = await self._side.rows(self._tenant, self._part, self._after, ROWS_AT_ONCE)
            self._ended = len(self._ahead) < ROWS_AT_ONCE
            self._after = self._ahead[-1].order if self._ahead else self._after
