"""What follows a stored proposal: its receipt, and its confirmation or hold by the rule (R-4.4, R-10.2)."""

from fhir_server.booking import configuration, holds, receipt, slots
from fhir_server.booking.occupy import accept, occupy
from fhir_server.booking.wanted import Wanted
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import Conflict
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

_HOUR = 3_600_000_000


def follow_up(repository: Repository, wanted: Wanted) -> None:
    """Once a proposal is stored: its receipt, and its confirmation or hold where the clinic's rule says so."""

    async def then(stored: Stored) -> None:
        await follow_up_now(repository, stored, wanted)

    repository.then(then)


async def follow_up_now(repository: Repository, stored: Stored, wanted: Wanted) -> Stored:
    """The same for a proposal that is stored already; its newest version."""
    assert stored.body is not None
    agent = repository.access.agent
    if agent.role in ("public", "website"):
        expires = repository.clinic.server.clock() + wanted.rules.proposal_expiry_hours * _HOUR
        may_withdraw, through = wanted.rules.withdrawal, agent.client_id
        token = receipt.issue(repository.clinic, stored.id, expires, may_withdraw=may_withdraw, through=through)
        repository.headers[receipt.HEADER] = token
    if wanted.slots and wanted.rules.confirms_itself:
        booked = await _confirm_by_rule(repository, stored, wanted)
        if booked is not None:
            return booked
    ends = holds.proposals_end(repository, wanted)
    if ends is not None:
        await holds.place(repository, stored.id, wanted, ends)
        await slots.mark_held(repository, wanted)
    return stored


async def _confirm_by_rule(repository: Repository, stored: Stored, wanted: Wanted) -> Stored | None:
    """Book a low-risk proposal; one with a conflict is left for a human: None (R-10.2, R-10.5)."""
    assert stored.body is not None
    booked = json.parse(stored.body)
    if own.has_tag(booked, own.BOOKING, "contested"):
        return None
    try:
        await occupy(repository, json.parse(stored.body), booked, wanted)  # so that it overrides nothing
    except Conflict:
        return None
    booked["status"] = "booked"
    accept(booked, wanted)
    author = await configuration.author(repository, wanted.rules.service)
    rule = f"R-10.2 auto-confirmation by {wanted.rules.service}"
    newest = await repository.put(stored, booked, rule=rule, rule_author=author)
    await slots.settle_all(repository, stored.id, wanted)
    return newest
