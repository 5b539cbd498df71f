"""From the hours of a provider to slots: which times a schedule could offer (R-5.1, R-7.15).

Pure: local hours of `PractitionerRole.availableTime`, without `notAvailable` and the services' holidays, cut into
pieces of the service's duration. Hours are read on the clinic's own calendar: an hour that the clocks skip is not
there, one that they repeat is offered once, at its first reading, and no piece overlaps another. Hours that end before
they begin, or at 00:00, end on the next day.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from fhir_server.search.dates import EARLIEST, LATEST, interval

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHOLE_DAY = 24 * 60
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Piece:
    """One time to offer, in UTC."""

    start: datetime
    end: datetime

    @property
    def micros(self) -> tuple[int, int]:
        """Its start and end in µs."""
        return int(self.start.timestamp()) * 1_000_000, int(self.end.timestamp()) * 1_000_000


@dataclass(frozen=True, slots=True)
class Hours:
    """When a provider or service is there: `availableTime`s and `notAvailable`s as FHIR has them."""

    available: Sequence[dict[str, Any]]
    absent: Sequence[dict[str, Any]]


def pieces(hours: Hours, first: date, last: date, minutes: int, zone: tzinfo) -> Iterator[Piece]:
    """The pieces that begin on the days from `first` to `last`, in order, none over another."""
    absences = [_absence(each, zone) for each in hours.absent]
    ended = datetime.min.replace(tzinfo=UTC)
    for n in range(-1, (last - first).days + 1):  # what began on the evening before may reach into the first day
        day = first + timedelta(days=n)
        for begin, end in sorted(_of_day(hours.available, day)):
            for piece in _cut(day, begin, end, minutes, zone):
                if piece.start >= ended and not _is_absent(absences, piece):
                    ended = piece.end
                    if first <= _shown(piece.start, zone)[0] <= last:
                        yield piece


def _of_day(available: Iterable[dict[str, Any]], day: date) -> Iterator[tuple[int, int]]:
    """Minutes of the hours that begin on a day, as the clock on the wall shows them; beyond 24 hours on the next."""
    for each in available:
        if _DAYS[day.weekday()] not in each.get("daysOfWeek", _DAYS):
            continue
        if each.get("allDay"):
            yield 0, _WHOLE_DAY
        elif "availableStartTime" in each and "availableEndTime" in each:
            begin, end = _opens(each["availableStartTime"]), _closes(each["availableEndTime"])
            yield begin, end + _WHOLE_DAY if end < begin or end == 0 else end


def _cut(day: date, begin: int, end: int, minutes: int, zone: tzinfo) -> Iterator[Piece]:
    """Pieces that begin at wall-clock times, last `minutes` of real time, and end within the hours of the wall."""
    closes, shown_then = _moment(day, end, zone), _on_wall(day, end)
    for start in range(begin, end - minutes + 1, minutes):
        moment = _moment(day, start, zone)
        if _shown(moment, zone) != _on_wall(day, start):
            continue  # the clocks skip it
        until = moment + timedelta(minutes=minutes)
        # Where the clocks skip the end of the hours, they end when the clocks skip it.
        if until <= closes and _shown(until - _INSTANT, zone) < shown_then:
            yield Piece(moment, until)


def _moment(day: date, minute: int, zone: tzinfo) -> datetime:
    """The moment that a clock on the wall shows so; the first where it does twice."""
    day, minute = _on_wall(day, minute)
    return datetime.combine(day, time(minute // 60, minute % 60), zone).astimezone(UTC)


def _on_wall(day: date, minute: int) -> tuple[date, int]:
    days, minute = divmod(minute, _WHOLE_DAY)
    return day + timedelta(days=days), minute


def _shown(moment: datetime, zone: tzinfo) -> tuple[date, int]:
    local = moment.astimezone(zone)
    return local.date(), local.hour * 60 + local.minute


def _opens(text: str) -> int:
    """The first whole minute."""
    hour, minute, second = text.split(":")
    return int(hour) * 60 + int(minute) + (float(second) > 0)


def _closes(text: str) -> int:
    """The last whole minute. The second that is named belongs to the hours, so that 23:59:59 is midnight."""
    hour, minute, second = text.split(":")
    return int(hour) * 60 + int(minute) + (int(second[:2]) + 1) // 60


def _absence(absent: dict[str, Any], zone: tzinfo) -> tuple[int, int]:
    """The time of a `notAvailable`, in µs; without a period, or a side of it, it is open there."""
    period = absent.get("during", {})
    lo = interval(period["start"], zone)[0] if "start" in period else EARLIEST
    return lo, interval(period["end"], zone)[1] if "end" in period else LATEST


def _is_absent(absences: Iterable[tuple[int, int]], piece: Piece) -> bool:
    start, end = piece.micros
    return any(lo < end and start < hi for lo, hi in absences)
