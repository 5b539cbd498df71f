"""Who asks, and what they may do: agents, grants and the access that a request has.

A grant is data: interactions on a type, narrowed by a plan that the resource must match and by the elements that
may be seen. An Access answers two questions, for every path into the store: may this interaction be done on this
type at all (else 403), and which resources exist for this caller (else 404, as if absent).
Source: R-6.1 to R-6.4, SMART App Launch 2.2.0 scopes-and-launch-context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fhir_server.search.plan import EVERYTHING, Node

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
    of the role. `but_others` is the id of the one patient whose part in a shared Appointment is shown ('': all).
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
    # An Access is kept as long as its token: what a request asks again and again is worked out once.
    _of: dict[tuple[str, str], tuple[Grant, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, type_: str, letter: str) -> tuple[Grant, ...]:
        """The grants that allow `letter` on `type_`."""
        found = self._of.get((type_, letter))
        if found is None:
            found = tuple(grant for grant in self.grants.get(type_, ()) if letter in grant.letters)
            self._of[type_, letter] = found
        return found
