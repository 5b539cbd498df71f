"""Kept values that have expired are removed, so that what strangers can have kept stays bounded.

Nothing sees such a value any more; it only takes room: codes, challenges, attempts, assertions that were used.
"""

import asyncio
import logging

from fhir_server.fhir.errors import FhirError
from fhir_server.store.protocol import Store, Unit

EVERY_SECONDS = 600.0
AT_ONCE = 500

_logger = logging.getLogger(__name__)


async def forget(store: Store, tenant: str, at_once: int = AT_ONCE) -> int:
    """Remove what has expired in one clinic, some at a time, so that others may write meanwhile; how many it was."""

    async def work(unit: Unit) -> int:
        return await unit.forget(at_once)

    total = 0
    while count := await store.run(tenant, work, write=True):
        total += count
    return total


async def run(store: Store, every_seconds: float = EVERY_SECONDS) -> None:
    """Do so for every clinic that this process is asked for, until cancelled. In others nothing more is kept."""
    while True:
        await asyncio.sleep(every_seconds)
        for tenant in store.at_hand():
            try:
                await forget(store, tenant)
            except FhirError:
                _logger.warning("expired values of %s could not be removed; the next round tries again", tenant)
