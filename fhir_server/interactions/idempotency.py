"""`Idempotency-Key`: a repeat with the same body gets the same answer, with another body 422 (interfaces, "Website
builder without a login"). A key is its caller's own, for one kind of request, and is remembered for a day.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Unprocessable
from fhir_server.interactions.call import Call
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

KIND = "idempotency"
HEADER = "idempotency-key"
REMEMBERED = 86_400_000_000
_LONGEST = 256


async def once(call: Call, repository: Repository, of: str, make: Callable[[], Awaitable[Stored]]) -> Stored:
    """What `make` stores; for a repeat what the first request with this key stored, with the headers of its answer.

    `of` is what is asked for: a type to create, or an operation. Raises BadRequest, Unprocessable.
    """
    key = call.headers.get(HEADER)
    if key is None:
        return await make()
    if not key or len(key) > _LONGEST:
        raise BadRequest(f"An Idempotency-Key has 1 to {_LONGEST} characters.")
    agent = repository.access.agent
    name = _hash([key, agent.client_id, agent.fhir_user, agent.patient, of])
    body = _hash(call.body)
    kept = await repository.unit.peek(KIND, name)
    if kept is not None:
        return await _repeated(call, repository, orjson.loads(kept), body)
    stored = await make()
    value = orjson.dumps([body, stored.id, stored.version, repository.headers])
    await repository.unit.keep(KIND, name, value, call.clinic.server.clock() + REMEMBERED)
    return stored


async def _repeated(call: Call, repository: Repository, kept: list[Any], body: str) -> Stored:
    first_body, id_, version, headers = kept
    if body != first_body:
        raise Unprocessable("This Idempotency-Key was used with another body; use a new key for a new request.")
    stored = await repository.unit.vread(call.type, id_, version)
    assert stored is not None
    repository.headers |= headers
    return stored


def _hash(value: object) -> str:
    """Of a JSON value; the order of an object's properties means nothing."""
    return hashlib.sha256(json.serialise_sorted(value)).hexdigest()
