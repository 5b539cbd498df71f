"""The table of states over HTTP: every from × to × role is allowed if and only if STEPS says so (R-10.1 to R-10.4)."""

import asyncio
from typing import Any, get_args

import pytest

from fhir_server.booking.states import OCCUPYING, OPEN, STEPS
from fhir_server.interactions.access import Role
from tests.harness import (
    DAY,
    MINUTE,
    Harness,
    appointment,
    patient,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

STATUSES = ("proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error",
            "checked-in", "waitlist")  # fmt: skip
# How staff bring an appointment to a status.
WAY = {
    "proposed": (),
    "pending": ("pending",),
    "waitlist": ("waitlist",),
    "booked": ("booked",),
    "arrived": ("booked", "arrived"),
    "checked-in": ("booked", "checked-in"),
    "fulfilled": ("booked", "fulfilled"),
    "noshow": ("booked", "noshow"),
    "cancelled": ("cancelled",),
    "entered-in-error": ("entered-in-error",),
}
ROLES: dict[str, tuple[Role, bool]] = {
    "dr-lee": ("practitioner", True),
    "sam": ("front-desk", True),
    "anna": ("patient", True),
    "website": ("website", False),
    "backend": ("service", False),
    "admin": ("administrator", False),
    "root": ("administrator", True),
}


def is_step(role: Role, human: bool, before: str | None, after: str) -> bool:
    """Whether the table lets a role take a step; a staff member may always change what keeps its status."""
    if before == after:
        return role in ("practitioner", "front-desk") and human
    return any(
        before in step.before and step.after == after and role in step.who and (human or not step.needs_human)
        for step in STEPS
    )


def test_the_table_names_what_there_is() -> None:
    named = {status for step in STEPS for status in (*step.before, step.after)} - {None}
    assert named == set(STATUSES)
    assert {role for step in STEPS for role in step.who} <= set(get_args(Role))
    assert not OPEN & OCCUPYING


def test_only_people_confirm_and_only_staff() -> None:
    """R-10.1, R-10.3: no step to an occupying status but by staff, with a human behind the request."""
    for step in STEPS:
        if step.after in OCCUPYING or (set(step.before) & OCCUPYING and step.after != "cancelled"):
            assert set(step.who) <= {"practitioner", "front-desk"}
            assert step.needs_human


async def _world(harness: Harness) -> None:
    await harness.seed(
        practitioner("dr-lee"),
        patient("anna"),
        service("care", withdrawal=True, cancellation_window_hours=1),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
    )


async def _at_status(harness: Harness, number: int, status: str) -> str:
    """A new appointment of anna's in a status."""
    start = (number + 2) * DAY
    await harness.seed(harness.slot(f"s{number}", start))
    proposed = appointment("", "proposed", "anna", f"s{number}")
    del proposed["id"]
    answer = await harness.create(proposed, "sam")
    assert answer.status_code == 201, answer.text
    path = f"Appointment/{answer.json()['id']}"
    for step in WAY[status]:
        assert (await harness.patch(path, to_status(step), "sam")).status_code == 200
    return path


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.requirement("R-10.1", "R-10.3", "R-10.4", "R-4.8", "R-4.5", "R-6.4")
async def test_every_step_by_every_role(harness: Harness, caller: str, before: str) -> None:
    """PATCH and PUT alike: 200 if and only if a row of STEPS allows it; otherwise nothing changes."""
    await _world(harness)
    role, human = ROLES[caller]
    number = 0
    for after in STATUSES:
        for method in ("PATCH", "PUT"):
            path = await _at_status(harness, number, before)
            number += 1
            stored = await harness.stored(path)
            if method == "PATCH":
                answer = await harness.patch(path, to_status(after), caller)
            else:
                reason = {"cancelationReason": {"text": "not possible"}} if after == "cancelled" else {}
                answer = await harness.put(stored | {"status": after} | reason, caller)
            allowed = is_step(role, human, before, after)
            # A slot's own rules may come on top: the website never sees an appointment to change it.
            if caller == "website":
                assert answer.status_code in (403, 404), (method, after, answer.text)
                continue
            assert (answer.status_code == 200) == allowed, (method, after, answer.text)
            assert answer.status_code in (200, 403, 422)
            status = after if allowed else before
            assert (await harness.stored(path))["status"] == status
            slot = await harness.stored(f"Slot/{stored['slot'][0]['reference'].partition('/')[2]}")
            assert slot["status"] == ("busy" if status in OCCUPYING else "free")


@pytest.mark.parametrize("after", STATUSES)
@pytest.mark.requirement("R-7.19", "R-10.1")
async def test_every_first_status_by_every_role(harness: Harness, after: str) -> None:
    await _world(harness)
    for number, (caller, (role, human)) in enumerate(ROLES.items()):
        start = (number + 2) * DAY
        await harness.seed(harness.slot(f"s{number}", start))
        times = {"start": harness.at(start), "end": harness.at(start + 30 * MINUTE)}
        made: dict[str, Any] = appointment("", after, "anna", f"s{number}", **times)
        if role == "website":
            made = proposal(f"s{number}", status=after)
        made.pop("id", None)
        answer = await harness.create(made, caller)
        assert (answer.status_code == 201) == is_step(role, human, None, after), (caller, answer.text)
        assert answer.status_code in (201, 403, 422)


@pytest.mark.requirement("R-10.6", "R-10.5", "R-6.5")
async def test_twenty_confirmations_at_once_and_one_wins(clinic: Harness) -> None:
    """Exactly one 200 and nineteen 409s, all audited, and the slot agrees."""
    await clinic.seed(clinic.slot("s"))
    made = [(await clinic.create(proposal("s"), "anonymous")).json()["id"] for _ in range(20)]
    await clinic.token("dr-lee")
    before = len(await clinic.events())
    answers = await asyncio.gather(*(clinic.patch(f"Appointment/{id_}", to_status("booked")) for id_ in made))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [409] * 19
    booked = [id_ for id_ in made if (await clinic.stored(f"Appointment/{id_}"))["status"] == "booked"]
    winner = next(answer for answer in answers if answer.status_code == 200).json()["id"]
    assert booked == [winner]
    assert all(winner in answer.text for answer in answers if answer.status_code == 409)
    events = [event for event in (await clinic.events())[before:] if event.subtype != "read"]
    assert [event.outcome for event in events].count("4") == 19
    assert sorted(event.entity.partition("/")[0] for event in events if event.outcome == "0") == ["Appointment", "Slot"]
    assert (await clinic.stored("Slot/s"))["status"] == "busy"
