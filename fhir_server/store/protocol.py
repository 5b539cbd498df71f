"""What every store does, and the values that pass between it and the rest of the server.

A Unit is one atomic, serialisable piece of work on one tenant, bound at the start. It is handed to a coroutine: the
embedded store drives that coroutine to its end in its writer's thread, another store awaits it on the event loop.
So work on a Unit awaits nothing but the Unit, and may run again from the start when a store has to retry.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fhir_server.fhir.clock import Micros
from fhir_server.search.plan import Entries, Node, Position, Query

T = TypeVar("T")


@dataclass(slots=True, unsafe_hash=True)  # made for every request: frozen ones take long to make
class Stored:
    """One version of one resource. `body` is its JSON, None when the version is a deletion.

    `patients` are the ids of the patients in whose compartment it is, for the audit of those who read it.
    """

    type: str
    id: str
    version: int
    updated: Micros
    body: bytes | None
    key: int
    patients: tuple[str, ...] = ()
    method: str = ""  # POST, PUT, PATCH or DELETE; known in history only

    @property
    def is_deleted(self) -> bool:
        """Whether this version is a deletion."""
        return self.body is None


@dataclass(frozen=True, slots=True)
class Put:
    """A new version to store. `expected` is the version that it replaces, 0 for a new resource."""

    type: str
    id: str
    expected: int
    updated: Micros
    body: bytes | None
    entries: Entries
    method: str
    patients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contained:
    """A resource within another, to be found by itself: under a type and id that no resource of FHIR has."""

    type: str
    id: str
    body: bytes
    entries: Entries


@dataclass(frozen=True, slots=True)
class Page:
    """One page of matches, the place after which the next begins (None: no more), and the total if asked for.

    `total_is_exact` is False when counting stopped at the limit.
    """

    matches: Sequence[Stored]
    next: Position | None = None
    total: int | None = None
    total_is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a search: SQL or a filter with its values, how the store runs it (the indexes that it uses, a
    line each), how many rows a page takes of it, and how much it looked at for them.
    """

    text: str
    values: tuple[str, ...]
    how: tuple[str, ...]
    rows: int
    touched: int


@dataclass(frozen=True, slots=True)
class Explained:
    """How a page is found: the way, the condition that leads, what the conditions' indexes count (to a bound), and the
    statements; `touched_unit` says what their `touched` counts.
    """

    way: str
    leader: Node | None
    counts: tuple[tuple[Node, int], ...]
    statements: tuple[Statement, ...]
    touched_unit: str


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """One page of versions, newest first: of one resource, one type (`id` None) or all types (`types` empty).

    `after` is the place of a version: (updated, key, version).
    """

    types: tuple[str, ...] = ()
    id: str | None = None
    since: Micros | None = None
    at: tuple[Micros, Micros] | None = None
    count: int = 20
    after: Position | None = None


@dataclass(slots=True, unsafe_hash=True)  # made for every request: frozen ones take long to make
class AuditEntry:
    """One thing that happened. `body` is its canonical form, which the hash chain covers: a flat JSON object with
    one-letter members, in which values under capital letters are texts that repeat from entry to entry, so that a
    store may keep each of them once. `found` are the (kind, value) that it is found by. `parts` is the body in
    two: what many entries begin with alike, without its last brace, and the members that follow.
    """

    recorded: Micros
    body: bytes
    found: tuple[tuple[str, str], ...] = ()
    parts: tuple[bytes, Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)


class VersionConflict(Exception):
    """`put` found another version than `expected`; `current` is it (0: none)."""

    def __init__(self, current: int) -> None:
        super().__init__(current)
        self.current = current


class Unit(Protocol):
    """Atomic work on one tenant."""

    async def read(self, type_: str, id_: str) -> Stored | None:
        """The current version, a deletion included; None when there never was one."""

    async def vread(self, type_: str, id_: str, version: int) -> Stored | None:
        """One version, a deletion included."""

    async def search(self, query: Query) -> Page:
        """One page of the current, not deleted resources for which the plan holds."""

    async def explain(self, query: Query) -> "Explained":
        """How that page is found."""

    async def history(self, query: HistoryQuery) -> Page:
        """One page of versions."""

    async def put(self, put: Put) -> Stored:
        """Store a version with its index entries and a change for the outbox. Raises VersionConflict."""

    async def reindex(self, stored: Stored, entries: Entries) -> None:
        """Replace the index entries of a current version. Raises VersionConflict when it is not current any more."""

    async def contain(self, container: Stored, contained: Sequence[Contained], gone: Sequence[tuple[str, str]]) -> None:
        """Have what a current version contains found by search, and those (type, id) that are gone no more.

        They have the container's version and patients, and no history; what was there keeps its creation key.
        """

    async def audit(self, entry: AuditEntry) -> None:
        """Record what this Unit does; it is there if and only if the Unit's changes are."""

    async def audited(self, query: "AuditQuery") -> Sequence["Recorded"]:
        """Audit entries of the tenant, those of every process, in the order that the query asks for."""

    async def placed(self, id_: str) -> tuple[str, int] | None:
        """The chain of an audit entry, by its id, and its number there (0: not chained yet); None: it is in none."""

    async def heads(self) -> Sequence["Head"]:
        """The chains of all writers that are registered, by name.

        In a Unit that may write, what was committed before it stands in its chain after this, up to some thousands.
        """

    async def strays(self, count: int) -> Sequence[str]:
        """The ids of entries that `audited` gives and no registered writer's chain has, `count` at most.

        Of each such chain the first at least. While a writer begins, it may be one of them for a moment.
        """

    async def chained(self, chain: str, after: int | None, count: int) -> Sequence["Chained"]:
        """Entries of a chain after a number, in its order; None: from the first that is there, whatever its number."""

    async def hashes(self, chain: str, after: int, upto: int) -> Sequence[bytes]:
        """The hashes of a chain's entries after a number, up to another."""

    async def seal(self, sealed: "Sealed") -> None:
        """Keep a checkpoint under a new number, or another form of one that is there."""

    async def sealed(self, after: int, count: int) -> Sequence["Sealed"]:
        """Checkpoints after a number, in their order; `after` -1 with `count` 1: the last."""

    async def purge(self, chain: str, upto: int) -> None:
        """Remove a chain's entries up to a number for good; the chain goes on from there."""

    async def guard(self, *names: str) -> None:
        """Serialise with every other Unit that guards one of these names.

        A Unit that decides on what it searched (nobody else takes this slot, there is no key yet) guards what it
        decided about, `Type/id` or `kind/…`: two Units whose decisions would exclude each other share a name. What
        a Unit puts, keeps or takes is guarded by itself.
        """

    async def keep(self, kind: str, name: str, value: bytes, expires: Micros | None = None) -> None:
        """Keep a value by name, replacing what was there."""

    async def peek(self, kind: str, name: str) -> bytes | None:
        """A kept value that has not expired."""

    async def take(self, kind: str, name: str) -> bytes | None:
        """Remove a kept value and return it; None when it is gone or has expired. Only one taker gets it."""

    async def kept(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All values of a kind that have not expired, by name."""

    async def forget(self, count: int) -> int:
        """Remove values that have expired, `count` of them at most; how many it was."""


Work = Callable[[Unit], Awaitable[T]]


class Store(Protocol):
    """All tenants' data."""

    async def run(self, tenant: str, work: Work[T], *, write: bool, quick: bool = False, may_lag: bool = False) -> T:
        """Do `work` in one Unit and return its result once it is durable; `quick`: a read of a few look-ups.

        `may_lag`: a read may be of a moment ago, if that lets another machine answer it.

        When `work` raises, nothing of it is stored, and the error comes only after what it may have seen is
        durable. Raises Unavailable when the store cannot do it now.
        """

    async def record(self, tenant: str, entries: Iterable[AuditEntry]) -> None:
        """Record what happened without a change (reads, refusals); durable at return.

        `entries` may be made as they are asked for, once, when they are written; what that raises is raised here.
        """

    async def has(self, tenant: str) -> bool:
        """Whether there is a tenant of this name."""

    async def create_tenant(self, tenant: str) -> None:
        """Make an empty tenant. Raises Conflict when there is one of that name."""

    async def tenants(self) -> Sequence[str]:
        """The names of all tenants."""

    def at_hand(self) -> Sequence[str]:
        """The names of the tenants that this process has met and not let go of: to tend them opens no others."""

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which audit entries: newest first, recorded in [since, before), found by one thing at most.

    `found_by` is (kind, value) with kind one of `patient`, `agent`, `entity`, `correlation`; it may let a few others
    through. `ascending`: oldest first.
    """

    since: Micros | None = None
    before: Micros | None = None
    found_by: tuple[str, str] | None = None
    id: str | None = None
    after: tuple[Micros, str] | None = None
    count: int = 100
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """An audit entry with its id, `{chain}-{number}`."""

    id: str
    recorded: Micros
    body: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain of audit entries stands: its name, how many entries it has had, and the hash of the last.

    Every writer that ever wrote is registered: one whose entries cannot be read has the number -1.
    """

    chain: str
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Chained:
    """One entry of a chain as it is stored; `body` None when it cannot be read any more."""

    number: int
    recorded: Micros
    body: bytes | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A checkpoint as it is kept: `body` is what was signed, `marks` what helps to name a changed entry."""

    number: int
    body: bytes
    signature: bytes
    marks: bytes = b""


JsonObject = dict[str, Any]
