"""A reason to override a conflict counts in the write that gives it, and only providers give one (R-10.5, R-10.6)."""

from typing import Any

import pytest

from fhir_server.booking.override import RULE
from fhir_server.fhir import own
from tests.harness import DAY, Harness, appointment, issue, practitioner, schedule, service, to_status


def reason(text: str) -> dict[str, Any]:
    return {"url": own.OVERRIDE, "valueString": text}


def of(status: str, patient: str, *slots: str, **more: Any) -> dict[str, Any]:
    made = appointment("", status, patient, *slots, **more)
    del made["id"]
    return made


def adding(actor: str) -> list[dict[str, Any]]:
    return [{"op": "add", "path": "/participant/-", "value": {"actor": {"reference": actor}, "status": "accepted"}}]


MOVE = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/b"}]


async def is_overridden(harness: Harness, path: str) -> bool:
    return own.has_tag(await harness.stored(path), own.BOOKING, "override")


@pytest.fixture
async def full(clinic: Harness) -> Harness:
    """dr-kim's slots a and b, on two days, are anna's; dr-kim books ben over a, with a reason."""
    await clinic.seed(
        service("care", override=True),
        schedule("care", "Practitioner/dr-kim", "HealthcareService/care"),
        clinic.slot("a", schedule="care"),
        clinic.slot("b", 3 * DAY, schedule="care"),
        clinic.slot("c", 4 * DAY, schedule="care"),
        clinic.slot("l"),
    )
    for slot in "ab":
        assert (await clinic.create(of("booked", "anna", slot), "sam")).status_code == 201
    return clinic


async def booked_over(harness: Harness) -> str:
    over = of("booked", "ben", "a", extension=[reason("emergency on Wednesday")])
    answer = await harness.create(over, "dr-kim")
    assert answer.status_code == 201, answer.text
    return f"Appointment/{answer.json()['id']}"


@pytest.mark.requirement("R-10.5", "R-10.6")
async def test_a_reason_that_stands_overrides_nothing_later(full: Harness) -> None:
    """Whoever moves what was overridden gives a reason of their own, or moves it to a time that is free."""
    path = await booked_over(full)
    refused = await full.patch(path, MOVE, "dr-lee")
    assert refused.status_code == 409
    assert "Slot/b is taken" in issue(refused)["diagnostics"]
    assert (await full.stored(path))["slot"] == [{"reference": "Slot/a"}]
    anew = [*MOVE, {"op": "replace", "path": "/extension/0/valueString", "value": "another on Thursday"}]
    assert (await full.patch(path, anew, "sam")).status_code == 403
    assert (await full.patch(path, anew, "dr-lee")).status_code == 200
    assert await is_overridden(full, path)
    assert [event.rule for event in await full.events()].count(RULE) == 2
    to_free = [{"op": "replace", "path": "/slot/0/reference", "value": "Slot/c"}]
    assert (await full.patch(path, to_free, "sam")).status_code == 200
    assert not await is_overridden(full, path)
    assert (await full.patch(path, MOVE, "dr-kim")).status_code == 409


@pytest.mark.requirement("R-10.3", "R-10.5", "R-10.6")
async def test_the_front_desk_goes_on_with_what_is_overridden(full: Harness) -> None:
    """Both who share the time change otherwise; whoever newly takes part has to be free."""
    path = await booked_over(full)
    assert (await full.patch(path, adding("Practitioner/dr-lee"), "sam")).status_code == 200
    assert await is_overridden(full, path)
    taken = await full.create(of("booked", "anna", "l"), "sam")
    assert "Practitioner/dr-lee is already booked" in taken.text
    refused = await full.patch(path, adding("Patient/anna"), "sam")
    assert refused.status_code == 409
    assert "Patient/anna is already booked" in refused.text
    beside = (await full.get("Appointment?patient=Patient/anna&_sort=date&_count=1", "sam")).json()["entry"][0]
    beside_path = f"Appointment/{beside['resource']['id']}"
    assert beside["resource"]["slot"] == [{"reference": "Slot/a"}]
    refused = await full.patch(beside_path, adding("Practitioner/dr-lee"), "sam")
    assert "Practitioner/dr-lee is already booked" in refused.text
    await full.seed(practitioner("dr-may"))
    assert (await full.patch(beside_path, adding("Practitioner/dr-may"), "sam")).status_code == 200
    assert not await is_overridden(full, beside_path)
    assert [event.rule for event in await full.events()].count(RULE) == 1


@pytest.mark.requirement("R-10.5")
async def test_a_reason_without_a_conflict_is_nobodys_fault(full: Harness) -> None:
    """Only to override takes a provider and the clinic's rule."""
    answer = await full.create(of("booked", "ben", "c", extension=[reason("in case")]), "sam")
    assert answer.status_code == 201, answer.text
    assert not await is_overridden(full, f"Appointment/{answer.json()['id']}")
    refused = await full.create(of("booked", "ben", "a", extension=[reason("in case")]), "sam")
    assert refused.status_code == 403
    assert issue(refused)["expression"] == ["Appointment.extension"]


@pytest.mark.requirement("R-10.5")
async def test_a_reason_of_before_the_confirmation_is_given_again(full: Harness) -> None:
    """Who confirms says why, not who wrote the proposal."""
    answer = await full.create(of("pending", "ben", "a", extension=[reason("perhaps")]), "sam")
    path = f"Appointment/{answer.json()['id']}"
    assert (await full.patch(path, to_status("booked"), "dr-kim")).status_code == 409
    why = {"op": "replace", "path": "/extension/0/valueString", "value": "it cannot wait"}
    assert (await full.patch(path, [*to_status("booked"), why], "dr-kim")).status_code == 200
    assert await is_overridden(full, path)


@pytest.mark.requirement("R-10.2", "R-10.5")
async def test_the_rule_that_confirms_overrides_nothing(full: Harness) -> None:
    """A conflict leaves a proposal to people, whatever it says."""
    await full.seed(service("care", override=True, auto_confirm=True, risk="low"))
    over = of("proposed", "ben", "c", extension=[reason("urgent")])
    over["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    busy = of("booked", "anna", start=full.at(4 * DAY), end=full.at(4 * DAY + 1_000_000))
    busy["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    assert (await full.create(busy, "sam")).status_code == 201
    answer = await full.create(over, "dr-kim")
    assert (answer.status_code, answer.json()["status"]) == (201, "proposed"), answer.text
