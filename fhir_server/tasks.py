"""Tasks that work in the background, and how they are ended."""

import asyncio
from collections.abc import Iterable

_AGAIN_AFTER_SECONDS = 0.2


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are over.

    A cancellation may get lost: `asyncio.wait_for` of Python 3.11, in which MongoDB's driver sends, forgets one that
    comes just when it is done (https://github.com/python/cpython/issues/86296). So it is repeated.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_AFTER_SECONDS)
