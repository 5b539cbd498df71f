"""Limits of proposals: how many one address may submit in an hour, and how many one person may have open.

Nobody learns of others by them: without a login the limits count what came from the same address; for a website's
client what it submitted itself for the same telephone number or e-mail; for a patient their own proposals.
"""

import hashlib
import hmac
from typing import Any

import orjson

from fhir_server.booking.index import expires_at
from fhir_server.booking.states import OPEN, PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import json
from fhir_server.fhir.errors import TooMany
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query, Target, Test, Token, all_of, any_of
from fhir_server.store.protocol import Stored

RATE, OPEN_KIND = "proposal-rate", "proposals-open"
_HOUR = 3_600_000_000


async def check(repository: Repository, proposal: dict[str, Any], wanted: Wanted) -> None:
    """Count a proposal, before its person is stored. Raises TooMany with Retry-After."""
    agent = repository.access.agent
    if agent.role in STAFF:
        return
    if agent.role == "public":
        await _check_rate(repository)
    limit = wanted.rules.open_proposals
    if not limit:
        return
    if agent.role in PATIENTS:
        count = await _open_of_patient(repository, agent.patient or agent.fhir_user.partition("/")[2], limit)
    else:
        count = await _open_of_submitter(repository, _submitter(repository, proposal), limit)
    if count >= limit:
        raise TooMany(
            f"There are {limit} open proposals already; wait until the clinic has decided on one, or call it.",
            headers={"Retry-After": "3600"},
        )


async def _check_rate(repository: Repository) -> None:
    """At most so many in each hour. The count is of this Unit: a refused proposal does not count."""
    most = repository.clinic.server.settings.proposals_per_hour
    if not most:
        return
    now = repository.clinic.server.clock()
    hour = now // _HOUR
    name = f"{hour}-{_hidden(repository, repository.address)}"
    kept = await repository.unit.peek(RATE, name)
    count = int(kept) if kept is not None else 0
    if count >= most:
        seconds = ((hour + 1) * _HOUR - now) // 1_000_000 + 1
        raise TooMany(
            "Too many proposals came from this address within the hour; try again later, or call the clinic.",
            headers={"Retry-After": str(seconds)},
        )
    await repository.unit.keep(RATE, name, str(count + 1).encode(), (hour + 1) * _HOUR)


def _submitter(repository: Repository, proposal: dict[str, Any]) -> str:
    agent = repository.access.agent
    if agent.role == "public":
        return _hidden(repository, "address", repository.address)
    people = [each for each in proposal.get("contained", ()) if each.get("resourceType") == "Patient"]
    telecoms = {str(t.get("value", "")).replace(" ", "").lower() for each in people for t in each.get("telecom", ())}
    return _hidden(repository, "client", agent.client_id, *sorted(telecoms))


def _hidden(repository: Repository, *parts: str) -> str:
    """A name that tells nothing of the address or person behind it."""
    content = b"submitter\0" + "\0".join(parts).encode()
    return hmac.digest(repository.clinic.secret, content, hashlib.sha256).hex()[:32]


async def _open_of_patient(repository: Repository, patient: str, limit: int) -> int:
    await repository.unit.guard(f"proposals/{patient}")
    statuses = any_of(*(Test("status", "token", Token(status, None)) for status in sorted(OPEN)))
    where = all_of(Test("patient", "reference", Target(patient, "Patient")), statuses)
    return len((await repository.unit.search(Query("Appointment", where, count=limit))).matches)


async def _open_of_submitter(repository: Repository, submitter: str, limit: int) -> int:
    """How many are open; the proposal at hand is counted from when it is stored."""
    kept = await repository.unit.peek(OPEN_KIND, submitter)
    known = [id_ for id_ in (orjson.loads(kept) if kept is not None else []) if await _is_open(repository, id_)]

    async def count(stored: Stored) -> None:
        await repository.unit.keep(OPEN_KIND, submitter, orjson.dumps([*known, stored.id]))

    if len(known) < limit:
        repository.then(count)
    return len(known)


async def _is_open(repository: Repository, id_: str) -> bool:
    stored = await repository.unit.read("Appointment", id_)
    if stored is None or stored.body is None:
        return False
    appointment = json.parse(stored.body)
    expires = expires_at(appointment)
    is_over = expires is not None and expires <= repository.clinic.server.clock()
    return appointment["status"] in OPEN and not (is_over and appointment["status"] == "proposed")
