"""What each input of Appointment/$find changes in what is offered (IHE Scheduling ITI-115)."""

from datetime import datetime
from typing import Any

import pytest

from tests.booking.test_find_hold_book import book, find, offers, parameters, prepare, ref
from tests.harness import DAY, HOUR, MINUTE, ORIGIN, Harness, cared_for, link, patient, practitioner, schedule, service

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def timing(**repeat: Any) -> dict[str, Any]:
    return {"valueTiming": {"repeat": repeat}}


def local(harness: Harness, micros: int) -> datetime:
    return datetime.fromisoformat(harness.at(micros)).astimezone(harness_zone())


def harness_zone() -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo("Europe/Berlin")


async def starts(harness: Harness, **asked: Any) -> list[str]:
    answer = await find(harness, **asked)
    found = [each["start"] for each in offers(answer)]
    assert answer.json()["total"] == len(found)
    return found


@pytest.mark.requirement("R-4.1")
async def test_timing_restricts_days_and_hours(harness: Harness) -> None:
    """On the clinic's calendar: weekdays, times of day, parts of the day, bounds and events."""
    await prepare(harness)
    lee = ref("Practitioner/dr-lee")
    times = [harness.at(2 * DAY + n * HOUR) for n in range(5)]
    assert await starts(harness, practitioner=lee) == times
    day = _WEEKDAYS[local(harness, 2 * DAY).weekday()]
    others = [name for name in _WEEKDAYS if name not in (day, _WEEKDAYS[local(harness, 2 * DAY + 5 * HOUR).weekday()])]
    assert await starts(harness, practitioner=lee, timing=timing(dayOfWeek=[day])) != []
    assert await starts(harness, practitioner=lee, timing=timing(dayOfWeek=others)) == []
    at = local(harness, 2 * DAY + HOUR).strftime("%H:%M:00")
    assert await starts(harness, practitioner=lee, timing=timing(timeOfDay=[at])) == times[1:2]
    bounds = {"start": times[1], "end": harness.at(2 * DAY + 3 * HOUR - MINUTE)}
    assert await starts(harness, practitioner=lee, timing=timing(boundsPeriod=bounds)) == times[1:3]
    event = {"valueTiming": {"event": [times[3], times[0]]}}
    assert await starts(harness, practitioner=lee, timing=event) == [times[0], times[3]]
    for code, lo, hi in (("MORN", 6, 12), ("AFT", 12, 18), ("EVE", 18, 22)):
        there = [t for n, t in enumerate(times) if lo <= local(harness, 2 * DAY + n * HOUR).hour < hi]
        assert await starts(harness, practitioner=lee, timing=timing(when=[code])) == there
    assert await starts(harness, practitioner=lee, timing=timing(duration=30, durationUnit="min")) == times
    assert offers(await find(harness, practitioner=lee, timing=timing(duration=1, durationUnit="h"))) == []


async def test_timing_goes_along_with_page_links(harness: Harness) -> None:
    await prepare(harness)
    bounds = timing(boundsPeriod={"start": harness.at(2 * DAY + HOUR)})
    first = await find(harness, count=1, practitioner=ref("Practitioner/dr-lee"), timing=bounds)
    seen = offers(first)
    while (following := link(first, "next")) is not None:
        assert first.json()["total"] == 4
        first = await harness.http.get(following.replace(ORIGIN, ""))
        seen += offers(first)
    assert [each["start"] for each in seen] == [harness.at(2 * DAY + n * HOUR) for n in range(1, 5)]


@pytest.mark.parametrize(
    ("repeat", "told"),
    [({"when": ["ACM"]}, "timing.repeat.when"), ({"duration": 1}, "timing.repeat.durationUnit")],
)
async def test_timing_that_is_not_understood_is_refused_and_named(
    harness: Harness, repeat: dict[str, Any], told: str
) -> None:
    await prepare(harness)
    answer = await find(harness, timing=timing(**repeat))
    assert answer.status_code == 400, answer.text
    assert told in answer.text


async def test_what_speaks_of_repetition_is_told_to_be_without_influence(harness: Harness) -> None:
    await prepare(harness)
    answer = await find(harness, timing=timing(frequency=2, period=1, periodUnit="wk"))
    (outcome,) = [e["resource"] for e in answer.json()["entry"] if e["search"]["mode"] == "outcome"]
    assert "timing.repeat.frequency, timing.repeat.period" in outcome["issue"][0]["diagnostics"]
    assert answer.json()["total"] == 7


@pytest.mark.parametrize("text", ["5", "{", '{"repeat":5}', '{"repeat":{"timeOfDay":["x"]}}', '{"when":["MORN"]}'])
async def test_a_timing_in_a_query_is_checked(harness: Harness, text: str) -> None:
    await prepare(harness)
    query = {"start": harness.at(0), "end": harness.at(9 * DAY), "timing": text}
    answer = await harness.http.get("/demo/fhir/Appointment/$find", params=query)
    assert answer.status_code == 400, answer.text


async def test_reason_leads_to_the_services_that_are_for_it(harness: Harness) -> None:
    """A service that names its reasons is offered for those; one that names none for any. The offer says the reason."""
    await prepare(harness)
    url = "https://fhir-server.dev/StructureDefinition/service-reason"
    for_backs = {"url": url, "valueCodeableConcept": {"coding": [{"system": "urn:r", "code": "back"}]}}
    await harness.seed(
        service("backs") | {"extension": [for_backs]}, schedule("kim", "Practitioner/dr-kim", "HealthcareService/backs")
    )
    back, knee = ({"valueString": f"urn:r|{code}"} for code in ("back", "knee"))
    assert len(offers(await find(harness, reason=back))) == 7
    found = offers(await find(harness, reason=knee))
    assert len(found) == 6
    assert {"Slot/k"}.isdisjoint(slot["reference"] for each in found for slot in each["slot"])
    assert found[0]["reasonCode"] == [{"coding": [{"system": "urn:r", "code": "knee"}]}]
    assert len(offers(await find(harness, reason=[knee, back]))) == 7


async def test_a_reason_without_a_code_is_refused(harness: Harness) -> None:
    url = "https://fhir-server.dev/StructureDefinition/service-reason"
    answer = await harness.put(service("backs") | {"extension": [{"url": url, "valueString": "back"}]})
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["HealthcareService.extension[0]"]


@pytest.mark.requirement("R-10.6")
async def test_who_is_not_registered_comes_along_and_who_is_known_has_their_own_time(harness: Harness) -> None:
    """Staff's `patient-resource` with the identifier of a Patient is that Patient; the public's is not looked up."""
    await prepare(harness)
    number = {"system": "urn:mrn", "value": "1"}
    await harness.seed(cared_for("anna", identifier=[number]))
    whole = {"resourceType": "Appointment", "status": "booked", "slot": [{"reference": "Slot/0"}],
             "participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}  # fmt: skip
    assert (await harness.create(whole, "sam")).status_code == 201
    person = {"resource": {"resourceType": "Patient", "name": [{"family": "New"}], "identifier": [number]}}
    kim = ref("Practitioner/dr-kim")
    assert (
        offers(await find(harness, "sam", practitioner=kim, patient_resource=person)) == []
    )  # she is with dr-lee then
    (offer,) = offers(await find(harness, practitioner=kim, patient_resource=person))
    assert offer["contained"][0]["name"] == [{"family": "New"}]
    assert offer["participant"][0]["actor"] == {"reference": "#patient-1"}
    wrong = await find(harness, patient_resource={"resource": practitioner("x")})
    assert wrong.status_code == 400


async def test_a_referral_says_of_whom_where_when_and_for_whom(harness: Harness) -> None:
    await prepare(harness)
    await harness.seed(
        cared_for("anna"),
        {
            "resourceType": "ServiceRequest", "id": "r", "status": "active", "intent": "order",
            "identifier": [{"system": "urn:referrals", "value": "7"}], "subject": {"reference": "Patient/anna"},
            "performer": [{"reference": "Practitioner/dr-lee"}],
            "occurrencePeriod": {"start": harness.at(2 * DAY + HOUR), "end": harness.at(2 * DAY + 3 * HOUR - MINUTE)},
            "reasonCode": [{"coding": [{"system": "urn:r", "code": "knee"}]}],
        },
    )  # fmt: skip
    asked = {"referral_identifier": {"valueIdentifier": {"system": "urn:referrals", "value": "7"}}}
    found = offers(await find(harness, "dr-lee", **asked))
    assert [each["start"] for each in found] == [harness.at(2 * DAY + n * HOUR) for n in (1, 2)]
    assert found[0]["basedOn"] == [{"reference": "ServiceRequest/r"}]
    assert found[0]["participant"][0]["actor"] == {"reference": "Patient/anna"}
    assert "reasonCode" in found[0]
    first = await find(harness, "dr-lee", count=1, **asked)
    following = link(first, "next")
    assert following is not None
    again = await harness.get(following.removeprefix("/demo/fhir/"), "dr-lee")
    assert [each["start"] for each in offers(again)] == [harness.at(2 * DAY + 2 * HOUR)]
    other = {"referral_identifier": {"valueIdentifier": {"system": "urn:referrals", "value": "8"}}}
    assert (await find(harness, "dr-lee", **other)).json()["total"] == 0
    assert (await find(harness, **asked)).status_code == 403


async def test_insurance_leads_to_the_organizations_in_its_network(harness: Harness) -> None:
    await prepare(harness)
    org = {"resourceType": "Organization", "name": "x"}
    await harness.seed(
        *({**org, "id": id_} for id_ in ("network", "inside", "outside")),
        {"resourceType": "InsurancePlan", "id": "plan", "network": [{"reference": "Organization/network"}]},
        {"resourceType": "InsurancePlan", "id": "open"},
        {"resourceType": "OrganizationAffiliation", "id": "a", "network": [{"reference": "Organization/network"}],
         "participatingOrganization": {"reference": "Organization/inside"}},
        service("in") | {"providedBy": {"reference": "Organization/inside"}},
        service("out") | {"providedBy": {"reference": "Organization/outside"}},
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/out"),
        schedule("kim", "Practitioner/dr-kim", "HealthcareService/in"),
    )  # fmt: skip
    (offer,) = offers(await find(harness, insurance_reference=ref("InsurancePlan/plan")))
    assert offer["slot"] == [{"reference": "Slot/k"}]
    assert (await find(harness, insurance_reference=ref("InsurancePlan/none"))).json()["total"] == 0
    assert (await find(harness, insurance_reference=ref("InsurancePlan/open"))).json()["total"] == 7
    assert (await find(harness, insurance_reference=ref("Organization/x"))).status_code == 400


@pytest.mark.requirement("R-8.2", "R-10.6")
async def test_practitioner_room_and_device_are_found_held_and_booked_together(harness: Harness) -> None:
    await prepare(harness)
    await harness.seed(
        {"resourceType": "Device", "id": "laser", "status": "active"},
        schedule("laser", "Device/laser"),
        harness.slot("d0", 2 * DAY, schedule="laser"),
        harness.slot("d1", 2 * DAY + HOUR, schedule="laser"),
        harness.slot("r1", 2 * DAY + HOUR, schedule="room"),
    )
    asked = {"practitioner": [ref("Practitioner/dr-lee"), ref("Practitioner/dr-kim")],
             "location_reference": ref("Location/room"), "device": ref("Device/laser")}  # fmt: skip
    answer = await find(harness, "sam", **asked)
    found = offers(answer)
    slots = [{slot["reference"] for slot in each["slot"]} for each in found]
    assert slots == [{"Slot/0", "Slot/r", "Slot/d0"}, {"Slot/k", "Slot/r", "Slot/d0"}, {"Slot/1", "Slot/r1", "Slot/d1"}]
    assert answer.json()["total"] == 3
    assert all(len(each["id"]) <= 64 for each in found)
    first = await find(harness, "sam", count=1, **asked)
    seen = offers(first)
    while (following := link(first, "next")) is not None:
        first = await harness.get(following.removeprefix("/demo/fhir/"), "sam")
        seen += offers(first)
    assert [each["slot"] for each in seen] == [each["slot"] for each in found]
    given = {"appointment_reference": ref(f"Appointment/{found[0]['id']}"),
             "patient_resource": {"resource": patient("anna")}}  # fmt: skip
    (booked,) = offers(await book(harness, "sam", **given))
    assert booked["status"] == "booked"
    taken = [(await harness.stored(f"Slot/{id_}"))["status"] for id_ in ("0", "r", "d0")]
    assert taken == ["busy"] * 3
    left = [{slot["reference"] for slot in each["slot"]} for each in offers(await find(harness, "sam", **asked))]
    assert left == [{"Slot/1", "Slot/r1", "Slot/d1"}]


@pytest.mark.requirement("R-4.5")
async def test_another_time_is_offered_for_all_three_schedules(harness: Harness) -> None:
    await prepare(harness)
    await harness.seed(
        {"resourceType": "Device", "id": "laser", "status": "active"},
        schedule("laser", "Device/laser"),
        *(harness.slot(f"d{n}", 2 * DAY + n * HOUR, schedule="laser") for n in range(3)),
        harness.slot("r1", 2 * DAY + HOUR, schedule="room"),
    )
    wanted = {"resourceType": "Appointment", "status": "proposed",
              "slot": [{"reference": f"Slot/{id_}"} for id_ in ("0", "r", "d0")],
              "participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}  # fmt: skip
    id_ = (await harness.create(wanted, "anna")).json()["id"]

    async def offer(hours: int) -> int:
        start = 2 * DAY + hours * HOUR
        answer = {"resourceType": "AppointmentResponse", "appointment": {"reference": f"Appointment/{id_}"},
                  "actor": {"reference": "Practitioner/dr-lee"}, "participantStatus": "tentative",
                  "start": harness.at(start), "end": harness.at(start + 30 * MINUTE)}  # fmt: skip
        return (await harness.create(answer, "dr-lee")).status_code

    assert await offer(2) == 409  # the room has no slot then
    assert await offer(1) == 201
    held = [(await harness.stored(f"Slot/{each}"))["status"] for each in ("1", "r1", "d1")]
    assert held == ["busy-tentative"] * 3


@pytest.mark.parametrize(
    "name", ["practitioner", "organization", "location-reference", "device", "insurance-reference"]
)
async def test_references_of_the_wrong_type_are_named(harness: Harness, name: str) -> None:
    await prepare(harness)
    times = {"start": {"valueDateTime": harness.at(0)}, "end": {"valueDateTime": harness.at(DAY)}}
    body = parameters(**times)
    body["parameter"].append({"name": name, **ref("Observation/1")})
    answer = await harness.send("POST", "Appointment/$find", json_=body)
    assert answer.status_code == 400
    assert name in answer.text
