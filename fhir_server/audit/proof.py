"""`AuditEvent/{id}/$proof`: that an event is in the log under a signed checkpoint, for anybody with the public key.

The proof has the entry as it was hashed, the path from its hash to the root of its range, and the checkpoint that
names this root (docs/audit.md, "Proofs").
"""

import base64
from typing import Any

from fhir_server.audit import checkpoint, keys, log, merkle
from fhir_server.audit.checkpoint import Checkpoint, Range
from fhir_server.fhir import json
from fhir_server.fhir.errors import NotFound, Unprocessable
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.store.chain import genesis, link
from fhir_server.store.protocol import Sealed, Unit


async def handle(call: Call, repository: Repository) -> Answer:
    """The proof as Parameters. Raises NotFound, and Unprocessable for an entry that no checkpoint covers yet."""
    await log.read(call, repository)  # whoever may read the event may have its proof
    unit = repository.unit
    placed = await unit.placed(call.id)
    if placed is None:
        raise NotFound("This AuditEvent is not the log's own, so there is no proof for it.")
    chain, number = placed
    sealed, found, range_ = await _covering(unit, chain, number)
    hashes = await unit.hashes(chain, range_.after, range_.upto)
    index = number - range_.after - 1
    before = hashes[index - 1] if index else await _before(unit, found.tenant, range_)
    entry = (await unit.chained(chain, number - 1, 1))[0]
    values: list[tuple[str, str, Any]] = [
        ("chain", "valueString", chain),
        ("number", "valueString", str(number)),
        ("recorded", "valueString", str(entry.recorded)),
        ("body", "valueBase64Binary", _text(entry.body or b"")),
        ("before", "valueBase64Binary", _text(before)),
        *(("path", "valueBase64Binary", _text(each)) for each in merkle.path(hashes, index)),
        ("checkpoint", "valueBase64Binary", _text(sealed.body)),
        ("signature", "valueBase64Binary", _text(sealed.signature)),
    ]
    parameters = [{"name": name, kind: value} for name, kind, value in values]
    return Answer(200, json.serialise({"resourceType": "Parameters", "parameter": parameters}))


def check(parameters: dict[str, Any], public: bytes) -> str:
    """What is wrong with a proof; '' when it holds. Needs nothing but the public key."""
    values: dict[str, list[str]] = {}
    for each in parameters["parameter"]:
        values.setdefault(each["name"], []).append(each.get("valueString") or each.get("valueBase64Binary", ""))
    one = {name: found[0] for name, found in values.items()}
    body = base64.b64decode(one["checkpoint"])
    if not keys.is_signed(public, body, base64.b64decode(one["signature"])):
        return "the checkpoint is not signed by this key"
    range_ = checkpoint.parse(body).range_of(one["chain"])
    number = int(one["number"])
    if range_ is None or not range_.after < number <= range_.upto:
        return "the checkpoint does not cover the entry"
    before, entry = base64.b64decode(one["before"]), base64.b64decode(one["body"])
    hash_ = link(before, number, int(one["recorded"]), entry)
    path = [base64.b64decode(each) for each in values.get("path", ())]
    size = range_.upto - range_.after
    if not merkle.includes(hash_, number - range_.after - 1, size, path, bytes.fromhex(range_.tree)):
        return "the path does not lead from the entry to the checkpoint"
    return ""


async def _covering(unit: Unit, chain: str, number: int) -> tuple[Sealed, Checkpoint, Range]:
    """The checkpoint that covers an entry: the first in which its chain stands at or after it."""
    last = next(iter(await unit.sealed(-1, 1)), None)
    low, high = 1, last.number if last is not None else 0
    while low < high:
        middle = (low + high) // 2
        range_ = checkpoint.parse((await unit.sealed(middle - 1, 1))[0].body).range_of(chain)
        low, high = (low, middle) if range_ is not None and range_.upto >= number else (middle + 1, high)
    if last is not None:
        sealed = (await unit.sealed(low - 1, 1))[0]
        found = checkpoint.parse(sealed.body)
        range_ = found.range_of(chain)
        if range_ is not None and range_.after < number <= range_.upto:
            return sealed, found, range_
    raise Unprocessable("No checkpoint covers this entry yet; ask again in a minute.", code="incomplete")


async def _before(unit: Unit, tenant: str, range_: Range) -> bytes:
    """The hash of the last entry before a range."""
    if range_.after == 0:
        return genesis(tenant, range_.chain)
    found = await unit.hashes(range_.chain, range_.after - 1, range_.after)
    return found[0] if found else bytes(32)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
