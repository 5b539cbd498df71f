"""Who asks, and what they may do: agents, grants and the access that a request has.

A grant is data: interactions on a type, narrowed by a plan that the resource must match and by the elements that
may be seen. An Access answers two questions, for every path into the store: may this interaction be done on this
type at all (else 403), and which resources exist for this caller (else 404, as if absent).
Source: R-6.1 to R-6.4, SMART App Launch 2.2.0 scopes-and-launch-context.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.search.plan import EVERYTHING, Node, Query

_MOST_BOUND = 256

Role = Literal[
    "public", "patient", "proxy", "practitioner", "front-desk", "auditor", "administrator", "website", "service"
]


@dataclass(frozen=True, slots=True)
class Agent:
    """Who sends a request. Anonymous is an agent like any other, with the role `public`.

    `fhir_user` is a relative reference (`Practitioner/123`) when there is a human behind the client; `patient` the
    id of the launch context's patient; `token_id` the token's `jti`.
    """

    role: Role
    client_id: str = ""
    fhir_user: str = ""
    name: str = ""
    patient: str = ""
    token_id: str = ""
    scopes: tuple[str, ...] = ()

    @property
    def is_human(self) -> bool:
        """Whether a person stands behind the request (R-10.1)."""
        return bool(self.fhir_user)


ANONYMOUS = Agent(role="public", name="anonymous")


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be done on one type: scope letters (`cruds`), on resources that match `rows`.

    `elements` None: whole resources; else the only top-level elements that are shown.
    `rule` names the grant in audit entries; `purpose` is the code of v3-ActReason that it is for, where it is not that
    of the role. `but_others` is the id of the one patient whose part in a shared resource is shown ('': all).
    """

    letters: frozenset[str]
    rows: Node = EVERYTHING
    elements: frozenset[str] | None = None
    rule: str = ""
    purpose: str = ""
    but_others: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """The grants of one request: type -> grants. Several grants on a type add up."""

    agent: Agent
    grants: Mapping[str, tuple[Grant, ...]] = field(default_factory=dict)
    # An Access is kept as long as its token: what requests ask again and again is worked out once.
    _of: dict[tuple[str, str], tuple[Grant, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _whole: dict[tuple[str, str], bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    _bound: dict[tuple[Any, ...], tuple[Node, Node]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def of(self, type_: str, letter: str) -> tuple[Grant, ...]:
        """The grants that allow `letter` on `type_`."""
        found = self._of.get((type_, letter))
        if found is None:
            found = tuple(grant for grant in self.grants.get(type_, ()) if letter in grant.letters)
            self._of[type_, letter] = found
        return found

    def shows_all(self, type_: str, letter: str) -> bool:
        """Whether all resources of a type are there for the letter, with all their elements."""
        found = self._whole.get((type_, letter))
        if found is None:
            found = any(map(_shows_all, self.of(type_, letter)))
            self._whole[type_, letter] = found
        return found

    def bound(self, query: Query, letter: str, bind: Callable[[], Node]) -> Node:
        """A query's condition with the rows of the grants joined in, as `bind` makes it; itself for all rows."""
        where = query.where
        name = (query.type, letter, id(where), query.sort)
        found = self._bound.get(name)
        if found is None or found[0] is not where:  # held here, so that its identity is nobody else's
            if len(self._bound) >= _MOST_BOUND:
                self._bound.clear()
            made = bind()
            found = self._bound[name] = where, where if made == where else made
        return found[1]


def _shows_all(grant: Grant) -> bool:
    return grant.rows == EVERYTHING and grant.elements is None and not grant.but_others
