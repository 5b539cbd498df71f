"""Who is near an appointment: all that take or want its slots, or have its people's time. Read from the store at once.

What the rules then ask about them in the same Unit (is the slot taken, is the time contested, who waits) is answered
from memory, by the same plans. What was not read, or is too much to read, the store is asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from fhir_server.booking.index import NEAR, SLOT, WANTED_SLOT, appointment_entries, near, pieces_around
from fhir_server.fhir import own
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.reference import LocalReference
from fhir_server.interactions import own_index
from fhir_server.interactions.repository import Repository
from fhir_server.search.matches import matches
from fhir_server.search.plan import Entries, Node, Query, Target, Test, Token, any_of
from fhir_server.store.protocol import Page, Stored

_KNOWN = "near"
_MOST = 32
_LONGEST = 86_400_000_000


@dataclass(frozen=True, slots=True)
class About:
    """What a question is about: slots by their ids, and people's time from `start` to `end`."""

    slots: frozenset[str] = frozenset()
    actors: frozenset[LocalReference] = frozenset()
    start: Micros = 0
    end: Micros = 0

    def covers(self, other: "About") -> bool:
        """Whether whoever has read about this knows all about the other."""
        in_time = not other.actors or (self.start <= other.start and other.end <= self.end)
        return other.slots <= self.slots and other.actors <= self.actors and in_time


@dataclass(slots=True)
class _Near:
    about: About
    found: dict[str, tuple[Stored, Entries]]
    seen: int  # of the Unit's changes


async def look(repository: Repository, about: About) -> None:
    """Read who is near, for what is asked in this Unit from now on."""
    repository.known.pop(_KNOWN, None)
    if about.end - about.start > _LONGEST or not await own_index.is_whole(repository.unit, "Appointment"):
        return
    page = await repository.unit.search(Query("Appointment", _where(about), count=_MOST))
    if page.next is None:
        found = {stored.id: (stored, _entries(repository, stored)) for stored in page.matches}
        repository.known[_KNOWN] = _Near(about, found, len(repository.changes))


async def search(repository: Repository, query: Query, about: About) -> Page:
    """The answer to a query without a sort that is about no more than it says."""
    near: _Near | None = repository.known.get(_KNOWN)
    if near is None or not near.about.covers(about):
        return await repository.unit.search(query)
    _follow(repository, near)
    found = [stored for stored, entries in near.found.values() if matches(query.where, entries)]
    found.sort(key=lambda stored: stored.key)
    is_exact = query.total is None or query.total < 0 or len(found) <= query.total
    total = None if query.total is None else len(found) if is_exact else query.total
    return Page(found[: query.count], None, total, is_exact)


def _follow(repository: Repository, near: _Near) -> None:
    """Take in what the Unit has changed since."""
    for change in repository.changes[near.seen :]:
        if change.stored.type == "Appointment":
            near.found[change.stored.id] = (change.stored, _entries(repository, change.stored))
    near.seen = len(repository.changes)


def _where(about: About) -> Node:
    slots = [Test(code, "reference", Target(id_, "Slot")) for id_ in about.slots for code in (SLOT, WANTED_SLOT)]
    pieces = pieces_around(about.start, about.end) if about.actors else ()
    times = [Test(NEAR, "token", Token(near(str(actor), piece), None)) for actor in about.actors for piece in pieces]
    return any_of(*slots, *times)


def _entries(repository: Repository, stored: Stored) -> Entries:
    """What the rules ask by: their own entries, the status and the server's tags."""
    if stored.body is None:
        return {}
    appointment: dict[str, Any] = orjson.loads(stored.body)  # nothing of it is stored again
    tags = [("_tag", str(tag.get("code", "")), str(tag.get("system", ""))) for tag in own.own_tags(appointment)]
    clinic = repository.clinic
    entries = appointment_entries(appointment, clinic.zone, clinic.base_url)
    return {**entries, "token": [*tags, ("status", appointment["status"], "")]}


def about_slots(slot_ids: Iterable[str]) -> About:
    """What is asked of slots alone."""
    return About(frozenset(slot_ids))
