"""From the hours of a provider to slots: which times a schedule could offer (R-5.1, R-7.15).

Pure: local hours of `PractitionerRole.availableTime`, without `notAvailable` and the services' holidays, cut into
pieces of the service's duration. Hours are read on the clinic's own calendar: an hour that the clocks skip is not
there, one that they repeat is offered once, at its first reading, and no piece overlaps another.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from fhir_server.search.dates import interval

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Piece:
    """One time to offer, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Hours:
    """When a provider or service is there: `availableTime`s and `notAvailable`s as FHIR has them."""

    available: Sequence[dict[str, Any]]
    absent: Sequence[dict[str, Any]]


def pieces(hours: Hours, first: date, last: date, minutes: int, zone: tzinfo) -> Iterator[Piece]:
    """The pieces of the days from `first` to `last`, in order, none over another."""
    absences = [_absence(each, zone) for each in hours.absent]
    ended = datetime.min.replace(tzinfo=UTC)
    day = first
    while day <= last:
        for begin, end in sorted(_of_day(hours.available, day)):
            for piece in _cut(day, begin, end, minutes, zone):
                if piece.start >= ended and not any(lo < piece.end and piece.start < hi for lo, hi in absences):
                    ended = piece.end
                    yield piece
        day += timedelta(days=1)


def _of_day(available: Iterable[dict[str, Any]], day: date) -> Iterator[tuple[int, int]]:
    """Minutes of the day's hours, as the clock on the wall shows them."""
    for each in available:
        if _DAYS[day.weekday()] not in each.get("daysOfWeek", _DAYS):
            continue
        if each.get("allDay"):
            yield 0, 24 * 60
        elif "availableStartTime" in each and "availableEndTime" in each:
            yield _minutes(each["availableStartTime"]), _minutes(each["availableEndTime"])


def _cut(day: date, begin: int, end: int, minutes: int, zone: tzinfo) -> Iterator[Piece]:
    """Pieces that begin at wall-clock times, last `minutes` of real time, and end within the hours of the wall."""
    closes = _moment(day, end, zone)
    for start in range(begin, end - minutes + 1, minutes):
        moment = _moment(day, start, zone)
        if _shown(moment, zone) != (day, start):
            continue  # the clocks skip it
        until = moment + timedelta(minutes=minutes)
        if until <= closes:
            yield Piece(moment, until)


def _moment(day: date, minute: int, zone: tzinfo) -> datetime:
    """The moment that a clock on the wall shows so; the first where it does twice."""
    days, minute = divmod(minute, 24 * 60)
    shown = datetime.combine(day + timedelta(days=days), time(minute // 60, minute % 60), zone)
    return shown.astimezone(UTC)


def _shown(moment: datetime, zone: tzinfo) -> tuple[date, int]:
    local = moment.astimezone(zone)
    return local.date(), local.hour * 60 + local.minute


def _minutes(text: str) -> int:
    hour, minute = text.split(":")[:2]
    return int(hour) * 60 + int(minute)


def _absence(absent: dict[str, Any], zone: tzinfo) -> tuple[datetime, datetime]:
    """The time of a `notAvailable`; without a period, or a side of it, it is open there."""
    period = absent.get("during", {})
    lo = _at(interval(period["start"], zone)[0]) if "start" in period else datetime.min.replace(tzinfo=UTC)
    hi = _at(interval(period["end"], zone)[1]) if "end" in period else datetime.max.replace(tzinfo=UTC)
    return lo, hi


def _at(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
