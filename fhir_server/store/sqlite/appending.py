"""Appending to a file in batches: rows are written in the event loop's thread, and synced in another.

A row takes microseconds and a sync milliseconds. A thread that did both would compete with the event loop for the
interpreter at every statement; so it does one thing, which needs no interpreter. What is submitted during a sync is
the next batch. Nobody is answered before the sync of the batch that their entries were in.
"""

import asyncio
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from fhir_server.store.sqlite.commit import LONGEST_BATCH, Job, answer_all

T = TypeVar("T")

# So many are synced together though more may come; fewer are as soon as a turn of the event loop brings no more.
_ENOUGH = 64


class Appends(Protocol[T]):
    """A file that is appended to, by one thread at a time."""

    def write(self, batch: Sequence[Job[T]]) -> bool:
        """Write the rows of a batch, to be synced; what fails is told to its jobs, and False returned."""

    def sync(self, batch: Sequence[Job[T]]) -> None:
        """Make what was written durable; a failure is told to the batch's jobs, and what they wrote undone."""


class Appending(Generic[T]):
    """Takes what is to be appended, from any event loop, and has at most one batch under way."""

    def __init__(self, name: str, file: Appends[T]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._waiting: list[Job[T]] = []
        self._beginner: asyncio.AbstractEventLoop | None = None  # begins the next batch at the end of its turn
        self._seen = 0  # how many waited at the end of the turn before
        self._is_syncing = False
        self._written: SimpleQueue[Sequence[Job[T]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, input_: T) -> "asyncio.Future[None]":
        """What is done once `input_` is durable. To be called in a running event loop."""
        loop = asyncio.get_running_loop()
        job = Job(input_, loop)
        with self._lock:
            self._waiting.append(job)
            if not self._is_syncing and (self._beginner is None or self._beginner.is_closed()):
                self._beginner = loop
                loop.call_soon(self._begin)  # what this turn of the loop submits goes together
        return job.future

    def close(self) -> None:
        """Write and sync what waits, and end the thread."""
        self._written.put(None)
        self._thread.join()
        while self._waiting:
            batch = self._take()
            if self._file.write(batch):
                self._file.sync(batch)
            answer_all(batch)

    def _begin(self) -> None:
        with self._lock:
            loop, self._beginner = self._beginner, None
            if self._is_syncing or not self._waiting:
                return
            if loop is not None and self._seen < len(self._waiting) < _ENOUGH:
                self._seen, self._beginner = len(self._waiting), loop
                loop.call_soon(self._begin)  # its next turn may submit more
                return
            batch = self._take()
            self._is_syncing = self._file.write(batch)
        if self._is_syncing:
            self._written.put(batch)
        else:
            self._end(batch)

    def _take(self) -> Sequence[Job[T]]:
        batch, self._waiting = self._waiting[:LONGEST_BATCH], self._waiting[LONGEST_BATCH:]
        self._seen = 0
        return batch

    def _end(self, batch: Sequence[Job[T]]) -> None:
        """Answer a batch that is over, and have a loop in which somebody waits begin the next."""
        answer_all(batch)
        with self._lock:
            self._is_syncing = False
            loops = (job.loop for job in self._waiting if not job.loop.is_closed())
            self._beginner = next(loops, None)
            if self._beginner is not None:
                self._beginner.call_soon_threadsafe(self._begin)

    def _run(self) -> None:
        while (batch := self._written.get()) is not None:
            self._file.sync(batch)
            self._end(batch)
