"""Background tasks end, whatever becomes of the first cancellation."""

import asyncio

from fhir_server import tasks


async def test_a_task_that_lost_its_cancellation_is_ended() -> None:
    """As the driver of a store may have it; one that was over, or failed, is no trouble."""
    lost = 0

    async def loses_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    async def fails() -> None:
        raise ValueError

    made = [asyncio.create_task(each) for each in (loses_two(), fails(), asyncio.sleep(0))]
    await asyncio.sleep(0.01)
    await asyncio.wait_for(tasks.end(made), 10)
    assert lost == 3
    assert [task.done() for task in made] == [True] * 3
    assert isinstance(made[1].exception(), ValueError)


async def test_no_tasks_are_no_trouble() -> None:
    await tasks.end([])
