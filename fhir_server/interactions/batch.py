"""batch: the entries of a Bundle, each for itself (FHIR R4 http.html#transaction).

Entries of one kind go side by side, deletions before creations before changes before reads.
"""

import asyncio

from fhir_server.interactions import entry as entries
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.entry import ORDER, Entry

# This many entries wait for the store at once.
AT_ONCE = 64


async def handle(call: Call) -> Answer:
    """200 with a Bundle of the answers; what an entry is refused for stands in its own answer."""
    read = entries.read(call)
    answers: dict[int, Answer] = {}
    for step in sorted(set(ORDER.values())):
        now = [entry for entry in read if ORDER[entry.method] == step]
        for start in range(0, len(now), AT_ONCE):
            part = now[start : start + AT_ONCE]
            found = await asyncio.gather(*(_answer(call, entry) for entry in part))
            answers |= {entry.place: answer for entry, answer in zip(part, found, strict=True)}
    body = entries.response_bundle(call, [answers[entry.place] for entry in read], call.clinic.server.clock())
    return Answer(200, body)


async def _answer(call: Call, entry: Entry) -> Answer:
    assert call.entries is not None
    return entry.told(await call.entries.alone(entry.request()))
