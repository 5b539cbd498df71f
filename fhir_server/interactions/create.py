"""create: a new resource under an id that the server chooses (FHIR R4 http.html#create).

`Idempotency-Key`: a repeat with the same body gets the same answer, with another body 422 (interfaces, "Website
builder without a login").
"""

import hashlib
from typing import Any

import orjson

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Unprocessable
from fhir_server.interactions import conditional
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository

KIND = "idempotency"
# A key is remembered for a day.
REMEMBERED = 86_400_000_000
_LONGEST_KEY = 256


async def handle(call: Call, repository: Repository) -> Answer:
    """201 with Location; an id in the body is ignored."""
    condition = call.headers.get("if-none-exist")
    if condition is not None:
        found = await conditional.one(call, repository, call.type, conditional.criteria(condition))
        if found is not None:
            return answer_with(call, repository, found, 200, letter="s")
    key = call.headers.get("idempotency-key")
    if key is None:
        return answer_with(call, repository, await repository.create(call.body, id_=call.id or None), 201)
    if not key or len(key) > _LONGEST_KEY:
        raise BadRequest(f"An Idempotency-Key has 1 to {_LONGEST_KEY} characters.")
    agent = repository.access.agent
    name = _hash([key, agent.client_id, agent.fhir_user, call.type])
    body = _hash([call.body])
    kept = await repository.unit.peek(KIND, name)
    if kept is not None:
        return await _repeated(call, repository, orjson.loads(kept), body)
    stored = await repository.create(call.body)
    value = orjson.dumps([body, stored.id, stored.version, repository.headers])
    await repository.unit.keep(KIND, name, value, call.clinic.server.clock() + REMEMBERED)
    return answer_with(call, repository, stored, 201)


async def _repeated(call: Call, repository: Repository, kept: list[Any], body: str) -> Answer:
    """The answer that the first request with this key got."""
    first_body, id_, version, headers = kept
    if body != first_body:
        raise Unprocessable("This Idempotency-Key was used with another body; use a new key for a new request.")
    stored = await repository.unit.vread(call.type, id_, version)
    assert stored is not None
    repository.headers |= headers
    return answer_with(call, repository, stored, 201)


def _hash(parts: list[object]) -> str:
    return hashlib.sha256(json.serialise(parts)).hexdigest()
