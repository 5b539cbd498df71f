"""Dates and times as half-open intervals [lo, hi) of microseconds since 1970 UTC (FHIR R4 search.html#date).

A date without a zone is read in the zone handed in. An interval is as wide as its text is precise: a year, a month,
a day, a minute, a second, or the last digit of its fraction.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

# Before and after every date: the open ends of a Period.
EARLIEST = -(2**62)
LATEST = 2**62

Interval = tuple[int, int]

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01])"
    r"(?:T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:\.(\d{1,12}))?)?(Z|[+-](?:0\d|1[0-4]):[0-5]\d)?)?)?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal()
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND


@lru_cache(maxsize=8192)
def interval(text: str, zone: tzinfo = UTC) -> Interval:
    """The interval of a date, dateTime or instant of any precision. Raises ValueError."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    first = date(int(year), int(month or 1), int(day or 1))
    if hour is None:
        return _midnight(first.toordinal(), zone), _midnight(_next_day(first, month, day), zone)
    start = (first.toordinal() - _EPOCH_DAY) * _DAY + (int(hour) * 60 + int(minute)) * 60 * _SECOND
    width = 60 * _SECOND
    if second is not None:
        start += int(second) * _SECOND
        width = _SECOND
    if fraction is not None:
        digits = fraction[:6]
        width = 10 ** (6 - len(digits))
        start += int(digits) * width
    start -= _given_offset(offset) if offset else _zone_offset(start, zone)
    return start, start + width


def ended(text: str, zone: tzinfo = UTC) -> int:
    """When a range that ends with a date or dateTime ends: after the day, month or year, else at the moment."""
    lo, hi = interval(text, zone)
    return lo if "T" in text else hi


def shown(moment: int, zone: tzinfo) -> datetime:
    """What clock and calendar of a zone show at a moment; beyond the calendar, the last whole day within it."""
    day, time = divmod(moment, _DAY)
    ordinal = min(max(day + _EPOCH_DAY, 2), _LAST_DAY - 2)
    return (datetime.fromordinal(ordinal).replace(tzinfo=UTC) + timedelta(microseconds=time)).astimezone(zone)


def hull(intervals: list[Interval]) -> Interval | None:
    """From the first start to the last end; None for no intervals."""
    return (min(lo for lo, _ in intervals), max(hi for _, hi in intervals)) if intervals else None


def _next_day(first: date, month: str | None, day: str | None) -> int:
    if day is not None:
        return first.toordinal() + 1
    year, number = (first.year, first.month + 1) if month is not None else (first.year + 1, 1)
    if number == 13:
        year, number = year + 1, 1
    return date(year, number, 1).toordinal() if year <= date.max.year else _LAST_DAY + 1


def _midnight(day: int, zone: tzinfo) -> int:
    local = (day - _EPOCH_DAY) * _DAY
    return local - _zone_offset(local, zone)


def _given_offset(text: str) -> int:
    if text == "Z":
        return 0
    micros = (int(text[1:3]) * 60 + int(text[4:6])) * 60 * _SECOND
    return -micros if text[0] == "-" else micros


def _zone_offset(local: int, zone: tzinfo) -> int:
    """How far the zone's clock is ahead of UTC when it shows `local`; the earlier reading of an hour shown twice."""
    day, time = divmod(local, _DAY)
    ordinal = min(max(day + _EPOCH_DAY, 2), _LAST_DAY - 1)  # zones need a day of room at the calendar's ends
    offset = (datetime.fromordinal(ordinal) + timedelta(microseconds=time)).replace(tzinfo=zone).utcoffset()
    return offset // timedelta(microseconds=1) if offset else 0
