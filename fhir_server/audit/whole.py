"""Verifying a whole log: one that a store has, or one that was exported, wherever that file is now.

The export is NDJSON: a line for the log, a line each checkpoint, then a line each entry, chain after chain.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from fhir_server.audit import keys, witness
from fhir_server.audit.verify import Checkpoints, Expected, Report, Walk, check_witness
from fhir_server.store.chain import genesis
from fhir_server.store.protocol import Chained, Head, Sealed, Store, Unit

FORMAT = "fhir-server audit log 1"
BATCH = 2_000
# So many entries that stand in no chain are named.
_STRAYS = 100


async def kept_keys(store: Store, tenant: str) -> list[bytes]:
    """The public keys that are kept with a log."""
    return await store.run(tenant, keys.public_keys, write=False)


async def verify_store(store: Store, tenant: str, public: Iterable[bytes], seen: Iterable[Sealed] = ()) -> Report:
    """Verify the log that a store has."""
    checkpoints, sealed = Checkpoints(tenant, public), []
    async for each in checkpoints_of(store, tenant):
        checkpoints.take(each)
        sealed.append(Sealed(each.number, each.body, each.signature))
    report = _begun(checkpoints, check_witness(sealed, seen))
    report.faults += [f"{id_} stands in no chain of a registered writer" for id_ in await _strays(store, tenant)]
    heads: Sequence[Head] = await store.run(tenant, _heads, write=False)
    for name in sorted({head.chain for head in heads} | checkpoints.chains.keys()):
        expected = checkpoints.chains.get(name, Expected(0, genesis(tenant, name)))
        if any(head.chain == name and head.number < 0 for head in heads):
            report.faults.append(f"the chain {name} of a registered writer is missing")
            continue
        walk = Walk(name, expected)
        async for batch in entries_of(store, tenant, name):
            if not all(map(walk.take, batch)):
                break
        _add(report, walk)
        # On a store that chains entries when it seals them, others wait.
        waiting = (head.number - walk.number for head in heads if head.chain == name and not walk.fault)
        report.unsealed += sum(max(count, 0) for count in waiting)
    return report


def verify_export(path: Path, public: Iterable[bytes], seen: Iterable[Sealed] = ()) -> Report:
    """Verify an exported log. Raises ValueError when the file is no such export."""
    with path.open("rb") as file:
        head = orjson.loads(file.readline())
        if head.get("format") != FORMAT:
            raise ValueError("this file is no exported audit log")
        tenant, checkpoints, sealed = str(head["tenant"]), Checkpoints(str(head["tenant"]), public), list[Sealed]()
        report: Report | None = None
        walks: dict[str, Walk] = {}
        for text in file:
            line = orjson.loads(text)
            if report is None and "checkpoint" in line:
                each = witness.read(text)
                checkpoints.take(each)
                sealed.append(Sealed(each.number, each.body, each.signature))
                continue
            report = report or _begun(checkpoints, check_witness(sealed, seen))
            _take_line(line, tenant, checkpoints, walks)
    report = report or _begun(checkpoints, check_witness(sealed, seen))
    for name in sorted(walks.keys() | checkpoints.chains.keys()):
        _add(report, walks.get(name) or Walk(name, checkpoints.chains[name]))
    return report


def header(tenant: str) -> bytes:
    """The first line of an export."""
    return orjson.dumps({"format": FORMAT, "tenant": tenant})


def entry_line(chain: str, entry: Chained) -> bytes:
    """An entry as a line of an export."""
    body = entry.body.decode() if entry.body is not None else None
    return orjson.dumps({"chain": chain, "number": entry.number, "recorded": entry.recorded, "body": body,
                         "hash": entry.hash.hex()})  # fmt: skip


async def checkpoints_of(store: Store, tenant: str) -> AsyncIterator[Sealed]:
    """All checkpoints of a store's log, in their order."""
    after = 0
    while True:

        async def work(unit: Unit, after: int = after) -> Sequence[Sealed]:
            return await unit.sealed(after, 200)

        batch = await store.run(tenant, work, write=False)
        for each in batch:
            yield each
        if not batch:
            return
        after = batch[-1].number


async def entries_of(store: Store, tenant: str, chain: str) -> AsyncIterator[Sequence[Chained]]:
    """The entries of a chain, in batches; each is read in a Unit of its own, so that writers go on."""
    after: int | None = None
    while True:

        async def work(unit: Unit, after: int | None = after) -> Sequence[Chained]:
            return await unit.chained(chain, after, BATCH)

        batch = await store.run(tenant, work, write=False)
        if len(batch) == BATCH:  # what has the number of the last, where that may be, comes with it in the next
            batch = [each for each in batch if each.number != batch[-1].number] or batch
        if not batch:
            return
        yield batch
        after = batch[-1].number


async def _strays(store: Store, tenant: str) -> list[str]:
    """The entries that no chain vouches for, asked twice: a writer that has just begun is registered by then."""
    found = [await store.run(tenant, lambda unit: unit.strays(_STRAYS), write=False) for _ in range(2)]
    return [id_ for id_ in found[0] if id_ in found[1]]


async def _heads(unit: Unit) -> Sequence[Head]:
    return await unit.heads()


def _begun(checkpoints: Checkpoints, faults: list[str]) -> Report:
    checkpoints.end()
    return Report([*checkpoints.faults, *faults], checkpoints=checkpoints.count)


def _take_line(line: dict[str, Any], tenant: str, checkpoints: Checkpoints, walks: dict[str, Walk]) -> None:
    name = str(line["chain"])
    if name not in walks:
        walks[name] = Walk(name, checkpoints.chains.get(name, Expected(0, genesis(tenant, name))))
    if not walks[name].fault:
        body = line["body"].encode() if line["body"] is not None else None
        walks[name].take(Chained(line["number"], line["recorded"], body, bytes.fromhex(line["hash"])))


def _add(report: Report, walk: Walk) -> None:
    fault = walk.end()
    if fault:
        report.faults.append(fault)
    report.sealed += walk.sealed
    report.unsealed += walk.unsealed
