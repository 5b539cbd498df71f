"""The sealer: makes checkpoints, every minute or 1,000 entries, and when the server ends.

Any process may seal; each checkpoint is made in one Unit, so that two sealers make one after the other. Sealing looks
as often as it takes to notice 1,000 entries at the rate at which they come.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fhir_server.audit import checkpoint, keys, merkle
from fhir_server.audit.checkpoint import Checkpoint, Range
from fhir_server.audit.keys import Signer
from fhir_server.audit.witness import Witness
from fhir_server.fhir.clock import Clock, Micros
from fhir_server.fhir.errors import FhirError
from fhir_server.store.protocol import Head, Sealed, Store, Unit

EVERY: Micros = 60_000_000
ENTRIES = 1_000
# The most entries of a chain that one checkpoint takes; more wait for the next, which follows at once.
MOST = 20_000
SECOND: Micros = 1_000_000
_SHORTEST_WAIT_SECONDS = 0.02

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What the sealer knows of a tenant: since when, and how many, entries wait."""

    at: Micros
    waiting: int = 0
    since: Micros | None = None


class Sealer:
    """Seals the logs of the tenants that this process serves."""

    def __init__(self, store: Store, clock: Clock, folder: Path | None = None, witness: Witness | None = None) -> None:
        self._store, self._clock, self._folder, self._witness = store, clock, folder, witness
        self._signers: dict[str, Signer] = {}
        self._seen: dict[str, _Seen] = {}

    async def run(self, tenants: Callable[[], Iterable[str]]) -> None:
        """Seal what is due, for ever."""
        while True:
            wait = 1.0
            for tenant in list(tenants()):
                try:
                    wait = min(wait, await self.look(tenant))
                except (FhirError, OSError):
                    _logger.exception("the audit log of '%s' could not be sealed", tenant)
            await asyncio.sleep(max(wait, _SHORTEST_WAIT_SECONDS))

    async def look(self, tenant: str) -> float:
        """Seal a tenant's log if that is due; after how many seconds to look again."""
        now, seen = self._clock(), self._seen.get(tenant)
        waiting = await self._store.run(tenant, _waiting, write=False, quick=True)
        since = now if seen is None or seen.since is None or waiting < seen.waiting else seen.since
        if waiting >= ENTRIES or (waiting and now - since >= EVERY):
            await self.seal(tenant)
            self._seen[tenant] = _Seen(now)
            return _SHORTEST_WAIT_SECONDS if waiting >= ENTRIES else 1.0
        rate = (waiting - seen.waiting) / max(now - seen.at, 1) if seen is not None else 0.0
        self._seen[tenant] = _Seen(now, waiting, since if waiting else None)
        return (ENTRIES - waiting) / rate / SECOND if rate > 0 else 1.0

    async def seal(self, tenant: str) -> list[Sealed]:
        """Seal all that waits, now; the checkpoints made."""
        if not await self._store.run(tenant, _waiting, write=False):
            return []
        if tenant not in self._signers:
            self._signers[tenant] = await keys.signer(self._store, tenant, self._folder)
        signer, made = self._signers[tenant], list[Sealed]()

        async def work(unit: Unit) -> Sealed | None:
            return await next_checkpoint(unit, tenant, signer, self._clock())

        while (sealed := await self._store.run(tenant, work, write=True)) is not None:
            made.append(sealed)
            if self._witness is not None:
                self._witness.see(tenant, sealed)
        return made


async def next_checkpoint(unit: Unit, tenant: str, signer: Signer, now: Micros) -> Sealed | None:
    """Make the checkpoint over what is new; None when nothing is."""
    last = next(iter(await unit.sealed(-1, 1)), None)
    before = checkpoint.parse(last.body) if last is not None else None
    ranges, hashes = [], list[bytes]()
    for head in await unit.heads():
        made, fresh = await _range(unit, head, before.range_of(head.chain) if before is not None else None)
        ranges.append(made)
        hashes += fresh
    if not hashes:
        return None
    return await write(unit, tenant, signer, now, ranges, hashes, last)


async def write(
    unit: Unit, tenant: str, signer: Signer, now: Micros, ranges: list[Range], hashes: list[bytes],
    last: Sealed | None, purged: dict[str, object] | None = None,
) -> Sealed:  # fmt: skip
    """Sign and keep a checkpoint that follows `last`; also in time, where the clock says that it was before."""
    marks = checkpoint.marks_of(hashes)
    number, previous, at = 1, checkpoint.NOTHING, now
    if last is not None:
        number, previous = last.number + 1, checkpoint.hash_of(last)
        at = max(now, checkpoint.parse(last.body).at)
    body = Checkpoint(
        tenant, number, at, previous, tuple(ranges), signer.key_id, hashlib.sha256(marks).hexdigest(), purged or {}
    ).body()
    sealed = Sealed(number, body, signer.sign(body), marks)
    await unit.seal(sealed)
    return sealed


async def _range(unit: Unit, head: Head, before: Range | None) -> tuple[Range, list[bytes]]:
    """What is new of a chain. One that is gone or cut off stands where it stood, for `verify` to tell."""
    after = before.upto if before is not None else 0
    hashes = list(await unit.hashes(head.chain, after, min(head.number, after + MOST)))
    if not hashes:
        stood = before.head if before is not None else checkpoint.NOTHING
        return Range(head.chain, after, after, stood, merkle.root([]).hex()), []
    return Range(head.chain, after, after + len(hashes), hashes[-1].hex(), merkle.root(hashes).hex()), hashes


async def _waiting(unit: Unit) -> int:
    """How many entries no checkpoint covers yet."""
    last = next(iter(await unit.sealed(-1, 1)), None)
    covered = {each.chain: each.upto for each in checkpoint.parse(last.body).ranges} if last is not None else {}
    return sum(max(head.number - covered.get(head.chain, 0), 0) for head in await unit.heads())
