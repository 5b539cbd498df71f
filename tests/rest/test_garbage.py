"""What a request made is gone with it: the collector of cycles would look through all that lives to find it."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.rest.request import Request
from tests.harness import Harness, make_harness

MANY = 20


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Harness]:
    """On the embedded store: MongoDB's driver leaves cycles of its own."""
    harness = await make_harness("sqlite", tmp_path)
    yield harness
    await harness.close()


@pytest.mark.parametrize(
    ("path", "status"), [("metadata", 200), ("Slot", 200), ("Patient/1", 403), ("Slot/nothing", 404), ("Nothing", 404)]
)
async def test_a_request_leaves_nothing_for_the_collector(embedded: Harness, path: str, status: int) -> None:
    """Refusals too: an exception that is kept in the frame that its traceback has would be a cycle."""

    async def ask() -> None:
        request = Request("GET", "demo", tuple(path.split("/")), "", {}, b"", "192.0.2.1", "1")
        assert (await embedded.parts.pipeline.perform(request)).status == status

    await ask()
    gc.collect()
    gc.disable()
    try:
        for _ in range(MANY):
            await ask()
        left = gc.collect()
    finally:
        gc.enable()
    assert left < MANY
