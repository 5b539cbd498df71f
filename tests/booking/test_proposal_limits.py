"""What bounds a proposal: expiry, open proposals, rate, contest, decline, day limit, buffers, override."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.booking import sweeper
from fhir_server.fhir import own
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    issue,
    make_harness,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)


async def prepare(harness: Harness, **rules: Any) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        patient("anna"),
        patient("ben"),
        service("care", **rules),
        schedule("s", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("t", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("1", 2 * DAY, schedule="s"),
        harness.slot("2", 2 * DAY + 30 * MINUTE, schedule="s"),
        harness.slot("3", 3 * DAY, schedule="s"),
        harness.slot("t1", 2 * DAY + 10 * MINUTE, schedule="t"),
    )


async def propose(harness: Harness, slot: str = "1", caller: str = "anonymous") -> str:
    answer = await harness.create(proposal(slot), caller)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def tags(resource: dict[str, Any]) -> list[str]:
    return [tag["code"] for tag in resource["meta"].get("tag", ()) if tag["system"] == own.BOOKING]


async def book(harness: Harness, id_: str, caller: str = "dr-lee") -> httpx.Response:
    return await harness.patch(f"Appointment/{id_}", to_status("booked"), caller)


@pytest.mark.requirement("R-10.7")
async def test_expired_proposal_is_cancelled_and_audited(harness: Harness) -> None:
    await prepare(harness, proposal_expiry_hours=2)
    id_ = await propose(harness)
    harness.clock.advance(2 * HOUR)
    refused = await book(harness, id_)
    assert refused.status_code == 422, refused.text
    assert "expired" in issue(refused)["diagnostics"]
    assert await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo")) == 1
    ended = await harness.stored(f"Appointment/{id_}")
    assert ended["status"] == "cancelled"
    assert ended["cancelationReason"]["coding"][0]["code"] == "expired"
    assert [e.rule for e in await harness.events() if e.client == "server"] == ["R-10.7 proposal expired"]


async def test_proposal_ends_when_its_time_begins(harness: Harness) -> None:
    await prepare(harness)
    id_ = await propose(harness)
    harness.clock.advance(2 * DAY)
    assert (await book(harness, id_)).status_code == 422


async def test_client_cannot_set_when_its_proposal_ends(harness: Harness) -> None:
    """Extensions of the server are the server's."""
    await prepare(harness)
    far = [{"url": own.EXPIRES, "valueInstant": harness.at(900 * DAY)}]
    made = await harness.create(appointment("x", "proposed", "anna", "1", extension=far), "dr-lee")
    assert made.status_code == 201, made.text
    assert made.json()["extension"] == [{"url": own.EXPIRES, "valueInstant": harness.at(2 * DAY)}]


@pytest.mark.requirement("R-10.5")
async def test_contested_proposals_are_marked_and_unmarked(harness: Harness) -> None:
    await prepare(harness)
    first = await propose(harness)
    assert tags(await harness.stored(f"Appointment/{first}")) == []
    second = await propose(harness)
    assert tags(await harness.stored(f"Appointment/{first}")) == ["contested"]
    assert tags(await harness.stored(f"Appointment/{second}")) == ["contested"]
    others = await harness.get(f"Appointment/{first}/$conflicts", "dr-lee")
    assert [entry["resource"]["id"] for entry in others.json()["entry"]] == [second]
    assert (await harness.get(f"Appointment/{first}/$conflicts")).status_code in (403, 404)
    declined = await harness.patch(f"Appointment/{second}", to_status("cancelled"))
    assert declined.status_code == 200, declined.text
    assert tags(await harness.stored(f"Appointment/{first}")) == []


@pytest.mark.requirement("R-10.5")
async def test_confirming_one_leaves_the_other_proposed_and_marked(harness: Harness) -> None:
    await prepare(harness)
    first, second = await propose(harness), await propose(harness)
    assert (await book(harness, first)).status_code == 200
    left = await harness.stored(f"Appointment/{second}")
    assert (left["status"], tags(left)) == ("proposed", ["contested"])
    assert (await book(harness, second)).status_code == 409


async def test_wanting_one_provider_at_once_is_contested(harness: Harness) -> None:
    await prepare(harness)
    first, second = await propose(harness, "1"), await propose(harness, "t1")
    for id_ in (first, second):
        assert tags(await harness.stored(f"Appointment/{id_}")) == ["contested"]


@pytest.mark.requirement("R-4.5")
async def test_decline_needs_a_reason_and_declines_for_the_provider(harness: Harness) -> None:
    await prepare(harness)
    id_ = await propose(harness)
    refused = await harness.patch(f"Appointment/{id_}", to_status("cancelled")[:1])
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Appointment.cancelationReason"]
    answer = await harness.patch(f"Appointment/{id_}", to_status("cancelled"))
    statuses = {p["actor"]["reference"].split("/")[0]: p["status"] for p in answer.json()["participant"]}
    assert statuses["Practitioner"] == "declined"


async def test_open_proposals_of_one_address_are_limited(harness: Harness) -> None:
    await prepare(harness, open_proposals=1)
    first = await propose(harness)
    refused = await harness.create(proposal("3"), "anonymous")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    await harness.patch(f"Appointment/{first}", to_status("cancelled"))
    await propose(harness, "3")


async def test_open_proposals_of_a_patient_are_limited(harness: Harness) -> None:
    await prepare(harness, open_proposals=1)
    own_proposal = {"resourceType": "Appointment", "status": "proposed", "participant": []}
    for slot, status in (("1", 201), ("3", 429)):
        wanted = own_proposal | {"slot": [{"reference": f"Slot/{slot}"}]}
        wanted["participant"] = [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]
        assert (await harness.create(wanted, "anna")).status_code == status


async def test_rate_of_an_address_is_limited_for_an_hour(store_kind: str, tmp_path: Path) -> None:
    harness = await make_harness(store_kind, tmp_path, proposals_per_hour=2)
    async with harness.http:
        await prepare(harness)
        await propose(harness)
        await propose(harness, "2")
        refused = await harness.create(proposal("3"), "anonymous")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 3_601
        harness.clock.advance(HOUR)
        await propose(harness, "3")
    await harness.parts.store.close()


async def test_day_of_a_provider_has_its_limit(harness: Harness) -> None:
    await prepare(harness, daily_limit=1)
    first, second = await propose(harness, "1"), await propose(harness, "2")
    assert (await book(harness, first)).status_code == 200
    assert (await book(harness, second)).status_code == 409
    assert (await harness.create(proposal("2"), "anonymous")).status_code == 409
    assert (await book(harness, await propose(harness, "3"))).status_code == 200


@pytest.mark.requirement("R-10.6")
async def test_buffers_keep_the_provider_free_around_an_appointment(harness: Harness) -> None:
    await prepare(harness, buffer_after_minutes=10)
    assert (await book(harness, await propose(harness, "1"))).status_code == 200
    assert (await book(harness, await propose(harness, "2"))).status_code == 409


async def test_buffer_of_the_later_one_counts_too(harness: Harness) -> None:
    await prepare(harness, buffer_before_minutes=10)
    assert (await book(harness, await propose(harness, "2"))).status_code == 200
    assert (await book(harness, await propose(harness, "1"))).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_booking_of_staff_spans_its_slots_and_takes_their_provider(harness: Harness) -> None:
    await prepare(harness)
    wrong = appointment("x", "booked", "anna", "1", start=harness.at(DAY), end=harness.at(DAY + HOUR))
    assert (await harness.create(wrong, "sam")).status_code == 422
    right = await harness.create(
        appointment("x", "booked", "anna", "1", start=harness.at(2 * DAY), end=harness.at(2 * DAY + 30 * MINUTE)), "sam"
    )
    assert right.status_code == 201, right.text
    assert "Practitioner/dr-lee" in [p["actor"]["reference"] for p in right.json()["participant"]]
    assert (await book(harness, await propose(harness, "t1"))).status_code == 409


@pytest.mark.requirement("R-10.6")
async def test_absolute_reference_hides_nobody(harness: Harness) -> None:
    """A practitioner named by URL is the same practitioner."""
    await prepare(harness)
    lee = f"{harness.parts.settings.origin}/demo/fhir/Practitioner/dr-lee"
    made = appointment("x", "booked", "anna", start=harness.at(2 * DAY), end=harness.at(2 * DAY + HOUR))
    made["participant"].append({"actor": {"reference": lee}, "status": "accepted"})
    assert (await harness.create(made, "sam")).status_code == 201
    assert (await book(harness, await propose(harness, "1"))).status_code == 409


@pytest.mark.requirement("R-10.3")
async def test_reschedule_is_whole_or_not_at_all(harness: Harness) -> None:
    await prepare(harness)
    first, second = await propose(harness, "1"), await propose(harness, "3")
    assert (await book(harness, first)).status_code == (await book(harness, second)).status_code == 200
    move = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/3"}]
    assert (await harness.patch(f"Appointment/{first}", move)).status_code == 409
    assert (await harness.stored("Slot/1"))["status"] == "busy"
    move[0]["value"] = "Slot/2"
    moved = await harness.patch(f"Appointment/{first}", move)
    assert moved.status_code == 200, moved.text
    assert moved.json()["start"] == harness.at(2 * DAY + 30 * MINUTE)
    assert [(await harness.stored(f"Slot/{n}"))["status"] for n in "12"] == ["free", "busy"]


@pytest.mark.requirement("R-10.5", "R-10.6")
async def test_override_needs_rule_reason_and_provider(harness: Harness) -> None:
    await prepare(harness)
    first, second = await propose(harness), await propose(harness)
    assert (await book(harness, first)).status_code == 200
    extension = {"op": "add", "path": "/extension/-", "value": {"url": own.OVERRIDE, "valueString": "emergency"}}
    operations = [*to_status("booked"), extension]
    assert (await harness.patch(f"Appointment/{second}", operations)).status_code == 403
    await harness.seed(service("care", override=True))
    assert (await harness.patch(f"Appointment/{second}", operations, "sam")).status_code == 403
    answer = await harness.patch(f"Appointment/{second}", operations)
    assert answer.status_code == 200, answer.text
    assert tags(answer.json()) == ["override"]
    assert "R-10.5 conflict overridden by a provider" in [e.rule for e in await harness.events()]
    arrived = await harness.patch(f"Appointment/{second}", to_status("arrived"), "sam")
    assert arrived.status_code == 200, arrived.text


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"url": "auto-konfirm", "valueBoolean": True}, "auto-konfirm"),
        ({"url": "capacity", "valueInteger": 0}, "capacity"),
        ({"url": "capacity", "valueString": "3"}, "capacity"),
        ({"url": "risk", "valueCode": "none"}, "risk"),
    ],
)
async def test_unknown_or_malformed_rule_is_refused_by_name(harness: Harness, part: Any, named: str) -> None:
    faulty = service("care")
    faulty["extension"] = [{"url": own.BOOKING_RULES, "extension": [part]}]
    refused = await harness.put(faulty)
    assert refused.status_code == 422
    assert f"'{named}'" in issue(refused)["diagnostics"]
    assert issue(refused)["expression"] == ["HealthcareService.extension[0].extension[0]"]


@pytest.mark.requirement("R-10.2")
async def test_auto_confirmation_names_rule_version_and_author(harness: Harness) -> None:
    await prepare(harness, auto_confirm=True, risk="low")
    id_ = await propose(harness)
    assert (await harness.stored(f"Appointment/{id_}"))["status"] == "booked"
    rules = [(e.rule, e.rule_author) for e in await harness.events() if "auto-confirmation" in e.rule]
    assert rules == [("R-10.2 auto-confirmation by HealthcareService/care/_history/1", "admin")]
