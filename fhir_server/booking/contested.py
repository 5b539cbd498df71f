"""Contested proposals: those that want what others want too are marked, and nothing is decided for them (R-10.5).

The mark is the server's tag `booking|contested`: a submitter learns that the time is contested, and staff find the
others by `Appointment/{id}/$conflicts`. Wanting the same slot beyond its capacity contests it, and so does wanting the
same provider or device at an overlapping time of another slot.
"""

from dataclasses import dataclass
from typing import Any

from fhir_server.booking import near
from fhir_server.booking.guards import guard_days
from fhir_server.booking.index import ACTOR, SLOT, TIME, WANTED_ACTOR, WANTED_SLOT, WANTED_TIME
from fhir_server.booking.near import About
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir import json, own
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Box, Interval, Node, Not, Query, Target, Test, Token, all_of, any_of
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

RULE = "R-10.5 contested time surfaced"
_CODE = "contested"
_TAGGED = Test("_tag", "token", Token(_CODE, own.BOOKING))
_PROVIDERS = ("Practitioner", "PractitionerRole", "Device")
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class _Area:
    """What an appointment wants or takes: slots with their capacity and whom they bring, providers, and the time."""

    slots: tuple[tuple[str, int, tuple[str, ...]], ...]
    actors: tuple[LocalReference, ...]
    span: tuple[Micros, Micros]

    @property
    def time(self) -> Interval:
        start, end = self.span
        return Interval(Box(lo_below=end, hi_above=start))

    @property
    def about(self) -> About:
        return About(frozenset(id_ for id_, *_ in self.slots), frozenset(self.actors), *self.span)

    def wants(self) -> Node:
        return any_of(
            *(_slot(WANTED_SLOT, id_) for id_, *_ in self.slots), *(self._at(a, open_=True) for a in self.actors)
        )

    def all(self, actor: LocalReference) -> Node:
        return any_of(self._at(actor, open_=True), self._at(actor, open_=False))

    def _at(self, actor: LocalReference, *, open_: bool) -> Node:
        time, who = (WANTED_TIME, WANTED_ACTOR) if open_ else (TIME, ACTOR)
        return all_of(Test(time, "date", self.time), Test(who, "reference", Target(actor.id, actor.type)))


async def tag_if_contested(repository: Repository, appointment: Resource, wanted: Wanted) -> None:
    """Mark a proposal that is about to be stored, if its time is wanted or taken already."""
    area = _area(repository, appointment, wanted)
    if area is not None and await _is_contested(repository, area, coming=1):
        own.tag(appointment, own.BOOKING, _CODE)


async def mark(repository: Repository, after: Resource, before: Resource | None, wanted: Wanted) -> None:
    """After an open or occupying appointment came, went or moved: mark or unmark those whom that concerns."""
    areas = [_area(repository, after, wanted)]
    if before is not None:
        is_same = before.get("slot") == after.get("slot")
        areas.append(_area(repository, before, wanted if is_same else await look_up(repository, before)))
    for area in dict.fromkeys(areas):
        if area is None:
            continue
        if await _is_contested(repository, area):
            await _tag_all(repository, area)
        else:
            await _untag(repository, area)


async def others(repository: Repository, appointment: Resource) -> list[Stored]:
    """The open proposals and appointments that want or take what an appointment wants."""
    area = _area(repository, appointment, await look_up(repository, appointment))
    if area is None:
        return []
    taking = [_slot(SLOT, id_) for id_, *_ in area.slots]
    where = any_of(area.wants(), *taking, *(area.all(actor) for actor in area.actors))
    page = await repository.unit.search(Query("Appointment", where, count=_MOST))
    return [stored for stored in page.matches if stored.id != appointment["id"]]


async def _is_contested(repository: Repository, area: _Area, *, coming: int = 0) -> bool:
    """Whether more want or take a slot than it holds, or a provider is wanted by different slots at once."""
    for id_, capacity, _ in area.slots:
        where = any_of(_slot(WANTED_SLOT, id_), _slot(SLOT, id_))
        page = await near.search(repository, Query("Appointment", where, count=0, total=capacity), area.about)
        if not page.total_is_exact or (page.total or 0) + coming > capacity:
            return True
    await guard_days(repository, area.actors, *area.span)
    for actor in area.actors:
        bring = [id_ for id_, _, brought in area.slots if str(actor) in brought]
        elsewhere = Not(any_of(*(_slot(code, id_) for id_ in bring for code in (SLOT, WANTED_SLOT))))
        query = Query("Appointment", all_of(area.all(actor), elsewhere), count=1)
        if (await near.search(repository, query, area.about)).matches:
            return True
    return False


async def _tag_all(repository: Repository, area: _Area) -> None:
    query = Query("Appointment", all_of(area.wants(), Not(_TAGGED)), count=_MOST)
    page = await near.search(repository, query, area.about)
    for stored in page.matches:
        await _set(repository, stored, on=True)


async def _untag(repository: Repository, area: _Area) -> None:
    """Unmark those who are not contested by anything else either."""
    query = Query("Appointment", all_of(area.wants(), _TAGGED), count=_MOST)
    page = await near.search(repository, query, area.about)
    for stored in page.matches:
        assert stored.body is not None
        resource = json.parse(stored.body)
        theirs = _area(repository, resource, await look_up(repository, resource))
        if theirs is None or not await _is_contested(repository, theirs):
            await _set(repository, stored, on=False)


async def _set(repository: Repository, stored: Stored, *, on: bool) -> None:
    assert stored.body is not None
    resource = json.parse(stored.body)
    own.tag(resource, own.BOOKING, _CODE, on=on)
    await repository.put(stored, resource, rule=RULE)


def _area(repository: Repository, appointment: Resource, wanted: Wanted) -> _Area | None:
    if "start" not in appointment or "end" not in appointment or not wanted.slots:
        return None
    found = [local_reference(actor, repository.clinic.base_url) for actor in wanted.actors]
    actors = tuple(actor for actor in found if actor is not None and actor.type in _PROVIDERS)
    zone = repository.clinic.zone
    start, end = interval(appointment["start"], zone)[0], interval(appointment["end"], zone)[0]
    slots = tuple((slot.stored.id, slot.rules.capacity, slot.actors) for slot in wanted.slots)
    return _Area(slots, actors, (start, end))


def _slot(code: str, id_: str) -> Node:
    return Test(code, "reference", Target(id_, "Slot"))
