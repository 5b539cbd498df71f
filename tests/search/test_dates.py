"""Dates as intervals, and every prefix × precision (FHIR R4 search.html#date, #prefix)."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.dates import EARLIEST, LATEST, interval
from fhir_server.search.extract import Extractor
from fhir_server.search.matches import matches
from fhir_server.search.parameters import Registry
from fhir_server.search.parse import Parser
from profiles.definitions import load

BERLIN = ZoneInfo("Europe/Berlin")
SECOND = 1_000_000
DAY = 86_400 * SECOND


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [
        ("2026", "2025-12-31T23:00Z", "2026-12-31T23:00Z"),
        ("2026-03", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("2026-12", "2026-11-30T23:00Z", "2026-12-31T23:00Z"),
        ("2026-03-29", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("2026-03-29T10:15", "2026-03-29T08:15Z", "2026-03-29T08:16Z"),
        ("2026-03-29T10:15:30", "2026-03-29T08:15:30Z", "2026-03-29T08:15:31Z"),
        ("2026-03-29T10:15Z", "2026-03-29T10:15Z", "2026-03-29T10:16Z"),
        ("2026-03-29T10:15:30Z", "2026-03-29T10:15:30Z", "2026-03-29T10:15:31Z"),
        ("2026-03-29T10:15:30.5Z", "2026-03-29T10:15:30.500Z", "2026-03-29T10:15:30.600Z"),
        ("2026-03-29T10:15:30.123-05:00", "2026-03-29T15:15:30.123Z", "2026-03-29T15:15:30.124Z"),
        ("2026-03-29T10:15:30.1234567+14:00", "2026-03-28T20:15:30.123456Z", "2026-03-28T20:15:30.123457Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
        # 02:30 is shown twice on 2026-10-25; the earlier is meant. On 2026-03-29 it is not shown at all.
        ("2026-10-25T02:30:00", "2026-10-25T00:30Z", "2026-10-25T00:30:01Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30Z", "2026-03-29T01:30:01Z"),
    ],
)
def test_a_date_is_as_wide_as_it_is_precise(text: str, lo: str, hi: str) -> None:
    """A date without a zone is read in the clinic's."""
    assert interval(text, BERLIN) == (micros(lo), micros(hi))


@pytest.mark.parametrize("text", ["0001", "0001-01-01", "9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59.999"])
@pytest.mark.parametrize("zone", [UTC, BERLIN, ZoneInfo("Pacific/Kiritimati"), timezone(timedelta(hours=-12))])
def test_the_ends_of_the_calendar_are_dates(text: str, zone: timezone) -> None:
    lo, hi = interval(text, zone)
    assert EARLIEST < lo < hi < LATEST


@pytest.mark.parametrize(
    "text",
    [
        "", "26", "2026-1", "2026-13", "2026-00", "2026-02-30", "2025-02-29", "2026-01-01T", "2026-01-01T10",
        "2026-01-01T24:00", "2026-01-01T10:60", "2026-01-01T10:00:61", "2026-01-01 10:00", "2026-01-01T10:00:00.Z",
        "2026-01-01Z", "2026-01-01T10:00+15:00", "2026-01-01T10:00:00+1:00", "0000", "２０２６", "2026-01-01T10:00:00z",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        interval(text, BERLIN)


@given(st.datetimes(timezones=st.timezones()), st.timezones())
def test_an_instant_means_the_same_everywhere(moment: datetime, zone: ZoneInfo) -> None:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)
    assert interval(text, zone) == interval(text, UTC)


@given(st.dates(), st.timezones())
def test_days_follow_each_other_without_gap(day: datetime, zone: ZoneInfo) -> None:
    if day.toordinal() < 3652058:
        following = day + timedelta(days=1)
        assert interval(day.isoformat(), zone)[1] == interval(following.isoformat(), zone)[0]


# Stored value -> interval; sought precision -> (text, and what each prefix says to each stored value).
STORED = {
    "year": "2026",
    "month before": "2026-02",
    "month": "2026-03",
    "month after": "2026-04",
    "day before": "2026-03-09",
    "day": "2026-03-10",
    "day after": "2026-03-11",
    "second before": "2026-03-10T11:59:59Z",
    "second": "2026-03-10T12:00:00Z",
    "second after": "2026-03-10T12:00:01Z",
    "millisecond": "2026-03-10T12:00:00.500Z",
}
SOUGHT = {"year": "2026", "month": "2026-03", "day": "2026-03-10", "second": "2026-03-10T12:00:00Z"}
# Written from the text of the specification, by hand: precision -> prefix -> the stored values that match.
_ALL = set(STORED)
_INSIDE_MONTH = {
    "month", "day before", "day", "day after", "second before", "second", "second after", "millisecond",
}  # fmt: skip
_INSIDE_DAY = {"day", "second before", "second", "second after", "millisecond"}
TRUTH: dict[str, dict[str, set[str]]] = {
    "year": {
        "eq": _ALL, "ne": set(), "gt": set(), "lt": set(), "ge": _ALL, "le": _ALL, "sa": set(), "eb": set(), "ap": _ALL,
    },
    "month": {
        "eq": _INSIDE_MONTH,
        "ne": {"year", "month before", "month after"},
        "gt": {"year", "month after"},
        "lt": {"year", "month before"},
        "ge": _INSIDE_MONTH | {"year", "month after"},
        "le": _INSIDE_MONTH | {"year", "month before"},
        "sa": {"month after"},
        "eb": {"month before"},
        "ap": _ALL - {"month before", "month after"},
    },
    "day": {
        "eq": _INSIDE_DAY,
        "ne": _ALL - _INSIDE_DAY,
        "gt": {"year", "month", "month after", "day after"},
        "lt": {"year", "month", "month before", "day before"},
        "ge": _INSIDE_DAY | {"year", "month", "month after", "day after"},
        "le": _INSIDE_DAY | {"year", "month", "month before", "day before"},
        "sa": {"month after", "day after"},
        "eb": {"month before", "day before"},
        "ap": _ALL - {"month before", "month after", "day before", "day after"},
    },
    "second": {
        "eq": {"second", "millisecond"},
        "ne": _ALL - {"second", "millisecond"},
        "gt": {"year", "month", "month after", "day", "day after", "second after"},
        "lt": {"year", "month", "month before", "day", "day before", "second before"},
        "ge": {"year", "month", "month after", "day", "day after", "second after", "second", "millisecond"},
        "le": {"year", "month", "month before", "day", "day before", "second before", "second", "millisecond"},
        "sa": {"month after", "day after", "second after"},
        "eb": {"month before", "day before", "second before"},
        "ap": {"year", "month", "day", "second", "millisecond"},
    },
}  # fmt: skip

REGISTRY = Registry(load())
EXTRACTOR = Extractor(REGISTRY)


@pytest.mark.parametrize("precision", SOUGHT)
@pytest.mark.parametrize("prefix", ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
@pytest.mark.parametrize(
    ("type_", "param", "element"), [("Encounter", "date", "period"), ("Composition", "date", "date")]
)
def test_prefix_and_precision(precision: str, prefix: str, type_: str, param: str, element: str) -> None:
    """Every prefix × sought precision × stored precision; `now` is the sought moment, so `ap` is not widened."""
    now = interval(SOUGHT["second"])[0]
    where = Parser(REGISTRY).parse(type_, [(param, prefix + SOUGHT[precision])], now).where
    found = set()
    for name, text in STORED.items():
        value = {"start": text, "end": text} if element == "period" else text
        if matches(where, EXTRACTOR.entries({"resourceType": type_, element: value})):
            found.add(name)
    assert found == TRUTH[precision][prefix or "eq"]


def test_approximately_widens_by_a_tenth_of_the_distance() -> None:
    """100 days ago, 10 days either way."""
    now = micros("2026-04-11T00:00Z")
    where = Parser(REGISTRY).parse("Composition", [("date", "ap2026-01-01T00:00:00Z")], now).where

    def found(text: str) -> bool:
        return matches(where, EXTRACTOR.entries({"resourceType": "Composition", "date": text}))

    assert [found(f"2025-12-{day}") for day in (20, 21, 22, 23)] == [False, False, True, True]
    assert [found(f"2026-01-{day}") for day in ("09", "10", "11", "12")] == [True, True, True, False]
