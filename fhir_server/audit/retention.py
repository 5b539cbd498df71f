"""Purging: whole checkpointed ranges that are older than the period, by command only, with a signed tombstone.

The tombstone is a checkpoint of its own, signed and witnessed like any other: what was purged, by whom, and the hashes
at which the chains go on. It is made before anything is removed; a purge that was broken off is finished by the next,
and until then what is left verifies. The old checkpoints stay, without their marks, which are taken away last. Where a
patient is under legal hold, nothing from the first entry about them on is purged.
"""

from collections.abc import Sequence

import orjson

from fhir_server.audit import checkpoint, sealer
from fhir_server.audit.checkpoint import Checkpoint, Range
from fhir_server.audit.keys import Signer
from fhir_server.audit.merkle import root
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Unprocessable
from fhir_server.store.protocol import AuditQuery, Sealed, Unit

HOLD = "audit-hold"
# No entry is younger than the checkpoint that covers it, beyond what clocks of processes differ.
_CLOCKS_DIFFER: Micros = 60_000_000


async def hold(unit: Unit, patient: str, reason: str) -> None:
    """Put a patient under legal hold."""
    await unit.keep(HOLD, patient, reason.encode())


async def release(unit: Unit, patient: str) -> bool:
    """End a legal hold; False when there was none."""
    return await unit.take(HOLD, patient) is not None


async def plan(unit: Unit, before: Micros) -> Checkpoint | None:
    """The last checkpoint up to which all may be purged; None when there is none."""
    for patient, _ in await unit.kept(HOLD):
        first = await unit.audited(AuditQuery(found_by=("patient", patient), ascending=True, count=1))
        before = min([before, *(entry.recorded for entry in first)])
    found, after = None, 0
    while batch := await unit.sealed(after, 200):
        for each in batch:
            parsed = checkpoint.parse(each.body)
            if parsed.at + _CLOCKS_DIFFER > before:
                return found
            found = parsed
        after = batch[-1].number
    return found


async def bury(
    unit: Unit, tenant: str, signer: Signer, now: Micros, upto: Checkpoint, by: str, reason: str
) -> Sealed | None:  # fmt: skip
    """Make the tombstone; None where it stands, and only the removal was broken off.

    Raises Unprocessable when all of it is purged already.
    """
    last = (await unit.sealed(-1, 1))[0]
    stands = checkpoint.parse(last.body)
    earlier = await purged_upto(unit)
    numbers = {each.chain: each.upto for each in upto.ranges if each.upto}
    if all(earlier.get(chain, 0) >= number for chain, number in numbers.items()):
        if await _marked(unit, upto):
            return None
        raise Unprocessable("Everything so old is purged already.")
    ranges = [Range(each.chain, each.upto, each.upto, each.head, root([]).hex()) for each in stands.ranges]
    chains = {each.chain: [each.upto, each.head] for each in upto.ranges if each.upto}
    purged = {"checkpoint": upto.number, "chains": chains, "by": by, "reason": reason}
    await unit.keep(HOLD + "-purged", "upto", orjson.dumps(numbers))
    return await sealer.write(unit, tenant, signer, now, ranges, [], last, purged)


async def remove(unit: Unit, upto: Checkpoint) -> int:
    """Remove the entries, and the marks of their checkpoints; how many entries the chains had."""
    for each in upto.ranges:
        if each.upto:
            await unit.purge(each.chain, each.upto)
    after = 0
    while marked := await _marked(unit, upto, after):
        for sealed in marked:
            await unit.seal(Sealed(sealed.number, sealed.body, sealed.signature))
        after = marked[-1].number
    return sum(each.upto for each in upto.ranges)


async def _marked(unit: Unit, upto: Checkpoint, after: int = 0) -> list[Sealed]:
    """Some checkpoints after a number, up to one, that still have their marks; none when no more have."""
    marked: list[Sealed] = []
    while not marked and after < upto.number:
        batch: Sequence[Sealed] = await unit.sealed(after, 200)
        marked = [sealed for sealed in batch if sealed.marks and sealed.number <= upto.number]
        after = batch[-1].number
    return marked


async def purged_upto(unit: Unit) -> dict[str, int]:
    """The last purged number of each chain."""
    kept = await unit.peek(HOLD + "-purged", "upto")
    return dict(orjson.loads(kept)) if kept is not None else {}
