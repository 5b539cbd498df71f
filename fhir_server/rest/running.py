"""The jobs that this process runs for callers who do not wait (`interactions.operations.jobs`)."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fhir_server.fhir.clock import Clock
from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.operations import jobs
from fhir_server.store.protocol import Store, Unit

# More are answered while the caller waits.
MOST = 8
BEAT_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class RunningJobs:
    """Starts jobs, and keeps their state while they run."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, call: Call, work: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """202 with where to ask for the answer; None when this process runs enough already."""
        if len(self._tasks) >= MOST:
            return None
        id_, tenant = secrets.token_hex(16), call.clinic.name
        job = jobs.Job(jobs.owner_of(call.access.agent), self._clock())

        async def begin(unit: Unit) -> None:
            await jobs.keep(unit, id_, job)

        await self._store.run(tenant, begin, write=True)
        task = asyncio.create_task(self._run(tenant, id_, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Answer(202, headers={"content-location": f"{call.clinic.base_url}/_async/{id_}"})

    async def close(self) -> None:
        """Stop what runs; whoever asks for it is told that it was interrupted."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, tenant: str, id_: str, work: Callable[[], Awaitable[Answer]]) -> None:
        async def done() -> Answer:
            return await work()

        running = asyncio.create_task(done())
        try:
            while True:
                finished, _ = await asyncio.wait({running}, timeout=BEAT_SECONDS)
                answer = running.result() if finished else None
                if not await self._tell(tenant, id_, answer) or finished:
                    break
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def _tell(self, tenant: str, id_: str, answer: Answer | None) -> bool:
        """Keep the job's beat or answer; whether it is still wanted."""

        async def tell(unit: Unit) -> bool:
            job = await jobs.read(unit, id_)
            if job is None:
                return False
            now = self._clock()
            await jobs.keep(unit, id_, job.answered(answer, now) if answer is not None else job.beating(now))
            return True

        try:
            return await self._store.run(tenant, tell, write=True)
        except FhirError:
            _logger.warning("the state of a job could not be kept")
            return True
