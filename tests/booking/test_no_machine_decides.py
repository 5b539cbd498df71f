"""What the server leaves to people: no predictive scheduling, no payment (IS-01 §9, R-10.12)."""

import tomllib
from pathlib import Path

import pytest

from fhir_server.booking.states import OCCUPYING
from fhir_server.rest.table import TABLE
from smart_auth.surfaces import POLICY
from tests.booking.test_find_hold_book import find, offers, prepare
from tests.harness import Harness, proposal, to_status

ROOT = Path(__file__).parents[2]
_BILLING = """Account ChargeItem ChargeItemDefinition Claim ClaimResponse Contract Coverage CoverageEligibilityRequest
    CoverageEligibilityResponse EnrollmentRequest EnrollmentResponse ExplanationOfBenefit InsurancePlan Invoice
    PaymentNotice PaymentReconciliation"""
_PREDICTING = """numpy scipy pandas sklearn scikit-learn torch tensorflow keras onnxruntime xgboost lightgbm
    transformers openai anthropic langchain litellm"""
_PAYING = "stripe braintree paypalrestsdk adyen square"
BILLING, PREDICTING, PAYING = (frozenset(names.split()) for names in (_BILLING, _PREDICTING, _PAYING))


@pytest.mark.requirement("R-10.12")
def test_nothing_predicts_or_pays_among_what_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements.lock").read_text()
    needed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    needed += [line for line in locked.splitlines() if "==" in line]
    names = {each.partition("[")[0].partition("=")[0].partition(">")[0].strip().lower() for each in needed}
    assert "fastapi" in names
    assert not names & (PREDICTING | PAYING)


@pytest.mark.requirement("R-10.12")
def test_no_surface_bills() -> None:
    """Whoever imports such resources may store them; nobody who books or treats can, and nothing acts on them."""
    allowed = {who for rule in POLICY if BILLING & set(rule.types) for who in rule.who}
    assert allowed <= {"administrator"}
    assert not [row.path for row in TABLE if row.path.partition("/")[0] in BILLING]


@pytest.mark.requirement("R-10.12", "R-10.1")
async def test_times_are_offered_in_order_of_time_whatever_was_booked_before(harness: Harness) -> None:
    """The same question has the same answer, and what a clinic's people chose before does not rank the next."""
    await prepare(harness)
    before = [each["start"] for each in offers(await find(harness))]
    assert before == sorted(before)
    made = await harness.create(proposal("3"), "anonymous")
    await harness.patch(f"Appointment/{made.json()['id']}", to_status("booked"))
    after = [each["start"] for each in offers(await find(harness))]
    assert after == sorted(after)
    assert after == [each["start"] for each in offers(await find(harness))]
    taken = (await harness.stored("Slot/3"))["start"]
    assert sorted([*after, taken]) == before


@pytest.mark.requirement("R-10.12", "R-10.1", "R-10.2")
async def test_every_booking_has_a_person_or_a_persons_rule_behind_it(harness: Harness) -> None:
    await prepare(harness, auto_confirm=True, risk="low")
    await harness.create(proposal("0"), "anonymous")
    await harness.seed({"resourceType": "Schedule", "id": "plain", "actor": [{"reference": "Practitioner/dr-kim"}]})
    await harness.seed(harness.slot("plain", 5 * 86_400_000_000, schedule="plain"))
    made = await harness.create(proposal("plain"), "anonymous")
    await harness.patch(f"Appointment/{made.json()['id']}", to_status("booked"))
    booked = []
    for event in await harness.events():
        if event.entity.startswith("Appointment/") and event.action in "CU" and event.outcome == "0":
            version = (await harness.get(event.entity, "admin")).json()
            if version["status"] in OCCUPYING:
                booked.append((event.user.startswith("Practitioner/"), bool(event.rule_author)))
    assert booked == [(False, True), (True, False)]
