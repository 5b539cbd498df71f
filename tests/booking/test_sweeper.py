"""The sweeper ends whatever is over, however it came together; what cannot be ended leaves the others to end."""

import logging
from typing import Any

import pytest

from fhir_server.booking import expiry, sweeper
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored
from tests.harness import (
    DAY,
    HOUR,
    MINUTE,
    Harness,
    cared_for,
    practitioner,
    proposal,
    schedule,
    service,
)

pytestmark = pytest.mark.requirement("R-10.7", "R-8.2")


async def _clinic(harness: Harness, **rules: Any) -> None:
    await harness.seed(
        *map(practitioner, ("dr-lee", "dr-kim")),
        *map(cared_for, ("anna", "ben")),
        service("holding", hold_minutes=30),
        service("care", **rules),
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
        schedule("kim", "Practitioner/dr-kim", "HealthcareService/holding"),
        harness.slot("s", HOUR),
        harness.slot("q", 5 * DAY, schedule="kim"),
        harness.slot("r", 6 * DAY, schedule="kim"),
    )


async def _propose(harness: Harness, slot: str) -> str:
    answer = await harness.create(proposal(slot), "anonymous")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _hold(harness: Harness, slot: str) -> str:
    """What `$hold` makes of the offer of a slot."""
    times = [{"name": "start", "valueDateTime": harness.at(0)}, {"name": "end", "valueDateTime": harness.at(9 * DAY)}]
    found = await harness.send(
        "POST", "Appointment/$find", "sam", json_={"resourceType": "Parameters", "parameter": times}
    )
    offers = {entry["resource"]["slot"][0]["reference"]: entry["resource"]["id"] for entry in found.json()["entry"]}
    offer = {"reference": f"Appointment/{offers[f'Slot/{slot}']}"}
    body = {"resourceType": "Parameters", "parameter": [{"name": "appointment-reference", "valueReference": offer}]}
    held = await harness.send("POST", "Appointment/$hold", "sam", json_=body)
    assert held.status_code == 200, held.text
    return str(held.json()["entry"][0]["resource"]["id"])


async def _sweep(harness: Harness, failing: sweeper.Failing | None = None) -> int:
    return await sweeper.sweep(harness.parts.store, await harness.parts.clinics.get("demo"), failing)


async def _statuses(harness: Harness, type_: str, *ids: str) -> list[str]:
    return [str((await harness.stored(f"{type_}/{id_}"))["status"]) for id_ in ids]


@pytest.mark.requirement("R-10.10", "R-10.5")
async def test_rivals_that_end_together_end_in_one_sweep_and_so_do_holds(harness: Harness) -> None:
    """Ending the first takes the mark `contested` off the second: a version that the sweeper has not seen."""
    await _clinic(harness)
    rivals = [await _propose(harness, "s") for _ in range(3)]
    holding, held = await _propose(harness, "q"), await _hold(harness, "r")
    assert await _statuses(harness, "Slot", "q", "r") == ["busy-tentative"] * 2
    harness.clock.advance(HOUR)
    assert await _sweep(harness) == 5
    assert await _statuses(harness, "Appointment", *rivals) == ["cancelled"] * 3
    assert await _statuses(harness, "Appointment", holding, held) == ["proposed", "cancelled"]
    assert await _statuses(harness, "Slot", "q", "r") == ["free", "free"]
    assert await _sweep(harness) == 0
    events = [event for event in await harness.events() if event.client == "server"]
    ended = [event for event in events if event.rule == expiry.RULE]
    assert sorted(event.booking for event in ended) == sorted(rivals)
    assert {event.rule for event in events if event.entity.startswith("Slot/")} == {"R-8.2 hold ended"}


async def test_what_is_overdue_when_it_ends_only_ends(harness: Harness) -> None:
    await _clinic(harness, proposal_expiry_hours=1, review_hours=1)
    id_ = await _propose(harness, "s")
    harness.clock.advance(HOUR)
    await _sweep(harness)
    ended = await harness.stored(f"Appointment/{id_}")
    assert (ended["status"], ended["meta"]["versionId"]) == ("cancelled", "2")
    assert await _sweep(harness) == 0


@pytest.fixture
def cannot_end(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of appointments that cannot be ended, for a fault that nobody thought of."""
    ids: list[str] = []
    end = expiry.end

    async def failing(repository: Repository, stored: Stored, **options: Any) -> None:
        await end(repository, stored, **options)
        if stored.id in ids:
            raise KeyError("Anna Schmidt")

    monkeypatch.setattr(expiry, "end", failing)
    return ids


async def test_what_cannot_be_ended_leaves_the_others_to_end(
    harness: Harness, cannot_end: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    await _clinic(harness)
    bad, *others = [await _propose(harness, "s") for _ in range(3)]
    held = await _hold(harness, "r")
    cannot_end.append(bad)
    failing: sweeper.Failing = {}
    harness.clock.advance(HOUR)
    with caplog.at_level(logging.WARNING):
        assert await _sweep(harness, failing) == 4
    assert await _statuses(harness, "Appointment", bad, *others, held) == ["proposed", *["cancelled"] * 3]
    assert await _statuses(harness, "Slot", "r") == ["free"]
    (told,) = [record for record in caplog.records if record.name == sweeper.__name__]
    assert "KeyError at test_sweeper.py" in told.getMessage()
    assert "Schmidt" not in caplog.text
    # It is left alone for a while, and ends once it can.
    cannot_end.clear()
    assert await _sweep(harness, failing) == 0
    harness.clock.advance(MINUTE)
    assert await _sweep(harness, failing) == 1
    assert await _statuses(harness, "Appointment", bad) == ["cancelled"]
    assert not failing


async def test_those_that_cannot_be_ended_do_not_fill_the_round(
    harness: Harness, cannot_end: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round looks at some of what is over: what it has failed at is beside them."""
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    await _clinic(harness)
    *bad, good = [await _propose(harness, "s") for _ in range(4)]
    cannot_end += bad
    failing: sweeper.Failing = {}
    harness.clock.advance(HOUR)
    assert [await _sweep(harness, failing) for _ in range(3)] == [2, 2, 0]
    assert await _statuses(harness, "Appointment", *bad, good) == [*["proposed"] * 3, "cancelled"]


async def test_many_that_end_together_end_in_few_units(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await _clinic(harness)
    ids = [await _propose(harness, "s") for _ in range(sweeper.TOGETHER + 5)]
    harness.clock.advance(HOUR)
    written: list[Any] = []
    run = harness.parts.store.run

    async def counting(tenant: str, work: Any, *, write: bool, **options: Any) -> Any:
        written.extend([work] if write else [])
        return await run(tenant, work, write=write, **options)

    monkeypatch.setattr(harness.parts.store, "run", counting)
    assert await _sweep(harness) == len(ids)
    assert len(written) == 2
    monkeypatch.undo()
    assert set(await _statuses(harness, "Appointment", *ids)) == {"cancelled"}
