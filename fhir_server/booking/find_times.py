"""When somebody would like to come: a Timing as the windows in which a time may begin (IHE ITI-115 `timing`).

Of a Timing count `event`, and of its `repeat` `boundsPeriod`, `dayOfWeek`, `timeOfDay`, `when` (parts of the day) and
`duration`. Days and hours are read on the clinic's calendar. What speaks of repetition (`frequency`, `period`, …) means
nothing for one appointment.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from typing import Any

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.search.dates import LATEST, interval, shown

Window = tuple[Micros, Micros]

MOST_WINDOWS = 200
_MINUTE = 60_000_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Parts of the day (FHIR R4 valueset-event-timing), in minutes after midnight.
_PARTS: Mapping[str, tuple[int, int]] = {
    "MORN": (360, 720), "MORN.early": (360, 540), "MORN.late": (540, 720), "NOON": (720, 780), "AFT": (720, 1080),
    "AFT.early": (720, 900), "AFT.late": (900, 1080), "EVE": (1080, 1320), "EVE.early": (1080, 1200),
    "EVE.late": (1200, 1320), "NIGHT": (1320, 1440),
}  # fmt: skip
_LONGEST = 366 * 86_400  # seconds
_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_UNDERSTOOD = frozenset({"boundsPeriod", "dayOfWeek", "timeOfDay", "when", "duration", "durationUnit"})


@dataclass(frozen=True, slots=True)
class Preferred:
    """The windows, in order and apart, how long a time must last, and what of the Timing says nothing here."""

    windows: tuple[Window, ...]
    lasts: Micros = 0
    unused: tuple[str, ...] = ()


def preferred(timing: Mapping[str, Any], within: Window, zone: tzinfo) -> Preferred:
    """What a Timing leaves of a window. Raises BadRequest that names the element."""
    repeat = timing.get("repeat", {})
    events = [interval(str(each), zone) for each in timing.get("event", ())]
    made: Sequence[Window] = _few([_both(within, event) for event in events] if events else [within], "timing.event")
    if "boundsPeriod" in repeat:
        made = [_both(each, _bounds(repeat["boundsPeriod"], zone)) for each in made]
    if repeat.keys() & {"dayOfWeek", "timeOfDay", "when"}:
        made = [_both(each, part) for each in made for part in _parts(repeat, each, zone)]
    unused = (
        *sorted(f"timing.repeat.{n}" for n in repeat.keys() - _UNDERSTOOD),
        *(["timing.code"] if "code" in timing else ()),
    )
    return Preferred(_few(made, "end"), _duration(repeat), unused)


def _few(windows: Iterable[Window], at: str) -> tuple[Window, ...]:
    """The windows in order and apart. Raises BadRequest when they are too many to ask the store for."""
    apart = tuple(_apart(windows))
    if len(apart) > MOST_WINDOWS:
        raise _too_many(at)
    return apart


def _too_many(at: str) -> BadRequest:
    text = f"More than {MOST_WINDOWS} times from 'start' to 'end' fit 'timing'; ask for fewer."
    return BadRequest(text, expression=at, code="too-costly")


def _both(one: Window, other: Window) -> Window:
    return max(one[0], other[0]), min(one[1], other[1])


def _bounds(period: Mapping[str, Any], zone: tzinfo) -> Window:
    lo = interval(str(period["start"]), zone)[0] if "start" in period else -LATEST
    return lo, interval(str(period["end"]), zone)[1] if "end" in period else LATEST


def _parts(repeat: Mapping[str, Any], within: Window, zone: tzinfo) -> Iterator[Window]:
    """The parts of the days that are named, on the days that are."""
    if within[0] >= within[1]:
        return
    parts = sorted({*_times(repeat), *_whens(repeat)}) or [(0, 1_440)]
    days, day, last = repeat.get("dayOfWeek", _DAYS), shown(within[0], zone).date(), shown(within[1] - 1, zone).date()
    made = 0
    while day <= last:
        for begin, end in parts if _DAYS[day.weekday()] in days else ():
            made += 1
            if made > MOST_WINDOWS:
                raise _too_many("end")
            lo, hi = _moment(day, begin, zone), _moment(day, end, zone)
            wall = shown(lo, zone)
            if end - begin > 1 or wall.hour * 60 + wall.minute == begin:  # else the clocks skip this minute
                yield lo, hi
        day += timedelta(days=1)


def _times(repeat: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for text in repeat.get("timeOfDay", ()):
        minute = int(text[:2]) * 60 + int(text[3:5])
        yield minute, minute + 1


def _whens(repeat: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    for code in repeat.get("when", ()):
        if code not in _PARTS:
            raise BadRequest(
                f"Of 'timing.repeat.when' this server understands the parts of the day: {', '.join(_PARTS)}.",
                expression="timing.repeat.when",
                code="not-supported",
            )
        yield _PARTS[code]
        if code == "NIGHT":
            yield 0, 360


def _duration(repeat: Mapping[str, Any]) -> Micros:
    if "duration" not in repeat:
        return 0
    unit = repeat.get("durationUnit")
    if unit not in _UNITS:
        raise BadRequest(
            f"'timing.repeat.durationUnit' is one of: {', '.join(_UNITS)}.", expression="timing.repeat.durationUnit"
        )
    if not 0 <= repeat["duration"] <= _LONGEST / _UNITS[unit]:
        raise BadRequest(
            "'timing.repeat.duration' is not negative, and no longer than a year.", expression="timing.repeat.duration"
        )
    return int(repeat["duration"] * _UNITS[unit] * 1_000_000)


def _apart(windows: Iterable[Window]) -> Iterator[Window]:
    """The windows in order; those that touch or overlap as one, without what is empty."""
    open_: Window | None = None
    for lo, hi in sorted(each for each in windows if each[0] < each[1]):
        if open_ is not None and lo <= open_[1]:
            open_ = open_[0], max(open_[1], hi)
        else:
            if open_ is not None:
                yield open_
            open_ = lo, hi
    if open_ is not None:
        yield open_


def _moment(day: date, minute: int, zone: tzinfo) -> Micros:
    """When a clock on the wall shows so: the first time where it does twice."""
    days, minute = divmod(minute, 1_440)
    return interval(f"{day + timedelta(days=days)}T{minute // 60:02}:{minute % 60:02}", zone)[0]
