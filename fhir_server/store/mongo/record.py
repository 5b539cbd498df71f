"""Audit entries of reads and refusals: those of many requests are inserted with one command, durable at return."""

import asyncio
from collections.abc import Sequence

from fhir_server.store.mongo.errors import unavailable_on_failure
from fhir_server.store.mongo.schema import Database, Document
from fhir_server.store.mongo.transaction import DURABLE

_MOST_TOGETHER = 1_000


class Recorder:
    """Gathers entries while a command is under way, and then sends them all."""

    def __init__(self, database: Database) -> None:
        self._audit = database.get_collection("audit", write_concern=DURABLE)
        self._waiting: list[tuple[Sequence[Document], asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def record(self, documents: Sequence[Document]) -> None:
        """Insert; durable at return. Raises Unavailable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((documents, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        await done

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
            error: BaseException | None = None
            try:
                with unavailable_on_failure():
                    await self._audit.insert_many([each for documents, _ in taken for each in documents])
            except BaseException as raised:  # noqa: BLE001 - whatever it is, all who wait are told
                error = raised
            for _, done in taken:
                if not done.done():
                    done.set_exception(error) if error is not None else done.set_result(None)
