"""Limits of proposals: how many one address may submit in an hour, and how many one person may have open.

Nobody learns of others by them: without a login the limits count what came from the same address; for a website's
client what it submitted itself for the same telephone number or e-mail; for a patient their own proposals. For a
client of another system they count those of its Patient. A time that a patient holds is an open proposal of theirs.
"""

import hashlib
import hmac
from typing import Any

import orjson

from fhir_server.booking import holds
from fhir_server.booking.identity import contacts
from fhir_server.booking.index import expires_at
from fhir_server.booking.states import OPEN, PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import TooMany
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query, Target, Test, Token, all_of, any_of
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

RATE, OPEN_KIND = "proposal-rate", "proposals-open"
_HOUR = 3_600_000_000
_MOST = 10_000


async def check(repository: Repository, proposal: Resource, wanted: Wanted, *, own_id: str = "") -> None:
    """Count a proposal, before its person is stored. Raises TooMany with Retry-After.

    `own_id` is the appointment's where a hold becomes a proposal: it does not stand in its own way.
    """
    agent = repository.access.agent
    if agent.role in STAFF:
        return
    if agent.role == "public":
        await _check_rate(repository)
    limit = wanted.rules.open_proposals
    if not limit:
        return
    for patient in _patients(repository, proposal):
        _check_count(await _open_of_patient(repository, patient, own_id), limit)
    for submitter in _submitters(repository, proposal):
        known = await _open_of_submitter(repository, submitter, own_id)
        _check_count(len(known), limit)
        await _count(repository, submitter, known, own_id)


def _check_count(count: int, limit: int) -> None:
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


def _patients(repository: Repository, proposal: Resource) -> set[str]:
    """The ids of the Patients whose proposal it is."""
    agent = repository.access.agent
    if agent.role in PATIENTS:
        return {agent.patient or agent.fhir_user.partition("/")[2]}
    if agent.role in ("public", "website"):  # theirs is a new person
        return set()
    references = [str(p.get("actor", {}).get("reference", "")) for p in proposal.get("participant", ())]
    targets = [local_reference(text, repository.clinic.base_url) for text in references]
    return {target.id for target in targets if target is not None and target.type == "Patient"}


def _submitters(repository: Repository, proposal: Resource) -> list[str]:
    """Under which names a new person's proposals are counted: the address, or each number and e-mail of a client's."""
    agent = repository.access.agent
    if agent.role == "public":
        return [_hidden(repository, "address", repository.address)]
    people = [each for each in proposal.get("contained", ()) if each.get("resourceType") == "Patient"]
    found = sorted({contact for person in people for contact in contacts(person)})
    return [_hidden(repository, "client", agent.client_id, contact) for contact in found]


def _hidden(repository: Repository, *parts: str) -> str:
    """A name that tells nothing of the address or person behind it."""
    content = b"submitter\0" + "\0".join(parts).encode()
    return hmac.digest(repository.clinic.secret, content, hashlib.sha256).hex()[:32]


async def _open_of_patient(repository: Repository, patient: str, own_id: str) -> int:
    await repository.unit.guard(f"proposals/{patient}")
    statuses = any_of(*(Test("status", "token", Token(status, None)) for status in sorted(OPEN)))
    where = all_of(Test("patient", "reference", Target(patient, "Patient")), statuses)
    page = await repository.unit.search(Query("Appointment", where, count=_MOST))
    return sum([stored.id != own_id and await _is_open(repository, stored) for stored in page.matches])


async def _open_of_submitter(repository: Repository, submitter: str, own_id: str) -> list[str]:
    kept = await repository.unit.peek(OPEN_KIND, submitter)
    ids = [id_ for id_ in (orjson.loads(kept) if kept is not None else ()) if id_ != own_id]
    return [id_ for id_ in ids if await _is_open(repository, await repository.unit.read("Appointment", id_))]


async def _count(repository: Repository, submitter: str, known: list[str], own_id: str) -> None:
    """Count the proposal at hand: at once where it is there already, else once it is stored."""

    async def keep(id_: str) -> None:
        await repository.unit.keep(OPEN_KIND, submitter, orjson.dumps([*known, id_]))

    if own_id:
        await keep(own_id)
    else:
        repository.then(lambda stored: keep(stored.id))


async def _is_open(repository: Repository, stored: Stored | None) -> bool:
    """Whether somebody may still decide on it, or book what they hold."""
    if stored is None or stored.body is None:
        return False
    appointment = json.parse(stored.body)
    if own.has_tag(appointment, own.BOOKING, "held") and not await holds.is_held_by(repository, appointment):
        return False
    expires = expires_at(appointment)
    is_over = expires is not None and expires <= repository.clinic.server.clock()
    return appointment["status"] in OPEN and not (is_over and appointment["status"] == "proposed")
