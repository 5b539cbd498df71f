"""Group commit: one thread writes a file, and one sync makes all that waited for it durable.

Nobody is answered before the commit of the batch that their job was in.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# A batch this long is committed before more is taken in, so that the first of it does not wait too long.
LONGEST_BATCH = 256


class Job(Generic[T]):
    """One thing to commit, and who waits for it in `loop`. The batch sets `result` or `error`, then `future` is set."""

    __slots__ = ("error", "future", "input", "loop", "result")

    def __init__(self, input_: T, loop: asyncio.AbstractEventLoop) -> None:
        self.input = input_
        self.result: Any = None
        self.error: BaseException | None = None
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def answer(self) -> None:
        """Wake who waits, in their loop's thread."""
        if self.future.done():  # whoever asked has gone away; what was committed stays
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit(Generic[T]):
    """A thread that takes all waiting jobs, hands them to `commit` as one batch, and answers them after it.

    What one turn of the event loop submits is handed over at its end, at once: a job at a time would wake the thread
    for each, which then competes with the loop for the interpreter and commits batches of one.
    """

    def __init__(self, name: str, commit: Callable[[Sequence[Job[T]]], None]) -> None:
        self._commit = commit
        self._submitted: dict[asyncio.AbstractEventLoop, list[Job[T]]] = {}
        self._queue: SimpleQueue[list[Job[T]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def submit(self, input_: T) -> Any:
        """The result of `input_` once its batch is durable."""
        loop = asyncio.get_running_loop()
        job = Job(input_, loop)
        submitted = self._submitted.get(loop)
        if submitted is None:
            self._submitted[loop] = [job]
            loop.call_soon(self._hand_over, loop)
        else:
            submitted.append(job)
        return await job.future

    def close(self) -> None:
        """Commit what waits and end the thread."""
        for loop in list(self._submitted):
            self._hand_over(loop)
        self._queue.put(None)
        self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self._submitted.pop(loop, None)
        if jobs:
            self._queue.put(jobs)

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs = self._queue.get()
            waiting: list[Job[T]] = []
            while jobs is not None:
                waiting += jobs
                if len(waiting) >= LONGEST_BATCH:
                    break
                try:
                    jobs = self._queue.get_nowait()
                except Empty:
                    break
            else:
                open_ = False
            for begin in range(0, len(waiting), LONGEST_BATCH):
                batch = waiting[begin : begin + LONGEST_BATCH]
                self._commit(batch)
                answer_all(batch)


def answer_all(batch: Sequence[Job[Any]]) -> None:
    """Wake all who wait, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_answer_here, jobs)


def _answer_here(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        job.answer()
