"""A row of the table of interactions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository

Handler = Callable[[Call, Repository], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row. `body` says what the request carries: a resource, a patch, a form, a bundle, parameters, or nothing.

    `prepare` is what can be done before the Unit begins; its result is the body that the handler sees. `outside`
    stands in the handler's place where the work is not one Unit.
    `format` is the media type of what it answers, where that is not FHIR.
    `only_reads`: the audit calls it a change, and its Unit changes nothing. `transaction` is IHE's number of it
    (`ITI-115`), the second subtype in the audit. `definition` is the operation's canonical URL. `refused` shapes a
    refusal in the row's own way, if it does. `writes`: its Unit does. `event` is what the audit calls a request that
    changed nothing: operations are told apart by their query.
    """

    name: str
    method: str
    path: str
    letter: str
    action: str
    handler: Handler | None
    body: str = ""
    is_quick: bool = False
    prepare: Callable[[Call], Any] | None = None
    outside: Callable[[Call], Awaitable[Answer]] | None = None
    format: str = ""
    only_reads: bool = False
    transaction: str = ""
    definition: str = ""
    refused: Callable[[Clinic, FhirError], Answer | None] | None = None

    writes: bool = field(init=False)
    event: str = field(init=False)

    def __post_init__(self) -> None:
        """What follows from the rest."""
        writes = (self.action in ("C", "U", "D") and not self.only_reads) or self.name == "transaction"
        object.__setattr__(self, "writes", writes)
        event = "create" if self.transaction else "operation" if self.name[:1] == "$" else self.name
        object.__setattr__(self, "event", event)
