"""How a Unit's work is run: in a transaction, from the start again while it conflicts with others, until it is durable.

MongoDB's transactions see a snapshot and conflict where two write one document; guards make decisions conflict.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

from pymongo import ReadPreference, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.store.mongo.errors import is_commit_unknown, is_transient, unavailable_on_failure
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.unit import MongoUnit
from fhir_server.store.protocol import Work

T = TypeVar("T")

DURABLE = WriteConcern(w="majority", j=True)
# How long one piece of work is tried; well below the server's own limit of a transaction, 60 seconds.
LONGEST_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.2

Client = AsyncMongoClient[Document]


class Turns:
    """Those who have to try again in this process take turns, tenant by tenant, instead of chasing one another."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for one's turn."""
        lock, waiting = self._locks.get(tenant, (asyncio.Lock(), 0))
        self._locks[tenant] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[tenant]
            if waiting == 1:
                del self._locks[tenant]
            else:
                self._locks[tenant] = lock, waiting - 1


async def write(client: Client, turns: Turns, tenant: str, work: Work[T], unit: Callable[..., MongoUnit]) -> T:
    """Do `work` in a transaction; its result once a majority has it on disk."""
    deadline = monotonic() + LONGEST_SECONDS
    with unavailable_on_failure():
        try:
            return await _attempt(client, work, unit, deadline)
        except PyMongoError as error:
            if not is_transient(error):
                raise
        async with turns.turn(tenant):
            pause = _FIRST_PAUSE_SECONDS
            while True:
                try:
                    return await _attempt(client, work, unit, deadline)
                except PyMongoError as error:
                    if not is_transient(error) or monotonic() > deadline:
                        raise
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - only keeps processes apart
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


async def read(client: Client, work: Work[T], unit: Callable[..., MongoUnit]) -> T:
    """Do `work` on one snapshot of what a majority has."""
    with unavailable_on_failure():
        async with client.start_session(snapshot=True) as session:
            return await work(unit(session))


async def _attempt(client: Client, work: Work[T], unit: Callable[..., MongoUnit], deadline: float) -> T:
    async with client.start_session(causal_consistency=True) as session:
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
        )
        this = unit(session)
        try:
            result = await work(this)
            await this.flush()
        except PyMongoError:
            await session.abort_transaction()
            raise
        except BaseException:
            await session.abort_transaction()
            await _settle(client, session)
            raise
        await _commit(session, deadline)
        return result


async def _commit(session: AsyncClientSession, deadline: float) -> None:
    while True:
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not is_commit_unknown(error) or monotonic() > deadline:
                raise
        else:
            return


async def _settle(client: Client, session: AsyncClientSession) -> None:
    """Wait until what the refused work has seen cannot be lost any more: a majority has it."""
    if session.operation_time is None:
        return
    seen = client.get_default_database("fhir").get_collection("tenant", read_concern=ReadConcern("majority"))
    await seen.find_one({"tenant": "", "type": "tenant", "id": ""}, {"_id": 1}, session=session)
