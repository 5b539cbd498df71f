"""What cannot be booked is told in the user's terms, with the element named, and nothing is changed."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.harness import (
    DAY,
    FHIR_JSON,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    issue,
    proposal,
    schedule,
    service,
    to_status,
)

Resource = dict[str, Any]
_MERGE_PATCH = "application/merge-patch+json"
_XML_PATCH = "application/xml-patch+xml"
WAYS = ("put", "json patch", "merge patch", "fhirpath patch", "xml patch", "conditional put", "conditional patch",
        "batch", "transaction", "$book")  # fmt: skip


@pytest.fixture
async def books(clinic: Harness) -> Harness:
    """Two slots of dr-lee on one schedule, one on another that overlaps the first, one of another service."""
    await clinic.seed(
        schedule("two", "Practitioner/dr-lee"),
        clinic.slot("s"),
        clinic.slot("t", 2 * DAY + HOUR),
        clinic.slot("over", 2 * DAY + 15 * MINUTE, schedule="two"),
    )
    return clinic


async def refused(harness: Harness, answer: httpx.Response, status: int, at: str, before: int) -> None:
    """A refusal with this status that names the element, and nothing is stored."""
    assert answer.status_code == status, answer.text
    told = issue(answer)
    assert told.get("expression", [""])[0].startswith(at), told
    assert await harness.versions() == before


def new(status: str, *slots: str, who: str = "Patient/anna", **more: Any) -> Resource:
    made = appointment("", status, "anna", *slots, **more)
    del made["id"]
    if who != "Patient/anna":
        made["participant"] = [{"actor": {"reference": who}, "status": "accepted"}]
    return made


def _times(harness: Harness, start: int, end: int) -> Resource:
    return {"start": harness.at(start), "end": harness.at(end)}


CASES: Mapping[str, tuple[int, str]] = {
    "over": (422, "Appointment.start"),
    "start after end": (422, "Appointment.end"),
    "open, start after end": (422, "Appointment.end"),
    "not the slot's time": (422, "Appointment.start"),
    "no patient": (422, "Appointment.participant"),
    "unknown patient": (422, "Appointment.participant[0].actor"),
    "unknown practitioner": (422, "Appointment.participant[1].actor"),
    "no such slot": (422, "Appointment.slot[0]"),
    "another clinic's slot": (422, "Appointment.slot[0]"),
}


def _bad(harness: Harness, case: str) -> Resource:
    match case:
        case "over":
            return new("booked", **_times(harness, -2 * HOUR, -HOUR))
        case "start after end":
            return new("booked", **_times(harness, 2 * HOUR, HOUR))
        case "open, start after end":
            return new("pending", **_times(harness, 2 * HOUR, HOUR))
        case "not the slot's time":
            return new("booked", "s", **_times(harness, HOUR, 2 * HOUR))
        case "no patient":
            return new("booked", "s", who="Practitioner/dr-lee")
        case "unknown patient":
            return new("booked", "s", who="Patient/nobody")
        case "unknown practitioner":
            made = new("booked", "s")
            made["participant"].append({"actor": {"reference": "Practitioner/nobody"}, "status": "accepted"})
            return made
        case "another clinic's slot":
            return new("booked", "elsewhere")
    return new("booked", "nothing")


@pytest.mark.requirement("R-10.10", "R-8.1", "R-6.1")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["create", "transaction"])
async def test_staff_cannot_book_what_is_wrong(books: Harness, case: str, way: str) -> None:
    await books.seed(schedule("lee", "Practitioner/dr-lee"), books.slot("elsewhere"), tenant="other")
    bad, (status, at), before = _bad(books, case), CASES[case], await books.versions()
    if way == "create":
        answer = await books.create(bad, "sam")
    else:
        entry = {"resource": bad, "request": {"method": "POST", "url": "Appointment"}}
        good = {"resource": new("booked", "t"), "request": {"method": "POST", "url": "Appointment"}}
        body = {"resourceType": "Bundle", "type": "transaction", "entry": [good, entry]}
        answer = await books.send("POST", "", "sam", json_=body)
        at = ""
    await refused(books, answer, status, at, before)


async def _change(harness: Harness, id_: str, way: str, change: Resource, caller: str) -> httpx.Response:
    """A change of primitive elements, by a way of writing."""
    path, current = f"Appointment/{id_}", await harness.stored(f"Appointment/{id_}")
    whole = current | change
    operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in change.items()]
    match way:
        case "put":
            return await harness.put(whole, caller)
        case "conditional put":
            return await harness.send("PUT", f"Appointment?_id={id_}", caller, json_=whole)
        case "merge patch":
            return await harness.patch(path, change, caller, headers={"Content-Type": _MERGE_PATCH})
        case "fhirpath patch":
            return await harness.patch(path, _fhirpath(change), caller, headers={"Content-Type": FHIR_JSON})
        case "xml patch":
            replaced = [f'<replace sel="f:Appointment/f:{n}/@value">{v}</replace>' for n, v in change.items()]
            text = f'<diff xmlns:f="http://hl7.org/fhir">{"".join(replaced)}</diff>'
            return await harness.send("PATCH", path, caller, content=text, headers={"Content-Type": _XML_PATCH})
        case "conditional patch":
            return await harness.patch(f"Appointment?_id={id_}", operations, caller)
        case "batch" | "transaction":
            entry = {"resource": whole, "request": {"method": "PUT", "url": path}}
            body = {"resourceType": "Bundle", "type": way, "entry": [entry]}
            return await harness.send("POST", "", caller, json_=body)
        case "$book":
            given = {"name": "appointment-resource", "resource": whole | {"status": "booked"}}
            body = {"resourceType": "Parameters", "parameter": [given]}
            return await harness.send("POST", "Appointment/$book", caller, json_=body)
    return await harness.patch(path, operations, caller)


def _fhirpath(change: Resource) -> Resource:
    operations = []
    for name, value in change.items():
        kind = "valueCode" if name == "status" else "valueInstant"
        parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"Appointment.{name}"},
                 {"name": "value", kind: value}]  # fmt: skip
        operations.append({"name": "operation", "part": parts})
    return {"resourceType": "Parameters", "parameter": operations}


def _is_refused(answer: httpx.Response) -> bool:
    """By its status, or by what a batch or an operation says."""
    if answer.status_code >= 400:
        return True
    entries = answer.json().get("entry", ())
    outcome = [entry for entry in entries if entry.get("search", {}).get("mode") == "outcome"]
    statuses = [entry["response"]["status"] for entry in entries if "response" in entry]
    return bool(outcome) or any(status.startswith("4") for status in statuses)


@pytest.mark.requirement("R-10.6", "R-8.2")
@pytest.mark.parametrize("status", ["proposed", "pending", "booked"])
@pytest.mark.parametrize("way", WAYS)
async def test_no_way_of_writing_takes_an_appointment_off_its_slots_time(books: Harness, way: str, status: str) -> None:
    """Else its provider's time would be free while the slot is taken, and be booked again on another schedule."""
    made = await books.create(new(status, "s"), "sam")
    assert made.status_code == 201, made.text
    id_ = made.json()["id"]
    before = await books.stored(f"Appointment/{id_}")
    answer = await _change(books, id_, way, _times(books, 5 * DAY, 5 * DAY + HOUR), "sam")
    assert _is_refused(answer), answer.text
    assert await books.stored(f"Appointment/{id_}") == before
    await books.patch(f"Appointment/{id_}", to_status("booked"), "sam")
    assert (await books.create(new("booked", "over", who="Patient/ben"), "sam")).status_code == 409


@pytest.mark.requirement("R-8.2")
async def test_an_open_proposal_that_staff_move_lets_go_of_its_old_slot(harness: Harness) -> None:
    await harness.seed(
        {"resourceType": "Practitioner", "id": "dr-lee"},
        {"resourceType": "Patient", "id": "anna"},
        service("care", hold_minutes=60),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"), harness.slot("t", 3 * DAY),
    )  # fmt: skip
    made = await harness.create(proposal("s"), "anonymous")
    path = f"Appointment/{made.json()['id']}"
    assert (await harness.stored("Slot/s"))["status"] == "busy-tentative"
    moved = [{"op": "replace", "path": "/slot", "value": [{"reference": "Slot/t"}]}]
    answer = await harness.patch(path, moved, "sam")
    assert answer.status_code == 200, answer.text
    assert answer.json()["start"] == harness.at(3 * DAY)
    assert (await harness.stored("Slot/s"))["status"] == "free"
    assert (await harness.create(proposal("s"), "anonymous")).status_code == 201


@pytest.mark.requirement("R-10.6", "R-5.1")
@pytest.mark.parametrize("way", ["create", "participant"])
async def test_who_was_merged_is_not_booked_under_the_old_name(books: Harness, way: str) -> None:
    """Else one person could be in two places, under two names."""
    people = {"source-patient": "Patient/anna", "target-patient": "Patient/ben"}
    parts = [{"name": name, "valueReference": {"reference": value}} for name, value in people.items()]
    merged = await books.send("POST", "Patient/$merge", "sam", json_={"resourceType": "Parameters", "parameter": parts})
    assert merged.status_code == 200, merged.text
    assert (await books.create(new("booked", "s", who="Patient/ben"), "sam")).status_code == 201
    before = await books.versions()
    if way == "create":
        answer = await books.create(new("booked", "over"), "sam")
        await refused(books, answer, 422, "Appointment.participant[0].actor", before)
        assert "Patient/ben" in answer.text
        return
    path = (await books.get("Appointment?status=booked", "sam")).json()["entry"][0]["resource"]["id"]
    added = [{"op": "add", "path": "/participant/-",
              "value": {"actor": {"reference": "Patient/anna"}, "status": "accepted"}}]  # fmt: skip
    await refused(books, await books.patch(f"Appointment/{path}", added, "sam"), 422, "Appointment.participant", before)


@pytest.mark.requirement("R-10.10")
async def test_a_wrong_version_and_an_expired_proposal_are_told(books: Harness) -> None:
    made = await books.create(proposal("s"), "anonymous")
    path, before = f"Appointment/{made.json()['id']}", await books.versions()
    stale = await books.patch(path, to_status("booked"), headers={"If-Match": 'W/"7"'})
    await refused(books, stale, 412, "", before)
    books.clock.advance(3 * DAY)
    await refused(books, await books.patch(path, to_status("booked")), 422, "Appointment.status", before)
