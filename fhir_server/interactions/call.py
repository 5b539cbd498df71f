"""What a handler is given and what it gives back, apart from the Repository."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.access import Access
from fhir_server.interactions.clinic import Clinic
from fhir_server.store.protocol import Stored, Unit

if TYPE_CHECKING:
    from fhir_server.interactions.repository import Repository

T = TypeVar("T")
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class EntryRequest:
    """One entry of a batch or transaction as a request of its own.

    `segments` and `query` are those of its URL below the base; `id` is the id that a POST shall create at.
    """

    method: str
    segments: tuple[str, ...]
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    resource: Any = None
    id: str = ""


class Entries(Protocol):
    """How the entries of a Bundle go through the pipeline: its checks, its audit."""

    def alone(self, entry: EntryRequest) -> Awaitable["Answer"]:
        """The answer to an entry in a Unit of its own; a refusal is an answer too."""

    def within(self, entry: EntryRequest, unit: Unit) -> Awaitable["Answer"]:
        """The answer to an entry whose resource is checked, in a Unit that is open. Raises FhirError."""


class Units(Protocol):
    """How a handler whose work is more than one Unit does each of them."""

    def step(self, work: "Callable[[Repository], Awaitable[T]]") -> Awaitable[T]:
        """What `work` returns, done in a writing Unit of its own."""


@dataclass(slots=True, unsafe_hash=True)  # made for every request: frozen ones take long to make
class Call:
    """One request to one interaction.

    `query` are the decoded pairs of the URL, and of the form of a POST search; `headers` have lower-case names;
    `body` is the parsed body (a resource, or the operations of a patch), None where there is none; `other` the type
    sought in a compartment (`*`: all); `entries` the way of a Bundle's entries through the pipeline; `units` the way
    to several Units.
    """

    clinic: Clinic
    access: Access
    type: str = ""
    id: str = ""
    version: str = ""
    query: Pairs = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    entries: Entries | None = None
    other: str = ""
    units: Units | None = None


@dataclass(slots=True)
class Answer:
    """An HTTP answer in the making, and what it shows, for the audit.

    `stored` is the version that the answer is about, for ETag and Last-Modified. `shown` are the resources in it,
    `written` the versions that were stored for it.
    """

    status: int = 200
    body: bytes = b""
    stored: Stored | None = None
    headers: dict[str, str] = field(default_factory=dict)
    shown: Sequence[Stored] = ()
    informed: Sequence[Issue] = ()
    written: Sequence[Stored] = ()
