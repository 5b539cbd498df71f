"""A thousand clients and a hundred slots for three each: exactly three hundred win (R-10.6)."""

import asyncio
from collections import Counter
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import pytest

from tests.harness import DAY, MINUTE, Harness, make_harness, practitioner, proposal, schedule, service, to_status

CLIENTS, SLOTS, CAPACITY = 1_000, 100, 3


async def _confirm(harness: Harness, ids: list[str]) -> tuple[Counter[int], list[float]]:
    statuses: Counter[int] = Counter()
    took: list[float] = []

    async def one(id_: str) -> None:
        before = perf_counter()
        answer = await harness.patch(f"Appointment/{id_}", to_status("booked"))
        took.append((perf_counter() - before) * 1_000)
        statuses[answer.status_code] += 1

    await asyncio.gather(*map(one, ids))
    return statuses, took


async def _as_many_win_as_there_are_places(
    kind: str, folder: Path, clients: int, slots: int, capacity: int
) -> list[float]:
    """`clients` proposals, spread over the slots and confirmed at once: milliseconds of each confirmation."""
    harness = await make_harness(kind, folder, proposals_per_hour=0)
    async with harness.http:
        await harness.seed(
            practitioner("dr-lee"),
            service("group", capacity=capacity),
            schedule("lee", "Practitioner/dr-lee", "HealthcareService/group"),
            *(harness.slot(str(n), 2 * DAY + 30 * n * MINUTE) for n in range(slots)),
        )
        made = [await harness.create(proposal(str(n % slots)), "anonymous") for n in range(clients)]
        assert {answer.status_code for answer in made} == {201}
        statuses, took = await _confirm(harness, [answer.json()["id"] for answer in made])
        assert statuses == {200: slots * capacity, 409: clients - slots * capacity}
        assert (await harness.get("Slot?status=busy&_summary=count", "dr-lee")).json()["total"] == slots
        booked = await harness.get("Appointment?status=booked&_summary=count", "dr-lee")
        assert booked.json()["total"] == slots * capacity
    await harness.parts.store.close()
    return took


@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize(("slots", "capacity"), [(1, 1), (4, 3)])
async def test_as_many_win_as_there_are_places(store_kind: str, tmp_path: Path, slots: int, capacity: int) -> None:
    await _as_many_win_as_there_are_places(store_kind, tmp_path, 40, slots, capacity)


@pytest.mark.soak
@pytest.mark.requirement("R-10.6")
@pytest.mark.parametrize(("slots", "capacity"), [(1, 1), (SLOTS, CAPACITY)])
async def test_of_a_thousand_clients_as_many_win_as_there_are_places(
    store_kind: str, tmp_path: Path, slots: int, capacity: int, capsys: pytest.CaptureFixture[str]
) -> None:
    took = await _as_many_win_as_there_are_places(store_kind, tmp_path, CLIENTS, slots, capacity)
    with capsys.disabled():
        p99 = quantiles(took, n=100)[98]
        print(f"\n{CLIENTS} clients, {slots} slots of {capacity}: p99 of a confirmation {p99:.0f} ms")
