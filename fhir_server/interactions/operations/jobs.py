"""Jobs: requests that were sent with `Prefer: respond-async`, polled and cancelled (FHIR R4 async.html).

A job is a kept value, so that any process can tell of it; it belongs to its clinic and to who began it. Who runs it
renews `beat`; a job without one for a while was interrupted.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Failed, NotFound
from fhir_server.interactions.access import Agent
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Unit

KIND = "job"
# A result waits for a day.
KEPT: Micros = 86_400_000_000
INTERRUPTED_AFTER: Micros = 30_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """Whose it is, when its runner was last heard of, and its answer once there is one (`status` 0: not yet)."""

    owner: tuple[str, ...]
    beat: Micros
    status: int = 0
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def beating(self, now: Micros) -> "Job":
        """The job, just heard of."""
        return replace(self, beat=now)

    def answered(self, answer: Answer, now: Micros) -> "Job":
        """The job with its answer."""
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "www-authenticate"}
        return replace(self, beat=now, status=answer.status, body=answer.body.decode(), headers=headers)


def owner_of(agent: Agent) -> tuple[str, ...]:
    """What makes two callers one: who they are, and how far they may go, since an answer may hold all that."""
    return (agent.role, agent.client_id, agent.fhir_user, agent.patient, *sorted(set(agent.scopes)))


async def read(unit: Unit, id_: str) -> Job | None:
    """A job that is kept."""
    kept = await unit.peek(KIND, id_)
    if kept is None:
        return None
    value: dict[str, Any] = orjson.loads(kept)
    return Job(**{**value, "owner": tuple(value["owner"])})


async def keep(unit: Unit, id_: str, job: Job) -> None:
    """Keep a job as it is now."""
    await unit.keep(KIND, id_, orjson.dumps(asdict(job)), job.beat + KEPT)


async def poll(call: Call, repository: Repository) -> Answer:
    """202 while it runs, then its answer. Raises NotFound for another's, Failed for one that was interrupted."""
    job = await _own(call, repository)
    if not job.status:
        if call.clinic.server.clock() - job.beat > INTERRUPTED_AFTER:
            raise Failed("This was interrupted; what was done of it stays done. Send it again.")
        return Answer(202, headers={"retry-after": "1", "x-progress": "running"})
    return Answer(job.status, job.body.encode(), headers=dict(job.headers))


async def cancel(call: Call, repository: Repository) -> Answer:
    """202: it runs no further, and what it answered is forgotten; what was done of it stays done."""
    await _own(call, repository)
    await repository.unit.take(KIND, call.id)
    return Answer(202, json.serialise({"resourceType": "OperationOutcome", "issue": [_CANCELLED]}))


_CANCELLED = {"severity": "information", "code": "informational", "diagnostics": "It goes no further."}


async def _own(call: Call, repository: Repository) -> Job:
    job = await read(repository.unit, call.id)
    if job is None or job.owner != owner_of(call.access.agent):
        raise NotFound("There is no such request of this caller here.")
    return job
