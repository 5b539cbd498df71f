"""$access-explain: it tells what a real request would get, and by which step."""

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.harness import CALLERS, DAY, MINUTE, Harness, appointment, cared_for, issue, patient


async def explained(clinic: Harness, caller: str = "admin", **asked: str) -> Any:
    return await clinic.get(f"$access-explain?{urlencode(asked)}", caller)


def told(answer: Any) -> tuple[str, int, dict[str, tuple[bool, str]]]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["parameter"]
    steps = [{p["name"]: next(v for k, v in p.items() if k != "name") for p in each["part"]}
             for each in found if each["name"] == "step"]  # fmt: skip
    by_name = {each["name"]: (each["passes"], each["why"]) for each in steps}
    return found[0]["valueCode"], found[1]["valueInteger"], by_name


@pytest.fixture
async def ward(clinic: Harness) -> Harness:
    await clinic.seed(patient("cato"), cared_for("anna", "dr-kim"))
    await clinic.seed(*({"resourceType": "Observation", "id": f"of-{who}", "status": "final", "code": {"text": "x"},
                         "subject": {"reference": f"Patient/{who}"}} for who in ("anna", "ben", "cato")))  # fmt: skip
    visit = appointment("v", "booked", "anna", start=clinic.at(DAY), end=clinic.at(DAY + 30 * MINUTE))
    visit["participant"].append({"actor": {"reference": "Practitioner/dr-lee"}, "status": "accepted"})
    made = await clinic.create(visit, "sam")
    assert made.status_code == 201, made.text
    clinic.visit = f"Appointment/{made.json()['id']}"  # type: ignore[attr-defined]
    return clinic


@pytest.mark.requirement("R-6.4", "R-6.5")
async def test_the_care_path_is_told(ward: Harness) -> None:
    asked = {"client": "provider-portal", "user": "dr-lee", "interaction": "read", "type": "Observation"}
    decision, status, steps = told(await explained(ward, **asked, id="of-anna"))
    assert (decision, status) == ("permit", 200)
    assert steps["care"] == (True, ward.visit)  # type: ignore[attr-defined]
    assert steps["rows"] == (True, "within: R-7.12 provider reads and writes records under care")
    assert "general practitioner of Patient/ben" in told(await explained(ward, **asked, id="of-ben"))[2]["care"][1]
    decision, status, steps = told(await explained(ward, **asked, id="of-cato"))
    assert (decision, status, steps["care"][0]) == ("deny", 404, False)
    assert steps["rows"][1].startswith("outside of: R-7.12")


@pytest.mark.requirement("R-6.4")
async def test_scope_and_surface_rule_are_told(ward: Harness) -> None:
    asked = {"client": "provider-portal", "user": "sam", "interaction": "read", "type": "Observation"}
    decision, status, steps = told(await explained(ward, **asked))
    assert (decision, status, steps["surface-rule"]) == (
        "deny", 403, (False, "no rule gives a front-desk 'r' on Observation"),
    )  # fmt: skip
    decision, status, steps = told(await explained(ward, **asked | {"user": "dr-lee", "scope": "user/Slot.rs"}))
    assert (decision, status, steps["scope"][0]) == ("deny", 403, False)
    public = told(await explained(ward, interaction="search-type", type="Slot"))
    assert public[:2] == ("permit", 200)
    assert "comment" not in public[2]["elements"][1]


@pytest.mark.requirement("R-6.4")
@pytest.mark.parametrize("caller", sorted(CALLERS))
async def test_what_is_told_is_what_a_request_gets(ward: Harness, caller: str) -> None:
    client, scopes, user = CALLERS[caller]
    about = {"client": client, "scope": scopes} | ({"user": user} if user else {})
    for type_, id_ in (("Observation", "of-anna"), ("Observation", "of-cato"), ("Observation", "none"),
                       ("Patient", "anna"), ("Patient", "cato"), ("Slot", "none"), ("Schedule", "lee"),
                       ("Practitioner", "dr-lee"), ("Subscription", "none")):  # fmt: skip
        asked = about | {"interaction": "read", "type": type_, "id": id_}
        decision, status, _ = told(await explained(ward, **asked))
        answer = await ward.get(f"{type_}/{id_}", caller)
        assert answer.status_code == status, (type_, id_)
        assert (decision == "permit") == (answer.status_code == 200)


@pytest.mark.requirement("R-6.3", "R-6.4")
@pytest.mark.parametrize("caller", [*sorted(CALLERS), "anonymous"])
async def test_administrators_and_auditors_ask_and_it_is_audited(ward: Harness, caller: str) -> None:
    answer = await explained(ward, caller, interaction="read", type="Slot")
    assert answer.status_code == (200 if caller in ("olga", "root", "auditor", "admin") else 403)
    event = (await ward.events())[-1]
    assert (event.subtype, event.outcome) == ("operation", "0" if answer.status_code == 200 else "4")
    assert "$access-explain" in event.query


@pytest.mark.parametrize(
    ("asked", "status", "at"),
    [
        ({"type": "Slot", "interaction": "read", "user": "dr-lee"}, 400, "client"),
        ({"type": "Slit", "interaction": "read"}, 400, "type"),
        ({"type": "Slot"}, 400, "interaction"),
        ({"type": "Slot", "interaction": "read", "id": "a/b"}, 400, "id"),
        ({"type": "Slot", "interaction": "read", "who": "me"}, 400, "who"),
        ({"type": "Slot", "interaction": "read", "client": "none"}, 422, "client"),
        ({"type": "Slot", "interaction": "read", "client": "provider-portal", "user": "none"}, 422, "client"),
        ({"type": "Slot", "interaction": "read", "client": "auditor", "user": "dr-lee"}, 422, "user"),
        ({"type": "Slot", "interaction": "read", "client": "auditor", "scope": "system/*.cruds"}, 422, "user"),
    ],
)
async def test_wrong_questions_name_what_is_wrong(ward: Harness, asked: dict[str, str], status: int, at: str) -> None:
    answer = await explained(ward, **asked)
    assert answer.status_code == status, answer.text
    assert issue(answer)["expression"] == [at]
