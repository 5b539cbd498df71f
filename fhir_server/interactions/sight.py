"""What is there for a caller: which grant lets a resource through, and what of it is shown.

Whether a current resource is in a grant's rows is asked of the store, in one search by id, so that rows may follow
references, and so that the answer costs the same whether the resource is absent or out of sight. Content that is not
stored yet, and old versions, are looked at here; references from them are followed by the store.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.fhir import json
from fhir_server.interactions import shared, visibility
from fhir_server.interactions.access import Access, Grant
from fhir_server.interactions.clinic import Clinic
from fhir_server.search.matches import matches
from fhir_server.search.plan import (
    All,
    Any_,
    Chain,
    Entries,
    Has,
    Node,
    Not,
    Query,
    Target,
    Test,
    Token,
    all_of,
    any_of,
)
from fhir_server.store.protocol import Stored, Unit


class Sight:
    """What one caller sees within one Unit."""

    def __init__(self, unit: Unit, clinic: Clinic, access: Access) -> None:
        self._unit, self._clinic, self._access = unit, clinic, access
        self._known: dict[tuple[str, str, Node], bool] = {}

    def forget(self) -> None:
        """Forget what was found out: the Unit changes something."""
        self._known.clear()

    async def of_id(self, type_: str, id_: str, letter: str) -> Grant | None:
        """The first grant whose rows the current resource of this id is in; None when it is not there."""
        for grant in self._access.of(type_, letter):
            if visibility.is_everything(grant) or await self._holds(type_, id_, grant.rows):
                return grant
        return None

    async def of_version(self, stored: Stored, letter: str) -> Grant | None:
        """The first grant whose rows a version is in; a deletion is in those of grants for all rows alone."""
        grants = self._access.of(stored.type, letter)
        if stored.body is None or any(visibility.is_everything(grant) for grant in grants):
            return next((grant for grant in grants if visibility.is_everything(grant)), None)
        entries = self._clinic.extractor.entries(json.parse(stored.body)) if grants else {}
        return await self.of_entries(grants, stored.type, stored.id, entries)

    async def of_entries(self, grants: Sequence[Grant], type_: str, id_: str, entries: Entries) -> Grant | None:
        """The first of the grants whose rows a resource with these entries is in."""
        for grant in grants:
            if visibility.is_everything(grant) or await self._matches(grant.rows, type_, id_, entries):
                return grant
        return None

    async def of_page(self, found: Sequence[Stored], type_: str, letter: str) -> dict[tuple[str, str], Grant]:
        """For each of what a search found, by type and id, the first grant that let it through."""
        grants, decided = self._access.of(type_, letter), dict[tuple[str, str], Grant]()
        left = [(type_, stored.id) for stored in found]
        for grant in grants[:-1]:
            if not left or visibility.is_everything(grant):
                return decided | dict.fromkeys(left, grant)
            where = all_of(any_of(*(_by_id(id_) for _, id_ in left)), grant.rows)
            page = await self._unit.search(Query(type_, where, count=len(left)))
            decided |= {(type_, stored.id): grant for stored in page.matches}
            left = [name for name in left if name not in decided]
        return decided | dict.fromkeys(left, grants[-1])

    def shown(self, stored: Stored, grants: Sequence[Grant], *, or_all: bool = False) -> bytes:
        """The body as the grants that let it through show it; `or_all`: by all of them if none does any more."""
        assert stored.body is not None
        others = _but_others(stored, grants)
        if not others and all(grant.elements is None for grant in grants):
            return stored.body
        resource = json.parse(stored.body)
        if others:
            resource = self._without_others(resource, others)
        elements = self._elements(json.parse(stored.body), grants, or_all=or_all)
        return json.serialise(resource if elements is None else visibility.narrow(resource, elements))

    def elements(self, stored: Stored, grants: Sequence[Grant]) -> frozenset[str] | None:
        """The elements that the grants which let a resource through name; None: all."""
        others = _but_others(stored, grants)
        if not others and all(grant.elements is None for grant in grants):
            return None
        assert stored.body is not None
        resource = json.parse(stored.body)
        if others and self._without_others(resource, others) is not resource:
            return frozenset(resource) - shared.SHARED[stored.type].telling
        return self._elements(resource, grants)

    def _without_others(self, resource: dict[str, Any], patient: str) -> dict[str, Any]:
        """What is left of a shared resource for one patient, marked as a subset; itself where it is all."""
        left = shared.without_others(resource, patient, self._clinic.base_url)
        return resource if left is resource else visibility.narrow(left, frozenset(left))

    def _elements(
        self, resource: dict[str, object], grants: Iterable[Grant], *, or_all: bool = False
    ) -> frozenset[str] | None:
        entries = self._clinic.extractor.entries(resource)
        through = [grant for grant in grants if visibility.allows(grant, entries)]
        return visibility.shown_by(through or (grants if or_all else ()))

    async def _matches(self, node: Node, type_: str, id_: str, entries: Entries) -> bool:
        """`search.matches`, with the store for what lies around."""
        match node:
            case Test():
                return matches(node, entries)
            case All(nodes):
                return all([await self._matches(each, type_, id_, entries) for each in nodes])
            case Any_(nodes):
                return any([await self._matches(each, type_, id_, entries) for each in nodes])
            case Not(inner):
                return not await self._matches(inner, type_, id_, entries)
            case Chain(param, target, inner):
                ids = [row[2] for row in entries.get("reference", ()) if row[0] == param and row[1] == target]
                return any([await self._holds(target, each, inner) for each in ids])
            case Has(source, param, inner):
                points_here = Test(param, "reference", Target(id_, type_))
                page = await self._unit.search(Query(source, all_of(points_here, inner), count=1))
                return bool(page.matches)

    async def _holds(self, type_: str, id_: str, node: Node) -> bool:
        """Whether the plan holds for a current resource, by one search.

        The rows go before the id, so that a store does not begin with the id and end there when it is absent.
        """
        known = self._known.get((type_, id_, node))
        if known is None:
            page = await self._unit.search(Query(type_, all_of(node, _by_id(id_)), count=1))
            known = self._known[type_, id_, node] = bool(page.matches)
        return known


def _by_id(id_: str) -> Test:
    return Test("_id", "token", Token(id_, ""), single=True)


def _but_others(stored: Stored, grants: Iterable[Grant]) -> str:
    """The one patient whose part is shown, where every grant says so."""
    found = {grant.but_others for grant in grants}
    return found.pop() if len(found) == 1 and stored.type in shared.SHARED else ""
