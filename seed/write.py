"""Resources from files into a clinic: checked, indexed, audited, and obeying the write rules (docs/cli.md).

It is an administrator's act: any initial status is taken, ids are kept, and double booking is refused all the same.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fhir_server.audit.command import CLIENT, Command
from fhir_server.booking.conflicts import takers
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import FhirError
from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.clinic import Clinic, Resource
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Store, Unit
from seed import conditional

T = TypeVar("T")

# What an imported AuditEvent carries: it stands outside of the clinic's own chain.
FOREIGN = {"system": own.ORIGIN, "code": "foreign"}


@dataclass(frozen=True, slots=True)
class Item:
    """A resource and where it comes from. `fault` says why there is none."""

    file: str
    at: str
    resource: Any = None
    fault: Issue | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A resource that was not taken, and why: one of these for each issue."""

    file: str
    at: str
    type: str
    id: str
    expression: str
    code: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What became of some items: how many are new, newer versions, or stored equal already, and what was refused."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: list[Refused] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Join what became of further items."""
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.refused += other.refused


class _HalfDone(Exception):
    """An item was refused after something of it was written; the Unit must not be kept."""


class Writer:
    """Writes items into one clinic, many in a Unit. `rule` marks each change in the audit log."""

    def __init__(self, store: Store, clinic: Clinic, command: Command, rule: str) -> None:
        self._store, self._command, self._rule = store, command, rule
        server = clinic.server
        rules = {**server.rules, "AuditEvent": _mark_foreign}
        self._clinic = replace(clinic, server=replace(server, rules=rules))
        grant = (Grant(frozenset("cruds"), rule=rule),)
        agent = Agent("administrator", CLIENT, name=command.login)
        self._access = Access(agent, dict.fromkeys(server.definitions.resource_types, grant))

    async def begin(self) -> None:
        """Record that the command was run."""

        async def work(unit: Unit) -> None:
            await unit.audit(self._command.event(self._clinic.server.clock()).entry())

        await self._store.run(self._clinic.name, work, write=True)

    async def write(self, items: Sequence[Item], *, only_new: bool = False) -> Outcome:
        """Store what is sound, in one Unit; what is refused takes nothing else with it.

        `only_new` leaves what is there already as it is.
        """
        outcome = Outcome()
        sound = []
        for item in items:
            issues = self.check(item)
            if issues:
                outcome.refused += refusals(item, issues)
            else:
                sound.append(item)
        try:
            outcome.add(await self._write(sound, only_new=only_new))
        except _HalfDone:
            for item in sound:
                outcome.add(await self._write_alone(item))
        return outcome

    async def act(self, work: Callable[[Repository], Awaitable[T]]) -> T:
        """Do `work` in one Unit with the command's record and its changes. Raises FhirError, and nothing is kept."""

        async def do(unit: Unit) -> T:
            repository = Repository(unit, self._clinic, self._access)
            result = await work(repository)
            await unit.audit(self._command.event(self._clinic.server.clock()).entry())
            await self._record(unit, repository)
            return result

        return await self._store.run(self._clinic.name, do, write=True)

    async def resolve(self, references: Iterable[str]) -> dict[str, str]:
        """What conditional references stand for in this clinic; those that match no one resource are left out."""
        return await conditional.resolve(self._store, self._clinic, references)

    def check(self, item: Item) -> Sequence[Issue]:
        """What is wrong with the shape of an item."""
        if item.fault is not None:
            return (item.fault,)
        if not isinstance(item.resource, dict):
            return (Issue("structure", "This is no resource: a JSON object with a resourceType."),)
        return self._clinic.server.structure.check(item.resource)

    async def write_in(self, unit: Unit, items: Sequence[Item]) -> Outcome:
        """Store items within a Unit of the caller's. Raises FhirError for the first that is refused."""
        outcome = Outcome()
        repository = Repository(unit, self._clinic, self._access, is_import=True)
        for item in items:
            await self._put(repository, item.resource, outcome)
        await self._record(unit, repository)
        return outcome

    async def _write(self, items: Sequence[Item], *, only_new: bool) -> Outcome:
        async def work(unit: Unit) -> Outcome:
            outcome = Outcome()
            repository = Repository(unit, self._clinic, self._access, is_import=True)
            for item in items:
                before = len(repository.changes)
                try:
                    await self._put(repository, item.resource, outcome, only_new=only_new)
                except FhirError as error:
                    if len(repository.changes) != before:
                        raise _HalfDone from error
                    outcome.refused += refusals(item, error.issues)
            await self._record(unit, repository)
            return outcome

        return await self._store.run(self._clinic.name, work, write=True) if items else Outcome()

    async def _write_alone(self, item: Item) -> Outcome:
        async def work(unit: Unit) -> Outcome:
            return await self.write_in(unit, [item])

        try:
            return await self._store.run(self._clinic.name, work, write=True)
        except FhirError as error:
            return Outcome(refused=refusals(item, error.issues))

    async def _put(
        self, repository: Repository, resource: Resource, outcome: Outcome, *, only_new: bool = False
    ) -> None:
        type_, id_ = resource["resourceType"], resource.get("id")
        current = await repository.unit.read(type_, id_) if id_ is not None else None
        if current is not None and current.body is not None:
            if only_new or await _is_same(repository, json.parse(current.body), resource):
                outcome.unchanged += 1
                return
            await repository.update(current, resource)
            outcome.changed += 1
            return
        if id_ is None:
            await repository.create(resource)
        else:
            await repository.create_at(resource, id_, current)
        outcome.new += 1

    async def _record(self, unit: Unit, repository: Repository) -> None:
        now = self._clinic.server.clock()
        for event in self._command.changes(now, repository.changes, self._rule):
            await unit.audit(event.entry())


async def _mark_foreign(_: Repository, __: Resource | None, after: Resource | None) -> Resource | None:
    if after is not None:
        own.set_tags(after, [FOREIGN])
    return after


async def _is_same(repository: Repository, stored: Resource, given: Resource) -> bool:
    """Whether the stored resource says what the given one does, so that a repeated import makes no new version."""
    ours, theirs = comparable(stored), comparable(given)
    if ours == theirs:
        return True
    # The status of a slot that appointments take follows them.
    if stored["resourceType"] != "Slot" or comparable(stored, "status") != comparable(given, "status"):
        return False
    return bool(await takers(repository, stored["id"]))


def comparable(resource: Resource, *without: str) -> bytes:
    """A resource as JSON, without what the server sets itself; decimals as written."""
    own_part = ("versionId", "lastUpdated")
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in own_part}
    tags = [tag for tag in meta.get("tag", ()) if not own.is_own_tag(tag)]
    if "tag" in meta:
        meta["tag"] = tags
    meta = {name: value for name, value in meta.items() if value != []}
    rest = {name: value for name, value in sorted(resource.items()) if name not in ("meta", *without)}
    return json.serialise([meta, rest])


def refusals(item: Item, issues: Sequence[Issue]) -> list[Refused]:
    """A line of the report for each issue."""
    resource = item.resource if isinstance(item.resource, dict) else {}
    type_, id_ = str(resource.get("resourceType", "")), str(resource.get("id", ""))
    return [
        Refused(item.file, item.at, type_, id_, issue.expression or "", issue.code, issue.diagnostics)
        for issue in issues
    ]
