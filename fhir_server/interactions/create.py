"""create: a new resource under an id that the server chooses (FHIR R4 http.html#create)."""

from fhir_server.interactions import conditional
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.idempotency import once
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository


async def handle(call: Call, repository: Repository) -> Answer:
    """201 with Location; an id in the body is ignored."""
    condition = call.headers.get("if-none-exist")
    if condition is not None:
        found = await conditional.one(call, repository, call.type, conditional.criteria(condition))
        if found is not None:
            return answer_with(call, repository, found, 200, letter="s")
    stored = await once(call, repository, call.type, lambda: repository.create(call.body, id_=call.id or None))
    answer = answer_with(call, repository, stored, 201)
    if not repository.changes:  # a repeat: what the first request stored is shown again
        answer.shown = (stored,)
    return answer
