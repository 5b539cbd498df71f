"""A hunt for leaks: random resources of two clinics and several patients, random requests of every kind (R-6.1, R-6.2).

`leak_hunt` says what has to hold of every answer. `make test` sends some 1,400 requests to each store, `make soak`
100,000; and access is broken on purpose in many ways, each of which the hunt has to find.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.fhir.errors import NotFound
from fhir_server.interactions import visibility
from fhir_server.interactions.access import Grant
from fhir_server.interactions.repository import Repository
from fhir_server.interactions.sight import Sight
from fhir_server.search.plan import Chain, Has, Node, Query
from fhir_server.store.protocol import Page, Stored
from fhir_server.store.sqlite.store import SqliteStore
from tests.surfaces.leak_hunt import Leak, hunt

REQUESTS, SOAK = 700, 50_000  # each is sent to two clinics
ROUNDS = 10
STRICT = {"referential_integrity": "strict"}
# A hunt in whole clinics answers these with success; the others are refused to every caller that is asked as.
ALWAYS_REFUSED = {"others-page", "others-job", "audit", "explain", "people"}


@pytest.mark.requirement("R-6.1", "R-6.2")
async def test_nothing_outside_a_callers_access_appears(store_kind: str, tmp_path: Path) -> None:
    await hunt(store_kind, tmp_path, 1, REQUESTS)


@pytest.mark.soak
@pytest.mark.requirement("R-6.1", "R-6.2")
async def test_nothing_appears_in_a_long_hunt(store_kind: str, tmp_path: Path) -> None:
    """Every second round with referential integrity; every kind of request was granted to somebody now and then."""
    answered: dict[str, int] = {}
    for seed in range(2, 2 + ROUNDS):
        found = await hunt(store_kind, tmp_path / str(seed), seed, SOAK // ROUNDS, **STRICT if seed % 2 else {})
        answered = {name: answered.get(name, 0) + times for name, times in found.items()}
    assert {name for name, times in answered.items() if not times} <= ALWAYS_REFUSED


# Ways to break access: each patches something, and the hunt has to find it.

Patch = pytest.MonkeyPatch
Break = Callable[[Patch], None]


def _searches_have_no_rows(patch: Patch) -> None:
    patch.setattr(visibility, "bound", lambda type_, where, *_: where)


def _chains_have_no_rows(patch: Patch) -> None:
    bound_inside = visibility._bound_inside

    def unbound(type_: str, node: Node, *rest: Any) -> Node:
        return node if isinstance(node, Chain | Has) else bound_inside(type_, node, *rest)

    patch.setattr(visibility, "_bound_inside", unbound)


def _reads_see_all(patch: Patch) -> None:
    async def of_id(self: Sight, type_: str, id_: str, letter: str) -> Grant | None:
        return next(iter(self._access.of(type_, letter)), None)

    patch.setattr(Sight, "of_id", of_id)


def _includes_see_all(patch: Patch) -> None:
    async def peek(self: Repository, type_: str, id_: str) -> Stored | None:
        stored = await self.unit.read(type_, id_)
        return stored if stored is not None and not stored.is_deleted else None

    patch.setattr(Repository, "peek", peek)


def _history_sees_all(patch: Patch) -> None:
    async def is_visible(self: Repository, stored: Stored, letter: str) -> bool:
        return True

    patch.setattr(Repository, "version_is_visible", is_visible)


def _changed_page(patch: Patch, changed: Callable[[Page, Page], Page]) -> None:
    """Have searches answer what is made of what the caller may see and what there is."""
    search = Repository.search

    async def other(self: Repository, query: Query, *, letter: str = "s") -> Page:
        page = await search(self, query, letter=letter)
        return changed(page, await self.unit.search(replace(query, after=None, total=-1)))

    patch.setattr(Repository, "search", other)


def _totals_count_all(patch: Patch) -> None:
    _changed_page(patch, lambda seen, there: replace(seen, total=there.total))


def _order_tells(patch: Patch) -> None:
    """What is listed first depends on how much there is that the caller may not see."""

    def changed(seen: Page, there: Page) -> Page:
        at = (there.total or 0) % max(len(seen.matches), 1)
        return replace(seen, matches=[*seen.matches[at:], *seen.matches[:at]])

    _changed_page(patch, changed)


def _links_tell(patch: Patch) -> None:
    """There is a next page because there is more that the caller may not see."""
    _changed_page(patch, lambda seen, there: replace(seen, next=seen.next or there.next))


def _missing(patch: Patch, missing: Callable[[Stored | None], NotFound]) -> None:
    """Have a read of what is not there for the caller say more than that."""
    look = Repository.look

    async def telling(self: Repository, type_: str, id_: str, letter: str) -> tuple[Stored | None, bool]:
        stored, is_there = await look(self, type_, id_, letter)
        if not is_there and not any(map(visibility.is_everything, self.access.of(type_, letter))):
            raise missing(stored)
        return stored, is_there

    patch.setattr(Repository, "look", telling)


def _errors_tell(patch: Patch) -> None:
    _missing(patch, lambda stored: NotFound("There is no such resource" + (" for you." if stored else " here.")))


def _headers_tell(patch: Patch) -> None:
    said = "There is no such resource here."
    _missing(patch, lambda stored: NotFound(said, headers={"ETag": 'W/"1"'} if stored else {}))


def _references_are_followed(patch: Patch) -> None:
    """The writer of a reference learns whether what it points at is there."""
    _includes_see_all(patch)


def _another_clinic_answers(patch: Patch) -> None:
    """Searches find what the other clinic has, too."""
    run = SqliteStore.run

    async def mixed(self: SqliteStore, tenant: str, work: Any, **how: Any) -> Any:
        async def work_with_both(unit: Any) -> Any:
            if tenant == "demo" and not how.get("write"):
                search = unit.search

                async def search_both(query: Query) -> Page:
                    page = await search(query)
                    there = await run(self, "other", lambda other: other.search(query), write=False)
                    return replace(page, matches=[*page.matches, *there.matches])

                patch.setattr(unit, "search", search_both, raising=False)
            return await work(unit)

        return await run(self, tenant, work_with_both, **how)

    patch.setattr(SqliteStore, "run", mixed)


BREAKS: Sequence[tuple[Break, str]] = (
    (_searches_have_no_rows, "dr-kim"), (_searches_have_no_rows, "anna"), (_chains_have_no_rows, "dr-kim"),
    (_reads_see_all, "dr-kim"), (_reads_see_all, "ben"), (_includes_see_all, "dr-kim"), (_history_sees_all, "anna"),
    (_totals_count_all, "ben"), (_order_tells, "dr-lee"), (_links_tell, "anna"), (_errors_tell, "dr-kim"),
    (_headers_tell, "anna"), (_references_are_followed, "dr-kim"), (_another_clinic_answers, "anna"),
)  # fmt: skip


@pytest.mark.parametrize(("broken", "caller"), BREAKS, ids=lambda each: getattr(each, "__name__", each))
async def test_a_planted_leak_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: Break, caller: str
) -> None:
    broken(monkeypatch)
    with pytest.raises(Leak):
        await hunt("sqlite", tmp_path, 1, 2_000, [caller], **STRICT if broken is _references_are_followed else {})
