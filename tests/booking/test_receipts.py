"""Idempotency keys and receipts of proposals (interfaces, "Website builder without a login")."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from fhir_server.app import make_app, make_parts
from fhir_server.booking import sweeper
from fhir_server.settings import Settings
from tests.booking.test_find_hold_book import find, offers, parameters, ref
from tests.harness import (
    DAY,
    FHIR_JSON,
    HOUR,
    ORIGIN,
    Harness,
    fixed_ids,
    issue,
    open_store,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)


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


@pytest.mark.requirement("R-7.1", "R-7.4", "R-6.2")
async def test_a_receipt_tells_what_became_of_the_proposal_and_nothing_of_the_visit(slot: Harness) -> None:
    """Decision 0130: booked and cancelled are its outcome; from the arrival on it is as if absent."""
    made = await slot.create(proposal("s"), "anonymous")
    path, receipt = f"Appointment/{made.json()['id']}", made.headers["proposal-receipt"]
    assert (await slot.patch(path, to_status("booked"), "sam")).status_code == 200
    booked = await slot.get(path, receipt)
    assert (booked.status_code, booked.json()["status"]) == (200, "booked")
    assert set(booked.json()) <= {"resourceType", "id", "meta", "status", "start", "end"}
    slot.clock.advance(2 * DAY)
    for status in ("arrived", "checked-in", "fulfilled"):
        assert (await slot.patch(path, to_status(status), "sam")).status_code == 200
        refused, absent = await slot.get(path, receipt), await slot.get("Appointment/nobody", receipt)
        assert (refused.status_code, refused.content) == (404, absent.content)
        assert (await slot.get(f"{path}/_history", receipt)).status_code == 404


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


@pytest.mark.requirement("R-10.4", "R-7.1", "R-10.7")
@pytest.mark.parametrize("caller", ["anonymous", "website"])
async def test_a_receipt_withdraws_where_the_clinics_rule_lets_it(harness: Harness, caller: str) -> None:
    """The website's client too, whose scopes let it create and read only: its proposal's receipt withdraws that one."""
    await harness.seed(
        practitioner("dr-lee"),
        service("care", withdrawal=True, hold_minutes=30),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"), harness.slot("t", 3 * DAY),
    )  # fmt: skip
    made, other = [await harness.create(proposal(slot), caller) for slot in "st"]
    path, receipt = f"Appointment/{made.json()['id']}", made.headers["proposal-receipt"]
    assert (await harness.patch(path, to_status("cancelled"), caller)).status_code in (401, 403)
    assert (
        await harness.patch(f"Appointment/{other.json()['id']}", to_status("cancelled"), receipt)
    ).status_code == 404
    for status in ("booked", "pending", "entered-in-error"):
        assert (await harness.patch(path, to_status(status), receipt)).status_code == 403
    moved = [{"op": "replace", "path": "/start", "value": harness.at(4 * DAY)}]
    assert (await harness.patch(path, moved, receipt)).status_code == 403
    withdrawn = await harness.patch(path, to_status("cancelled"), receipt)
    assert withdrawn.status_code == 200, withdrawn.text
    assert set(withdrawn.json()) <= {"resourceType", "id", "meta", "status", "start", "end", "cancelationReason"}
    assert (await harness.stored(path))["status"] == "cancelled"
    assert (await harness.stored("Slot/s"))["status"] == "free"
    ended = next(event for event in await harness.events() if event.entity == f"{path}/_history/2")
    through = {"website": " of website-builder"}.get(caller, "")
    assert (ended.user_name, ended.rule) == (f"holder of a receipt{through}", "R-7.1 receipt of a proposal")


@pytest.mark.requirement("R-10.4", "R-10.3")
async def test_what_is_booked_is_not_withdrawn_by_a_receipt(harness: Harness) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", withdrawal=True),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )
    made = await harness.create(proposal("s"), "website")
    path = f"Appointment/{made.json()['id']}"
    assert (await harness.patch(path, to_status("booked"))).status_code == 200
    refused = await harness.patch(path, to_status("cancelled"), made.headers["proposal-receipt"])
    assert refused.status_code == 403
    assert (await harness.stored(path))["status"] == "booked"


async def test_who_signs_in_needs_no_receipt(slot: Harness) -> None:
    await slot.seed(patient("anna"))
    person = {"participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]}
    mine = {name: value for name, value in (proposal("s") | person).items() if name != "contained"}
    made = await slot.create(mine, "anna")
    assert made.status_code == 201, made.text
    assert "proposal-receipt" not in made.headers


async def test_racing_repeats_make_one_appointment(slot: Harness) -> None:
    """20 at once with one key and body; then 10 with one key and two bodies: of these one body wins."""
    answers = await asyncio.gather(
        *(slot.create(proposal("s"), "anonymous", headers={"Idempotency-Key": "k-1"}) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({(answer.content, answer.headers["proposal-receipt"]) for answer in answers}) == 1
    answers = await asyncio.gather(
        *(slot.create(proposal("st"[n % 2]), "anonymous", headers={"Idempotency-Key": "k-2"}) for n in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [422] * 5
    assert (await slot.get("Appointment?_summary=count", "admin")).json()["total"] == 2


@pytest.mark.parametrize("end", ["declined", "expired"])
async def test_a_repeat_after_the_end_gets_the_first_answer_and_starts_nothing(harness: Harness, end: str) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        service("care", proposal_expiry_hours=1),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        harness.slot("s"),
    )
    key = {"Idempotency-Key": "k-1"}
    first = await harness.create(proposal("s"), "anonymous", headers=key)
    path = f"Appointment/{first.json()['id']}"
    if end == "declined":
        assert (await harness.patch(path, to_status("cancelled"))).status_code == 200
    else:
        harness.clock.advance(2 * HOUR)
        await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"))
    versions = await harness.versions()
    second = await harness.create(proposal("s"), "anonymous", headers=key)
    assert (second.status_code, second.content) == (201, first.content)
    assert await harness.versions() == versions
    assert (await harness.stored(path))["status"] == "cancelled"


async def test_a_body_is_the_same_in_any_order_of_its_properties(slot: Harness) -> None:
    key, body = {"Idempotency-Key": "k-1"}, proposal("s")
    first = await slot.create(body, "anonymous", headers=key)
    second = await slot.create(dict(reversed(body.items())), "anonymous", headers=key)
    assert (second.status_code, second.content) == (201, first.content)


async def test_a_key_is_any_text(slot: Harness) -> None:
    content = json.dumps(proposal("s"))
    made = set()
    for key in ("x" * 256, "a b", "ä😀", "\x7f", 'a,"b"', "../../Patient"):
        headers = [(b"Content-Type", FHIR_JSON.encode()), (b"Idempotency-Key", key.encode())]
        first, second = [
            await slot.http.post("/demo/fhir/Appointment", content=content, headers=headers) for _ in range(2)
        ]
        assert (first.status_code, second.content) == (201, first.content)
        made.add(first.json()["id"])
    assert len(made) == 6


async def test_a_key_is_its_callers_own_in_its_clinic(slot: Harness) -> None:
    """Another person by the same client, and another clinic, get no answer that was not theirs."""
    key = {"Idempotency-Key": "k-1"}
    body = {"resourceType": "Appointment", "status": "proposed", "slot": [{"reference": "Slot/s"}], "participant": []}
    made = []
    for who in ("anna", "ben"):
        whole = body | {"participant": [{"actor": {"reference": f"Patient/{who}"}, "status": "accepted"}]}
        answer = await slot.create(whole, who, headers=key)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
    assert len(set(made)) == 2
    assert (await slot.create(proposal("s"), "anonymous", headers=key)).status_code == 201
    elsewhere = await slot.create(proposal("s"), "anonymous", headers=key, tenant="other")
    assert issue(elsewhere)["expression"] == ["Appointment.slot[0]"]


async def test_a_key_outlives_the_server(harness: Harness, store_kind: str, tmp_path: Path) -> None:
    """A server that is started anew over the same store knows the key."""
    await harness.seed(practitioner("dr-lee"), schedule("lee", "Practitioner/dr-lee"), harness.slot("s"))
    key = {"Idempotency-Key": "k-1"}
    first = await harness.create(proposal("s"), "anonymous", headers=key)
    ids = fixed_ids(harness.clock)
    store = open_store(store_kind, tmp_path, harness.clock, ids)
    parts = make_parts(Settings(data=tmp_path, origin=ORIGIN), store=store, clock=harness.clock, ids=ids)
    transport = httpx.ASGITransport(app=make_app(parts))
    again = Harness(parts, harness.clock, httpx.AsyncClient(transport=transport, base_url=ORIGIN))
    second = await again.create(proposal("s"), "anonymous", headers=key)
    await again.close()
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["proposal-receipt"] == first.headers["proposal-receipt"]


async def test_hold_and_book_take_keys_too(slot: Harness) -> None:
    """A repeat gets the same Appointment; a key of one operation is none of the other's."""
    key = {"Idempotency-Key": "k-1"}
    (offer, other) = offers(await find(slot))
    held = parameters(appointment_reference=ref(f"Appointment/{offer['id']}"))
    first, second = [await slot.send("POST", "Appointment/$hold", "sam", json_=held, headers=key) for _ in range(2)]
    assert offers(first) == offers(second) != []
    asked = parameters(
        appointment_reference=ref(f"Appointment/{other['id']}"),
        patient_resource={"resource": proposal()["contained"][0]},
    )
    answers = await asyncio.gather(
        *(slot.send("POST", "Appointment/$book", json_=asked, headers=key) for _ in range(5))
    )
    assert len({(offers(answer)[0]["id"], answer.headers["proposal-receipt"]) for answer in answers}) == 1
    assert (await slot.get("Appointment?_summary=count", "admin")).json()["total"] == 2
    refused = await slot.send("POST", "Appointment/$book", json_=held, headers=key)
    assert "Idempotency-Key" in refused.text


@pytest.mark.parametrize("type_", ["batch", "transaction"])
async def test_a_key_is_not_taken_for_a_bundle(slot: Harness, type_: str) -> None:
    """It would be overlooked, and a repeat would book again."""
    entry = {"resource": proposal("s"), "request": {"method": "POST", "url": "Appointment"}}
    bundle = {"resourceType": "Bundle", "type": type_, "entry": [entry]}
    answer = await slot.send("POST", "", json_=bundle, headers={"Idempotency-Key": "k-1"})
    assert answer.status_code == 400
    assert "Idempotency-Key" in issue(answer)["diagnostics"]
