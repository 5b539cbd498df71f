"""Idempotency keys and receipts of proposals (interfaces, "Website builder without a login")."""

import pytest

from tests.harness import DAY, HOUR, Harness, issue, practitioner, proposal, schedule, service, to_status


@pytest.fixture
async def slot(clinic: Harness) -> Harness:
    await clinic.seed(clinic.slot("s"), clinic.slot("t", 3 * DAY))
    return clinic


@pytest.mark.requirement("R-8.1", "R-10.6")
async def test_a_repeat_gets_the_same_answer(slot: Harness) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await slot.create(proposal("s"), "anonymous", headers=key)
    before = await slot.versions()
    second = await slot.create(proposal("s"), "anonymous", headers=key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    for name in ("location", "etag", "last-modified", "proposal-receipt"):
        assert first.headers[name] == second.headers[name]
    assert await slot.versions() == before


async def test_another_body_is_422(slot: Harness) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert (await slot.create(proposal("s"), "anonymous", headers=key)).status_code == 201
    before = await slot.versions()
    answer = await slot.create(proposal("t"), "anonymous", headers=key)
    assert answer.status_code == 422
    assert "Idempotency-Key" in issue(answer)["diagnostics"]
    assert await slot.versions() == before


async def test_keys_belong_to_their_client_and_type(slot: Harness) -> None:
    key = {"Idempotency-Key": "k-1"}
    made = [(await slot.create(proposal("s"), caller, headers=key)).json()["id"] for caller in ("anonymous", "website")]
    assert len(set(made)) == 2
    other = await slot.create({"resourceType": "Patient"}, "admin", headers=key)
    assert other.status_code == 201


async def test_a_refused_request_does_not_use_up_its_key(slot: Harness) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert (await slot.create(proposal("nothing"), "anonymous", headers=key)).status_code == 422
    assert (await slot.create(proposal("s"), "anonymous", headers=key)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_has_a_length(slot: Harness, key: str) -> None:
    answer = await slot.create(proposal("s"), "anonymous", headers={"Idempotency-Key": key})
    assert answer.status_code == 400


async def test_a_key_is_forgotten_after_a_day(slot: Harness) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await slot.create(proposal("s"), "anonymous", headers=key)
    slot.clock.advance(DAY + HOUR)
    assert (await slot.create(proposal("s"), "anonymous", headers=key)).json()["id"] != first.json()["id"]


async def test_a_repeat_of_a_confirmed_proposal_gets_the_same_answer(harness: Harness) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", auto_confirm=True, risk="low"),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )
    key = {"Idempotency-Key": "k-1"}
    first = await harness.create(proposal("s"), "anonymous", headers=key)
    second = await harness.create(proposal("s"), "anonymous", headers=key)
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert first.json()["status"] == "booked"


@pytest.mark.requirement("R-7.1", "R-7.7", "R-6.2")
async def test_a_receipt_reads_its_own_proposal_only(slot: Harness) -> None:
    mine = await slot.create(proposal("s"), "anonymous")
    others = await slot.create(proposal("s"), "anonymous")
    receipt = mine.headers["proposal-receipt"]
    answer = await slot.get(f"Appointment/{mine.json()['id']}", receipt)
    assert answer.status_code == 200
    assert set(answer.json()) <= {"resourceType", "id", "meta", "status", "start", "end"}
    assert "anonymous" not in slot.tokens
    assert (await slot.get(f"Appointment/{others.json()['id']}", receipt)).status_code == 404
    assert (await slot.get("Appointment", receipt)).status_code == 403
    assert (await slot.get("Patient", receipt)).status_code == 403
    assert (await slot.get("Slot/s", receipt)).status_code == 200
    stored = await slot.stored(f"Appointment/{mine.json()['id']}")
    person = stored["participant"][0]["actor"]["reference"]
    assert (await slot.get(person, receipt)).status_code == 403
    assert (await slot.patch(f"Appointment/{mine.json()['id']}", to_status("cancelled"), receipt)).status_code == 403
    assert (await slot.delete(f"Appointment/{mine.json()['id']}", receipt)).status_code == 403


@pytest.mark.requirement("R-6.1")
async def test_a_receipt_dies_in_another_clinic_and_with_the_proposal(slot: Harness) -> None:
    mine = await slot.create(proposal("s"), "anonymous")
    receipt, path = mine.headers["proposal-receipt"], f"Appointment/{mine.json()['id']}"
    assert (await slot.get(path, receipt, tenant="other")).status_code == 401
    flipped = receipt[:-3] + ("A" if receipt[-3] != "A" else "B") + receipt[-2:]
    assert (await slot.get(path, flipped)).status_code == 401
    slot.clock.advance(168 * HOUR - 1)
    assert (await slot.get(path, receipt)).status_code == 200
    slot.clock.advance(1)
    assert (await slot.get(path, receipt)).status_code == 401


async def test_only_anonymous_callers_get_a_receipt(slot: Harness) -> None:
    assert "proposal-receipt" not in (await slot.create(proposal("s"), "website")).headers
