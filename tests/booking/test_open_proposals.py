"""The limit of open proposals holds for each person, and for nobody else (the rule `open-proposals`)."""

from typing import Any

import httpx
import pytest

from fhir_server.booking.limits import OPEN_KIND
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    appointment,
    issue,
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
        service("care", **{"open_proposals": 1, **rules}),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        *(harness.slot(str(n), 2 * DAY + n * HOUR) for n in range(6)),
    )


def of_person(slot: str, *values: str) -> dict[str, Any]:
    """A proposal of somebody with these telephone numbers and e-mails."""
    made = proposal(slot)
    made["contained"][0]["telecom"] = [{"value": value} for value in values]
    return made


def of_patient(slot: str, who: str) -> dict[str, Any]:
    made = appointment("x", "proposed", who, slot)
    del made["id"]
    return made


async def operate(harness: Harness, name: str, caller: str, id_: str, *more: dict[str, Any]) -> httpx.Response:
    given = [{"name": "appointment-reference", "valueReference": {"reference": f"Appointment/{id_}"}}, *more]
    body = {"resourceType": "Parameters", "parameter": given}
    return await harness.send("POST", f"Appointment/${name}", caller, json_=body)


async def offers(harness: Harness) -> list[str]:
    window = [{"name": "start", "valueDateTime": harness.at(0)}, {"name": "end", "valueDateTime": harness.at(9 * DAY)}]
    answer = await harness.send("POST", "Appointment/$find", json_={"resourceType": "Parameters", "parameter": window})
    return [str(entry["resource"]["id"]) for entry in answer.json().get("entry", ())]


async def hold(harness: Harness, caller: str) -> str:
    """The id of the next offered time, held."""
    answer = await operate(harness, "hold", caller, (await offers(harness))[0])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["entry"][0]["resource"]["id"])


async def test_own_hold_does_not_stand_in_the_way_of_its_proposal(harness: Harness) -> None:
    await prepare(harness)
    booked = await operate(harness, "book", "anna", await hold(harness, "anna"))
    assert booked.status_code == 200, booked.text
    assert booked.json()["entry"][0]["resource"]["status"] == "proposed"
    assert (await harness.create(of_patient("3", "anna"), "anna")).status_code == 429


async def test_what_was_held_counts_for_its_person_once_it_is_proposed(harness: Harness) -> None:
    await prepare(harness)
    person = {"resourceType": "Patient", "name": [{"family": "New"}], "telecom": [{"value": "+49 1"}]}
    given = {"name": "patient-resource", "resource": person}
    booked = await operate(harness, "book", "website", await hold(harness, "website"), given)
    assert booked.json()["entry"][0]["resource"]["status"] == "proposed", booked.text
    assert (await harness.create(of_person("3", "+49 1"), "website")).status_code == 429
    assert (await harness.create(of_person("3", "+49 2"), "website")).status_code == 201


async def test_client_of_another_system_proposes_for_each_of_its_patients(harness: Harness) -> None:
    await prepare(harness)
    for caller, slot, who, status in (
        ("backend", "0", "anna", 201),
        ("backend", "1", "ben", 201),
        ("backend", "2", "anna", 429),
        ("admin", "2", "ben", 429),
        ("anna", "2", "anna", 429),
    ):
        assert (await harness.create(of_patient(slot, who), caller)).status_code == status, (caller, slot, who)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (("+49 1",), ("+49 1", "a@example.org")),
        (("+49 1", "a@example.org"), ("+49 2", "A@Example.ORG ")),
        (("+49 30 1",), ("+49-30/1",)),
        (("+49 30 1",), ("0049 (0)30 1",)),
        (("a@example.org",), ("mailto:a@example.org",)),
    ],
)
async def test_each_number_and_e_mail_counts_however_it_is_written(
    harness: Harness, first: tuple[str, ...], later: tuple[str, ...]
) -> None:
    await prepare(harness)
    made = await harness.create(of_person("0", *first), "website")
    assert made.status_code == 201, made.text
    assert (await harness.create(of_person("1", *later), "website")).status_code == 429
    assert (await harness.create(of_person("1", "+49 77"), "website")).status_code == 201
    declined = await harness.patch(f"Appointment/{made.json()['id']}", to_status("cancelled"))
    assert declined.status_code == 200
    assert (await harness.create(of_person("2", *later), "website")).status_code == 201


async def test_what_is_kept_for_the_limit_names_nobody(harness: Harness) -> None:
    await prepare(harness)
    assert (await harness.create(of_person("0", "+49 30 1234567", "a@example.org"), "website")).status_code == 201
    kept = await harness.run(lambda unit: unit.kept(OPEN_KIND))
    assert len(kept) == 2
    assert not any(text in f"{name} {value!r}" for name, value in kept for text in ("1234567", "example"))


@pytest.mark.parametrize("telecom", [{"use": "home"}, {"value": "call me"}, {"value": "@"}])
async def test_person_without_a_number_or_e_mail_is_refused(harness: Harness, telecom: dict[str, str]) -> None:
    await prepare(harness)
    made = proposal("0")
    made["contained"][0]["telecom"] = [telecom]
    for caller in ("website", "anonymous"):
        refused = await harness.create(made, caller)
        assert refused.status_code == 422
        assert issue(refused)["expression"] == ["Patient.telecom"]


@pytest.mark.requirement("R-8.2")
async def test_held_times_of_a_patient_are_limited(harness: Harness) -> None:
    await prepare(harness, open_proposals=2)
    held = [await hold(harness, "anna") for _ in range(2)]
    refused = await operate(harness, "hold", "anna", (await offers(harness))[0])
    assert refused.status_code == 429, refused.text
    assert int(refused.headers["retry-after"]) > 0
    assert len(await offers(harness)) == 4
    assert (await harness.create(of_patient("5", "anna"), "anna")).status_code == 429
    assert (await harness.patch(f"Appointment/{held[0]}", to_status("cancelled")[:1], "anna")).status_code == 200
    await hold(harness, "anna")
    await hold(harness, "ben")


async def test_hold_that_has_ended_does_not_count(harness: Harness) -> None:
    """Before the sweeper has come, too; and neither does a proposal that is over."""
    await prepare(harness, proposal_expiry_hours=1)
    await hold(harness, "anna")
    harness.clock.advance(11 * MINUTE)
    assert (await harness.create(of_patient("5", "anna"), "anna")).status_code == 201
    harness.clock.advance(HOUR)
    await hold(harness, "anna")


async def test_holds_of_staff_are_not_limited(harness: Harness) -> None:
    await prepare(harness)
    for _ in range(3):
        await hold(harness, "sam")
