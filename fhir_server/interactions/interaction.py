"""A row of the table of interactions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository

Handler = Callable[[Call, Repository], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row. `body` says what the request carries: resource, parameters, patch, form, or nothing."""

    name: str
    method: str
    path: str
    letter: str
    action: str
    handler: Handler
    body: str = ""
    is_quick: bool = False

    @property
    def writes(self) -> bool:
        """Whether its Unit writes."""
        return self.action in ("C", "U", "D")
