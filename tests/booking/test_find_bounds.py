"""What Appointment/$find, $hold and $book are asked that nobody means: named and refused, at the cost of a refusal."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.booking.clinic_rules import ClinicRules
from fhir_server.booking.combining import together
from fhir_server.booking.wanted import WantedSlot
from fhir_server.store.protocol import Stored
from tests.booking.test_find_hold_book import find, offers, parameters, prepare, ref
from tests.harness import DAY, FHIR_JSON, HOUR, MINUTE, Harness, issue, practitioner, schedule


def timing(**repeat: Any) -> dict[str, Any]:
    return {"valueTiming": {"repeat": repeat}}


async def between(harness: Harness, start: str, end: str, count: int = 100, **more: Any) -> Any:
    body = parameters(start={"valueDateTime": start}, end={"valueDateTime": end}, **more)
    body["parameter"].append({"name": "_count", "valueInteger": count})
    return await harness.send("POST", "Appointment/$find", json_=body)


async def test_the_ends_of_the_calendar_are_found_empty(harness: Harness) -> None:
    await prepare(harness)
    ends = (
        ("9999-12-20", "9999-12-31T23:59:59Z"),
        ("9999-12-20", "9999-12-31T23:59:59-12:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00Z"),
    )
    for repeat in ({"dayOfWeek": ["mon"]}, {"when": ["NIGHT"]}, {"timeOfDay": ["23:59:00"]}):
        for start, end in ends:
            assert offers(await between(harness, start, end, timing=timing(**repeat))) == []
    year = await between(harness, "9999", "9999", timing=timing(when=["NIGHT"]))
    assert (year.status_code, issue(year)["code"]) == (400, "too-costly")


async def test_a_duration_has_its_bounds(harness: Harness) -> None:
    await prepare(harness)
    times = {"start": {"valueDateTime": harness.at(0)}, "end": {"valueDateTime": harness.at(9 * DAY)}}
    whole = json.dumps(parameters(**times, timing=timing(duration=0.5, durationUnit="d")))
    no_decimal = (422, "Parameters.parameter[2].value.repeat.duration")  # beyond what a resource may say
    refused = dict.fromkeys(("-30", "1e300", "367"), (400, "timing.repeat.duration"))
    for duration, (status, at) in (refused | dict.fromkeys(("1e9999999", "-1e-9999999"), no_decimal)).items():
        content, headers = whole.replace("0.5", duration), {"Content-Type": FHIR_JSON}
        answer = await harness.send("POST", "Appointment/$find", content=content, headers=headers)
        assert (answer.status_code, issue(answer)["expression"]) == (status, [at]), answer.text


async def test_so_many_times_are_asked_for_and_no_more(harness: Harness) -> None:
    """Each would be a condition on the store. Those that are one, or outside of the time searched, do not count."""
    await prepare(harness)
    lee = ref("Practitioner/dr-lee")
    apart = [harness.at(2 * DAY + n * 2 * MINUTE) for n in range(201)]
    answer = await find(harness, practitioner=lee, timing={"valueTiming": {"event": apart}})
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["timing.event"])
    for events in (apart[:200], apart[:1] * 1_000, [*apart[:100], *(harness.at(-n * DAY) for n in range(1, 500))]):
        assert len(offers(await find(harness, practitioner=lee, timing={"valueTiming": {"event": events}}))) > 0
    parts = {"event": apart[:150], "repeat": {"timeOfDay": [f"{n:02}:{m:02}:00" for n in range(24) for m in (0, 30)]}}
    answer = await find(harness, timing={"valueTiming": parts})
    assert answer.status_code == 200


async def test_a_day_that_ends_the_search_belongs_to_it(harness: Harness) -> None:
    """As in a Period; a moment that ends it does not."""
    await prepare(harness)
    day = datetime.fromisoformat(harness.at(2 * DAY)).astimezone(ZoneInfo("Europe/Berlin")).date().isoformat()
    lee = ref("Practitioner/dr-lee")
    assert len(offers(await between(harness, day, day, practitioner=lee))) == 5
    assert len(offers(await between(harness, day[:7], day[:7], practitioner=lee))) == 5
    last = harness.at(2 * DAY + 4 * HOUR)
    assert len(offers(await between(harness, day, last, practitioner=lee))) == 4
    assert (await between(harness, last, last)).status_code == 400


async def test_a_count_is_a_whole_number(harness: Harness) -> None:
    for text in ("x", "", "-1", "1_0", "٣", "+3", "1.0", "9" * 5_000):
        params = {"start": "2027", "end": "2028", "_count": text}
        answer = await harness.http.get("/demo/fhir/Appointment/$find", params=params)
        assert (answer.status_code, issue(answer)["expression"]) == (400, ["_count"])


@pytest.mark.parametrize("operation", ["$find", "$hold", "$book"])
async def test_malformed_parameters_are_refused_by_status(harness: Harness, operation: str) -> None:
    """Only what could be tried is answered with 200 and what came of it."""
    for given in ({}, [5], [{"name": 5}], [{"name": "start", "valueDateTime": "2027-02-30"}]):
        body = {"resourceType": "Parameters", "parameter": given}
        answer = await harness.send("POST", f"Appointment/{operation}", "sam", json_=body)
        assert answer.status_code == 422, answer.text
        assert issue(answer)["expression"][0].startswith("Parameters.parameter")


async def test_combinations_of_many_schedules_are_bounded(harness: Harness) -> None:
    """30 practitioners, rooms and devices at one time: 27,000 combinations, of which 5,000 are looked at."""
    kinds = {"Practitioner": "p", "Location": "l", "Device": "d"}
    for n in range(30):
        for type_, letter in kinds.items():
            actor = practitioner(f"{letter}{n}") if letter == "p" else {"resourceType": type_, "id": f"{letter}{n}"}
            await harness.seed(actor, schedule(f"{letter}{n}", f"{type_}/{letter}{n}"))
            await harness.seed(harness.slot(f"{letter}{n}", schedule=f"{letter}{n}"))
    asked = {
        name: [ref(f"{type_}/{kinds[type_]}{n}") for n in range(30)]
        for name, type_ in (("practitioner", "Practitioner"), ("location_reference", "Location"), ("device", "Device"))
    }
    few = {name: references[:10] for name, references in asked.items()}
    for question in (few, asked):
        found = offers(await find(harness, count=5, **question))
        assert len(found) == 5
        assert all(len(offer["slot"]) == 3 for offer in found)
    assert (await find(harness, count=0, **few)).json()["total"] == 1_000
    assert (await find(harness, count=0, **asked)).json()["total"] == 5_000


def test_so_many_combinations_of_one_time_are_tried_and_no_more() -> None:
    """300 of each kind: 27,000,000 combinations. Who brings all kinds alone is found first."""
    kinds = frozenset({"device", "location", "practitioner"})

    def slot(n: int) -> WantedSlot:
        return WantedSlot(Stored("Slot", str(n), 1, 0, b"", n), {}, {}, ClinicRules(), "")

    each = [(frozenset({kind}), slot(300 * m + n)) for m, kind in enumerate(sorted(kinds)) for n in range(300)]
    made = list(together(kinds, [*each, (kinds, slot(900))]))
    sets = {tuple(chosen.stored.id for chosen in slots) for slots in made}
    assert 19_000 < len(sets) == len(made) <= 20_000
    assert [chosen.stored.id for chosen in made[0]] == ["900"]


async def test_a_time_of_day_that_the_clocks_skip_is_no_other(harness: Harness) -> None:
    """2027-03-28 in Berlin: nothing begins at 02:30, and the slot of 03:30 is not taken for it."""
    await prepare(harness)
    await harness.seed(
        harness.slot("gap") | {"start": "2027-03-28T03:30:00+02:00", "end": "2027-03-28T04:00:00+02:00"},
        harness.slot("day") | {"start": "2027-03-29T02:30:00+02:00", "end": "2027-03-29T03:00:00+02:00"},
    )
    for at, slots in (("02:30:00", ["Slot/day"]), ("03:30:00", ["Slot/gap"])):
        answer = await between(harness, "2027-03-27", "2027-03-30", timing=timing(timeOfDay=[at]))
        assert [offer["slot"][0]["reference"] for offer in offers(answer)] == slots


async def test_find_over_the_day_of_a_change_gives_each_slot_once(harness: Harness) -> None:
    """2026-10-25 and 2027-03-28 in Berlin: by whole days, by weekday and by night, none twice and none missing."""
    await prepare(harness)
    moment = int(datetime.fromisoformat("2027-03-27T22:00:00+00:00").timestamp()) * 1_000_000 - harness.clock.now
    await harness.seed(*(harness.slot(f"n{n}", moment + n * HOUR) for n in range(27)))
    seen = []
    for day, count in (("2027-03-27", 1), ("2027-03-28", 23), ("2027-03-29", 3)):
        found = offers(await between(harness, day, day))
        assert len(found) == count
        seen += [offer["start"] for offer in found]
    assert len(set(seen)) == 27
    sunday = timing(dayOfWeek=["sun"])
    found = offers(await between(harness, "2027-03-27", "2027-03-29", timing=sunday))
    assert [offer["start"] for offer in found] == seen[1:24]
    night = offers(await between(harness, "2027-03-28", "2027-03-28", timing=timing(when=["NIGHT"])))
    assert len(night) == 5 + 2
