"""What `$hold` and `$book` do to appointments: hold a time, book what is held or found (IHE ITI-116, ITI-117).

Only a person of the staff books. For everybody else `$book` stores the proposal, which a person or the clinic's rule
decides on (R-10.1; docs/decisions). What is held is `pending` with the tag `booking|held`, and its holder's alone.
"""

from typing import Any

import orjson

from fhir_server.booking import (
    after_proposal,
    conflicts,
    contested,
    holds,
    identity,
    limits,
    proposal,
    slots,
    taking_part,
    times,
)
from fhir_server.booking.occupy import accept, occupation, occupy
from fhir_server.booking.states import OPEN, PATIENTS, STAFF
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import Conflict, Forbidden, NotFound
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

HOLDER = "holder"
RULE = "R-8.2 hold of a time"
# How long a hold lasts where the clinic's rule does not say.
MINUTES = 10
_MINUTE = 60_000_000


async def hold(repository: Repository, wanted: Wanted) -> Stored:
    """Store a pending appointment that holds the slots for this caller. Raises Conflict, Unprocessable, Forbidden."""
    agent = repository.access.agent
    if agent.role == "public":
        raise Forbidden("Only a signed-in caller holds a time; submit a proposal instead.")
    for slot in wanted.slots:
        await proposal.check_slot(repository, slot)
    held: Resource = {"resourceType": "Appointment", "status": "pending"}
    held["slot"] = [{"reference": f"Slot/{slot.stored.id}"} for slot in wanted.slots]
    if agent.role in PATIENTS:
        identity.require_own(repository, held)
    times.set_times(held, wanted)
    await times.add_actors(repository, held, wanted, "tentative")
    proposal.check_service(held, wanted)
    await _check_people(repository, held, wanted)
    await limits.check(repository, held, wanted)
    held["requestedPeriod"] = [{"start": held["start"], "end": held["end"]}]
    tags = [{"system": own.SUBMITTER, "code": agent.client_id}, {"system": own.BOOKING, "code": "held"}]
    own.set_tags(held, tags)
    stored = await repository.put(None, held, rule=RULE)
    ends = repository.clinic.server.clock() + (wanted.rules.hold_minutes or MINUTES) * _MINUTE
    await holds.place(repository, stored.id, wanted, ends)
    await slots.mark_held(repository, wanted)
    await repository.unit.keep(HOLDER, stored.id, _who(repository), ends)
    await contested.mark(repository, held, None, wanted)
    return stored


async def _check_people(repository: Repository, held: Resource, wanted: Wanted) -> None:
    """Whoever is booked at that time already, through another schedule, is not held. Raises Conflict."""
    try:
        await conflicts.check(repository, occupation(repository, "", held, wanted))
    except Conflict as error:  # which names the others' appointments
        raise Conflict("This time is not free any more; choose another.", expression="Appointment.slot") from error


async def check_holder(repository: Repository, before: Resource, after: Resource) -> None:
    """What is held is its holder's alone, who may give it up here and book it by `$book`. Raises Conflict."""
    if before["status"] not in OPEN or not own.has_tag(before, own.BOOKING, "held"):
        return
    if after["status"] == "cancelled" and await _is_holder(repository, before["id"]):
        own.tag(after, own.BOOKING, "held", on=False)
        return
    raise Conflict(
        "This time is only held: its holder books it by $book, or gives it up.", expression="Appointment.status"
    )


async def held(repository: Repository, id_: str) -> Stored | None:
    """A held appointment whose hold is this caller's and has not ended. None for any other appointment.

    Raises NotFound when it is another's, or has ended.
    """
    stored = await repository.unit.read("Appointment", id_)
    if stored is None or stored.body is None or not own.has_tag(json.parse(stored.body), own.BOOKING, "held"):
        return None
    if not await _is_holder(repository, id_):
        raise NotFound("This time is not held for this caller any more; search again.")
    return stored


async def book_held(repository: Repository, stored: Stored, given: Resource) -> Stored:
    """Book what is held, or make it a proposal of this caller. `given` is what the caller says of it."""
    assert stored.body is not None
    before = json.parse(stored.body)
    wanted = await look_up(repository, before)
    given = json.copy(given)
    times.localise(repository, given)
    after = _merged(before, given)
    own.tag(after, own.BOOKING, "held", on=False)
    if is_decider(repository):
        await taking_part.check(repository, before, after)
        taking_part.require_patient(after)
        times.check_ahead(repository, after)
        times.set_times(after, wanted)
        await times.add_actors(repository, after, wanted, "accepted")
        await occupy(repository, before, after, wanted)
        after["status"] = "booked"
        accept(after, wanted)
        repository.because, rule = "", repository.because or "ITI-117 held time booked by its holder"
        booked = await repository.put(stored, after, rule=rule)
        await slots.settle_all(repository, stored.id, wanted)
        await contested.mark(repository, after, before, wanted)
    else:
        booked = await _propose_held(repository, stored, after, wanted)
    await repository.unit.take(HOLDER, stored.id)
    return booked


async def _propose_held(repository: Repository, stored: Stored, after: Resource, wanted: Wanted) -> Stored:
    """The hold becomes a proposal, as if it had been submitted so; the clinic's rule holds on or lets go."""
    tags = own.own_tags(after)
    after["status"] = "proposed"
    after.get("meta", {}).pop("tag", None)
    after = await proposal.prepare(repository, after, wanted, own_id=stored.id)
    own.set_tags(after, [*(t for t in tags if t["system"] != own.SUBMITTER), *own.own_tags(after)])
    proposed = await repository.put(stored, after, rule="ITI-117 held time proposed by its holder")
    await slots.settle_all(repository, stored.id, wanted)
    return await after_proposal.follow_up_now(repository, proposed, await look_up(repository, after))


def is_decider(repository: Repository) -> bool:
    """Whether this caller may confirm (R-10.1)."""
    agent = repository.access.agent
    return agent.role in STAFF and agent.is_human


def _merged(before: Resource, given: Resource) -> Resource:
    """What is held, with what the caller may say of it; the time and its slots stay."""
    fixed = ("resourceType", "id", "meta", "status", "slot", "start", "end", "extension", "participant")
    after = before | {name: value for name, value in given.items() if name not in fixed}
    there = {p.get("actor", {}).get("reference") for p in before.get("participant", ())}
    new = [p for p in given.get("participant", ()) if p.get("actor", {}).get("reference") not in there]
    return after | {"participant": [*before.get("participant", ()), *new]}


async def _is_holder(repository: Repository, id_: str) -> bool:
    return await repository.unit.peek(HOLDER, id_) == _who(repository)


def _who(repository: Repository) -> bytes:
    agent = repository.access.agent
    return orjson.dumps([agent.client_id, agent.fhir_user, agent.patient])
