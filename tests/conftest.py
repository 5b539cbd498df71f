"""Fixtures for every test: the stores, and the server in process over each of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi.dependencies import models as dependency_models
from fastapi.dependencies import utils as dependency_utils

from fhir_server.fhir.clock import Ids
from fhir_server.store.protocol import Store
from tests import mongo_rules
from tests.harness import (
    STORES,
    Harness,
    SteppingClock,
    cared_for,
    fixed_ids,
    make_harness,
    open_store,
    practitioner,
    schedule,
)


@pytest.fixture(params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    """The name of a store; a test that takes it runs on every store there is."""
    return str(request.param)


# The framework remembers the functions of every application for ever, and with them all that they hold.
_REMEMBERED = [
    held for module in (dependency_models, dependency_utils) for held in vars(module).values()
    if hasattr(held, "cache_clear")
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_server_is_kept() -> Iterator[None]:
    """A server of a test that is over can go: thousands of them would fill the memory."""
    yield
    for held in _REMEMBERED:
        held.cache_clear()


@pytest.fixture(autouse=True)
def mongo_rules_hold() -> Iterator[None]:
    """What a test sends to MongoDB keeps the rules of the shard key, and every search has an index."""
    yield
    mongo_rules.LISTENER.check()


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def fixed(clock: SteppingClock) -> Ids:
    return fixed_ids(clock)


@pytest.fixture
async def store(store_kind: str, tmp_path: Path, clock: SteppingClock, fixed: Ids) -> AsyncIterator[Store]:
    """An open store with the tenants `demo` and `other`."""
    opened = open_store(store_kind, tmp_path, clock, fixed)
    for tenant in ("demo", "other"):
        await opened.create_tenant(tenant)
    yield opened
    await opened.close()


@pytest.fixture
async def harness(store_kind: str, tmp_path: Path) -> AsyncIterator[Harness]:
    """The server over an empty store."""
    made = await make_harness(store_kind, tmp_path)
    async with made.http:
        yield made
    await made.parts.store.close()


@pytest.fixture
async def clinic(harness: Harness) -> Harness:
    """The server with people and schedules: dr-lee and dr-kim, anna and ben, no slots yet."""
    await harness.seed(
        *map(practitioner, ("dr-lee", "dr-kim")),
        *map(cared_for, ("anna", "ben")),
        schedule("lee", "Practitioner/dr-lee"),
        schedule("kim", "Practitioner/dr-kim"),
    )
    return harness
