"""Slots from opening hours (booking/availability.py, generate.py, closing.py)."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.booking.availability import Hours, pieces
from tests.harness import (
    DAY,
    HOUR,
    NOW,
    Harness,
    appointment,
    cared_for,
    practitioner,
    schedule,
    service,
)

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = {"daysOfWeek": ["sun"], "availableStartTime": "01:00:00", "availableEndTime": "05:00:00"}


def made(hours: Hours, first: date, last: date, minutes: int = 30) -> list[str]:
    return [f"{piece.start:%d %H:%M}" for piece in pieces(hours, first, last, minutes, BERLIN)]


def test_hour_that_the_clocks_skip_is_not_there() -> None:
    """2027-03-28: 02:00 to 03:00 does not happen in Berlin."""
    day = date(2027, 3, 28)
    assert made(Hours([NIGHT], []), day, day) == [
        "28 00:00",
        "28 00:30",
        "28 01:00",
        "28 01:30",
        "28 02:00",
        "28 02:30",
    ]


def test_hour_that_the_clocks_repeat_is_offered_once() -> None:
    """2026-10-25: 02:00 to 03:00 happens twice in Berlin; the first is offered."""
    day = date(2026, 10, 25)
    found = made(Hours([NIGHT], []), day, day)
    assert found == ["24 23:00", "24 23:30", "25 00:00", "25 00:30", "25 02:00", "25 02:30", "25 03:00", "25 03:30"]


def test_absence_and_days_are_left_out() -> None:
    hours = {"daysOfWeek": ["mon", "tue"], "availableStartTime": "09:00:00", "availableEndTime": "10:10:00"}
    absent = {"description": "away", "during": {"start": "2027-03-02", "end": "2027-03-02"}}
    assert made(Hours([hours], [absent]), date(2027, 3, 1), date(2027, 3, 7)) == ["01 08:00", "01 08:30"]


def test_hours_whose_end_the_clocks_skip_end_there() -> None:
    """2027-03-28 in Berlin: hours until 02:30 end at 02:00, which is 03:00; nothing goes on until 03:20."""
    day = date(2027, 3, 28)
    until = {"availableStartTime": "01:20:00", "availableEndTime": "02:30:00"}
    assert made(Hours([until], []), day, day, 60) == []
    assert made(Hours([until], []), day, day, 40) == ["28 00:20"]


def test_half_an_hour_that_the_clocks_skip_or_repeat() -> None:
    """Lord Howe: 02:00 to 02:30 does not happen on 2026-10-04, 01:30 to 02:00 happens twice on 2026-04-05."""
    zone, hours = ZoneInfo("Australia/Lord_Howe"), {"availableStartTime": "01:00:00", "availableEndTime": "04:00:00"}
    for day, shown in (
        (date(2026, 10, 4), ["01:00", "01:30", "02:30", "03:00", "03:30"]),
        (date(2026, 4, 5), ["01:00", "01:30", "02:00", "02:30", "03:00", "03:30"]),
    ):
        found = list(pieces(Hours([hours], []), day, day, 30, zone))
        assert [f"{piece.start.astimezone(zone):%H:%M}" for piece in found] == shown
        assert all(one.end <= two.start for one, two in pairwise(found))


@pytest.mark.parametrize(
    ("end", "last"),
    [("00:00:00", "05 21:30"), ("23:59:59", "05 21:30"), ("23:59:00", "05 21:00"), ("02:00:00", "05 21:30")],
)
def test_hours_may_end_at_midnight_or_on_the_next_day(end: str, last: str) -> None:
    hours = {"availableStartTime": "22:00:00", "availableEndTime": end}
    assert made(Hours([hours], []), date(2026, 6, 5), date(2026, 6, 5))[-1] == last


def test_each_piece_of_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    """Days that are made one by one give what they give together; a night of Friday reaches into Saturday."""
    hours = Hours([{"daysOfWeek": ["fri"], "availableStartTime": "22:15:00", "availableEndTime": "06:00:00"}], [])
    friday, saturday, sunday = (date(2026, 10, day) for day in (23, 24, 25))
    whole = made(hours, friday, sunday)
    assert whole == [*made(hours, friday, friday), *made(hours, saturday, saturday), *made(hours, sunday, sunday)]
    assert whole[3:5] == ["23 21:45", "23 22:15"]  # one begins before midnight, and ends after it
    assert (len(whole), made(hours, sunday, sunday)) == (15, [])


def test_leap_day_and_seconds() -> None:
    hours = {"availableStartTime": "09:00:30", "availableEndTime": "10:01:30"}
    assert made(Hours([hours], []), date(2028, 2, 28), date(2028, 3, 1)) == [
        "28 08:01", "28 08:31", "29 08:01", "29 08:31", "01 08:01", "01 08:31",
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin"])
def test_an_absence_may_reach_to_the_ends_of_the_calendar(zone: str) -> None:
    hours = {"availableStartTime": "09:00:00", "availableEndTime": "10:00:00"}
    day = date(2026, 6, 5)
    for start, end, count in (("0001-01-01", "2026-06-04", 2), ("2026-06-06", "9999-12-31", 2), ("0001", "9999", 0)):
        absent = {"description": "away", "during": {"start": start, "end": end}}
        assert len(list(pieces(Hours([hours], [absent]), day, day, 30, ZoneInfo(zone)))) == count


@given(
    day=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    minutes=st.integers(5, 240),
    times=st.lists(
        st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59)), max_size=4
    ),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_no_piece_overlaps_another_or_is_cut_short(day: date, minutes: int, times: Any, zone: str) -> None:
    available = [
        {"availableStartTime": f"{a:02}:{b:02}:00", "availableEndTime": f"{c:02}:{d:02}:00"} for a, b, c, d in times
    ]
    found = list(pieces(Hours(available, []), day, day, minutes, ZoneInfo(zone)))
    assert all((piece.end - piece.start).total_seconds() == minutes * 60 for piece in found)
    assert all(one.end <= two.start for one, two in pairwise(found))


def _parameters(kind: str, start: str, end: str) -> dict[str, Any]:
    values = [
        ("schedule", {"valueReference": {"reference": "Schedule/lee"}}),
        ("start", {kind: start}),
        ("end", {kind: end}),
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": name, **value} for name, value in values]}


def _counts(answer: httpx.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    return {part["name"]: part["valueInteger"] for part in answer.json()["parameter"]}


async def _prepare(harness: Harness) -> tuple[str, str]:
    role = {"resourceType": "PractitionerRole", "id": "lee", "practitioner": {"reference": "Practitioner/dr-lee"}}
    role["availableTime"] = [{"availableStartTime": "09:00:00", "availableEndTime": "11:00:00"}]
    await harness.seed(
        practitioner("dr-lee"),
        service("care", duration_minutes=60),
        role,
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
    )
    first = datetime.fromtimestamp((NOW + DAY) / 1_000_000, UTC).date()
    return first.isoformat(), date.fromordinal(first.toordinal() + 1).isoformat()


async def _send(harness: Harness, name: str, body: Any, caller: str = "dr-lee") -> httpx.Response:
    return await harness.send("POST", f"Schedule/${name}", caller, json_=body)


@pytest.mark.requirement("R-7.15")
async def test_slots_are_made_once_and_never_over_others(harness: Harness) -> None:
    days = await _prepare(harness)
    body = _parameters("valueDate", *days)
    start = int(datetime.fromisoformat(f"{days[0]}T09:30:00").replace(tzinfo=BERLIN).timestamp()) * 1_000_000
    await harness.seed(harness.slot("own", start - NOW, status="busy-unavailable"))
    assert _counts(await _send(harness, "generate-slots", body)) == {"made": 3, "there": 0, "left-out": 1}
    versions = await harness.versions()
    assert _counts(await _send(harness, "generate-slots", body)) == {"made": 0, "there": 3, "left-out": 1}
    assert await harness.versions() == versions
    assert (await _send(harness, "generate-slots", body, "anna")).status_code == 403


@pytest.mark.requirement("R-7.15")
async def test_closed_range_is_not_bookable_until_reopened(harness: Harness) -> None:
    days = await _prepare(harness)
    await _send(harness, "generate-slots", _parameters("valueDate", *days))
    body = _parameters("valueDateTime", harness.at(0), harness.at(9 * DAY + HOUR))
    assert _counts(await _send(harness, "close", body)) == {"closed": 4, "taken": 0}
    assert (await harness.get("Slot?status=free")).json()["total"] == 0
    assert _counts(await _send(harness, "reopen", body)) == {"reopened": 4}
    assert (await harness.get("Slot?status=free")).json()["total"] == 4


@pytest.mark.requirement("R-7.15")
async def test_no_slot_is_made_over_one_of_the_evening_before(harness: Harness) -> None:
    """What reaches over midnight into the first day, and what lasts for weeks, is seen too."""
    await _prepare(harness)
    role = {"resourceType": "PractitionerRole", "id": "lee", "practitioner": {"reference": "Practitioner/dr-lee"}}
    evening = {"start": "2027-02-01T23:45:00+01:00", "end": "2027-02-02T00:15:00+01:00"}
    weeks = {"start": "2027-02-02T22:00:00+01:00", "end": "2027-03-01T00:00:00+01:00", "status": "busy-unavailable"}
    await harness.seed(
        role | {"availableTime": [{"allDay": True}]},
        harness.slot("evening") | evening,
        harness.slot("weeks") | weeks,
    )
    answer = await _send(harness, "generate-slots", _parameters("valueDate", "2027-02-02", "2027-02-02"))
    assert _counts(answer) == {"made": 21, "there": 0, "left-out": 3}
    answer = await _send(harness, "generate-slots", _parameters("valueDate", "2027-02-10", "2027-02-10"))
    assert _counts(answer) == {"made": 0, "there": 0, "left-out": 24}


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_days_at_the_ends_of_the_calendar_are_refused(harness: Harness, day: str) -> None:
    await _prepare(harness)
    answer = await _send(harness, "generate-slots", _parameters("valueDate", day, day))
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["start"])


@pytest.mark.requirement("R-7.15")
async def test_reopening_frees_all_that_closing_the_same_range_closed(harness: Harness) -> None:
    """A range may be whole days; a slot that reaches into it over midnight is closed and reopened too."""
    await _prepare(harness)
    await harness.seed(
        harness.slot("1") | {"start": "2027-02-01T23:45:00+01:00", "end": "2027-02-02T00:15:00+01:00"},
        harness.slot("2") | {"start": "2027-02-02T23:30:00+01:00", "end": "2027-02-03T00:00:00+01:00"},
        harness.slot("3") | {"start": "2027-02-03T00:00:00+01:00", "end": "2027-02-03T00:30:00+01:00"},
    )
    body = _parameters("valueDateTime", "2027-02-02", "2027-02-02")
    assert _counts(await _send(harness, "close", body)) == {"closed": 2, "taken": 0}
    assert _counts(await _send(harness, "reopen", body)) == {"reopened": 2}
    assert (await harness.get("Slot?status=free")).json()["total"] == 3


@pytest.mark.parametrize("type_", ["Slot", "Appointment"])
async def test_what_lasts_longer_than_a_year_is_refused(harness: Harness, type_: str) -> None:
    """Every day of it would be looked at, of everybody who takes part."""
    await _prepare(harness)
    await harness.seed(practitioner("dr-kim"), cared_for("anna"))
    for start, end in (
        ("2027-02-01T00:00:00Z", "2527-02-01T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
    ):
        time = {"start": start, "end": end}
        whole = harness.slot("s") if type_ == "Slot" else appointment("a", "booked") | {"id": None}
        made = {name: value for name, value in (whole | time).items() if value is not None}
        answer = await (harness.put(made) if type_ == "Slot" else harness.create(made, "sam"))
        assert answer.status_code == 422, answer.text
        assert answer.json()["issue"][0]["expression"] == [f"{type_}.end"]


@pytest.mark.requirement("R-7.15")
async def test_more_slots_than_one_call_makes_or_closes_are_refused(harness: Harness) -> None:
    """A store takes back whole what one call did; without the bound a year in one call was too much for one of them."""
    await _prepare(harness)
    role = {"resourceType": "PractitionerRole", "id": "lee", "practitioner": {"reference": "Practitioner/dr-lee"}}
    await harness.seed(role | {"availableTime": [{"allDay": True}]})
    half, whole = (_parameters("valueDate", "2027-02-01", last) for last in ("2027-02-21", "2027-03-14"))
    answer = await _send(harness, "generate-slots", whole)
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["end"])
    assert (await harness.get("Slot?_summary=count")).json()["total"] == 0
    assert _counts(await _send(harness, "generate-slots", half)) == {"made": 504, "there": 0, "left-out": 0}
    assert _counts(await _send(harness, "generate-slots", whole)) == {"made": 504, "there": 504, "left-out": 0}
    closed = await _send(harness, "close", _parameters("valueDateTime", "2027", "2027"))
    assert (closed.status_code, closed.json()["issue"][0]["expression"]) == (422, ["end"])
    assert (await harness.get("Slot?status=free&_summary=count")).json()["total"] == 1_008
