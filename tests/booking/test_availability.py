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
from tests.harness import DAY, HOUR, NOW, Harness, practitioner, schedule, service

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
