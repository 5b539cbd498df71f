"""Floods of refusals to callers without a token: the first of a minute are recorded one by one, the rest as a count.

Without it, anybody could fill the disk, or slow the log down for all others. A count is kept in memory until its minute
is over; what a crash loses is at most the counts of that minute, for each process.
"""

from collections import Counter
from dataclasses import dataclass, field

from fhir_server.audit.event import Event
from fhir_server.fhir.clock import Micros

WINDOW: Micros = 60_000_000
# Refusals of a tenant in a window that are recorded one by one.
FREE = 100
_MOST_NAMED = 5
_MOST_ADDRESSES = 1_000


@dataclass(slots=True)
class _Window:
    since: Micros
    seen: int = 0
    counted: int = 0
    addresses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Floods:
    """Decides which refusals are recorded one by one, and sums up the others."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def is_counted(self, tenant: str, event: Event) -> bool:
        """Whether a refusal is only counted; it is then part of the next summary."""
        window = self._windows.setdefault(tenant, _Window(event.recorded))
        window.seen += 1
        if window.seen <= FREE:
            return False
        window.counted += 1
        window.reasons[event.description] += 1
        if len(window.addresses) < _MOST_ADDRESSES or event.address in window.addresses:
            window.addresses[event.address] += 1
        return True

    def ended(self, now: Micros, *, all_: bool = False) -> list[tuple[str, Event]]:
        """The summaries of the windows that are over: (tenant, event)."""
        over = [t for t, window in self._windows.items() if all_ or now - window.since >= WINDOW]
        windows = [(tenant, self._windows.pop(tenant)) for tenant in over]
        return [(tenant, _summary(window, now)) for tenant, window in windows if window.counted]


def _summary(window: _Window, now: Micros) -> Event:
    reasons = ", ".join(f"{reason} × {count}" for reason, count in window.reasons.most_common(_MOST_NAMED))
    addresses = ", ".join(f"{a or 'unknown'} × {count}" for a, count in window.addresses.most_common(_MOST_NAMED))
    seconds = (now - window.since) // 1_000_000
    return Event(
        "denials",
        "E",
        "4",
        now,
        role="public",
        count=window.counted,
        description=f"{window.counted} more refusals in {seconds} s: {reasons}; from {addresses}",
    )
