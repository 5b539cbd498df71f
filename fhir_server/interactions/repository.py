"""The store as a handler sees it: bound to one Unit, one clinic and one access, with the write rules in the way.

No handler can forget tenancy, access, rules, index or audit: every path to a resource is here.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.fhir import json, own
from fhir_server.fhir.clock import instant
from fhir_server.fhir.errors import Conflict, Forbidden, Gone, NotFound, Unprocessable
from fhir_server.interactions import contained, search_parameters, visibility
from fhir_server.interactions.access import Access, Grant
from fhir_server.interactions.changes import Change, Noted
from fhir_server.interactions.clinic import Clinic, Resource
from fhir_server.interactions.sight import Sight
from fhir_server.search.plan import Entries, Node, Query
from fhir_server.store.protocol import HistoryQuery, Page, Put, Stored, Unit, VersionConflict

HISTORY_BATCH = 200
# Versions looked at for one page of a caller who sees some only.
MOST_HISTORY = 20_000


Follower = Callable[[Stored], Awaitable[None]]


class Repository:
    """One tenant's resources, as one caller may see and change them, within one Unit."""

    def __init__(
        self, unit: Unit, clinic: Clinic, access: Access, *, is_import: bool = False, address: str = ""
    ) -> None:
        self.unit = unit
        self.clinic = clinic
        self.access = access
        self.is_import = is_import
        self.address = address  # the caller's
        self.changes: list[Change] = []
        self.headers: dict[str, str] = {}  # what rules add to the answer
        self.because = ""  # what a rule decided of the resource at hand, for the audit
        self.decided: dict[tuple[str, str], Grant] = {}  # which grant let a resource through
        self.noted: list[Noted] = []  # what the audit is told beside the changes
        self.known: dict[str, Any] = {}  # what rules have found out in this Unit
        self._followers: list[Follower] = []
        self._sight = Sight(unit, clinic, access)
        self._is_current = False

    # Reading

    async def read(self, type_: str, id_: str, *, letter: str = "r") -> Stored:
        """The current version, if it is there for this caller. Raises NotFound, Gone."""
        self.granted(type_, letter)
        stored, is_there = await self.look(type_, id_, letter)
        return _there(stored if is_there else None)

    async def look(self, type_: str, id_: str, letter: str) -> tuple[Stored | None, bool]:
        """The current version, a deletion included, and whether it is there for this caller.

        The store is asked the same for what is absent and for what is out of sight.
        """
        stored = await self.unit.read(type_, id_)
        grant = await self._sight.of_id(type_, id_, letter)
        if grant is None:
            # Of what is not deleted no version 0 is there, as none is of what is absent.
            was = stored.version - 1 if stored is not None and stored.is_deleted else 0
            before = await self.unit.vread(type_, id_, was)
            if before is not None:
                grant = await self._sight.of_version(before, letter)
        self._decide(type_, id_, grant)
        return stored, stored is not None and grant is not None

    async def peek(self, type_: str, id_: str) -> Stored | None:
        """The current version if it is there for this caller by read or search; None otherwise."""
        stored = await self.unit.read(type_, id_)
        grant = await self._sight.of_id(type_, id_, "r") or await self._sight.of_id(type_, id_, "s")
        self._decide(type_, id_, grant)
        return stored if stored is not None and not stored.is_deleted and grant is not None else None

    async def current(self, type_: str, id_: str) -> Resource | None:
        """A resource as it is, for rules of the server, whoever asks; None when it is not there."""
        stored = await self.unit.read(type_, id_)
        return json.parse(stored.body) if stored is not None and stored.body is not None else None

    async def vread(self, type_: str, id_: str, version: int) -> Stored:
        """One version, if the resource is there for this caller. Raises NotFound, Gone."""
        self.granted(type_, "r")
        _, is_there = await self.look(type_, id_, "r")
        stored = await self.unit.vread(type_, id_, version) if is_there else None
        return _there(stored if stored is not None and await self._is_version_visible(stored, "r") else None)

    async def search(self, query: Query, *, letter: str = "s") -> Page:
        """One page of what matches and is there for this caller. Raises Forbidden."""

        def bind() -> Node:
            where, sort, registry = query.where, query.sort, self.clinic.registry
            return visibility.bound(query.type, where, sort, self.access, letter, registry)

        # What an own search parameter looks at can change while an Access is kept.
        where = bind() if self.clinic.custom else self.access.bound(query, letter, bind)
        page = await self.unit.search(query if where is query.where else replace(query, where=where))
        self.decided |= await self._sight.of_page(page.matches, query.type, letter)
        return page

    async def history(self, query: HistoryQuery, *, letter: str) -> Page:
        """One page of versions; those of resources that are not there for this caller are left out."""
        if all(any(map(visibility.is_everything, self.access.of(type_, letter))) for type_ in query.types):
            return await self.unit.history(query)
        kept: list[Stored] = []
        after, is_over, looked_at = query.after, query.count == 0, 0
        # A page is filled up from what is there for this caller, and ends on it: a page that ended early, or a link
        # that told where, would tell of what is not. So would a total.
        while not is_over and len(kept) <= query.count:
            page = await self.unit.history(replace(query, count=HISTORY_BATCH, after=after))
            for stored in page.matches:
                if len(kept) <= query.count and await self.version_is_visible(stored, letter):
                    kept.append(stored)
            after, is_over, looked_at = page.next, page.next is None, looked_at + HISTORY_BATCH
            if looked_at >= MOST_HISTORY:
                raise Unprocessable("This history is too long to look through; narrow it by _since.", code="too-costly")
        matches = kept[: query.count]
        last = matches[-1] if len(kept) > len(matches) else None
        is_whole = is_over and last is None and query.after is None and query.count > 0
        return Page(
            matches,
            (last.updated, last.key, last.version) if last is not None else None,
            len(matches) if is_whole else None,
        )

    async def guard(self, type_: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Have Units that decide on what one criterion finds do so in turn."""
        criterion = hashlib.sha256(f"{type_}?{sorted(pairs)}".encode()).hexdigest()
        await self.unit.guard(f"condition/{criterion}")

    def granted(self, type_: str, letter: str) -> tuple[Grant, ...]:
        """The grants for a letter on a type. Raises Forbidden when there is none."""
        grants = self.access.of(type_, letter)
        if not grants:
            raise Forbidden(f"Nothing grants this caller '{letter}' on {type_}.")
        return grants

    def shown(self, stored: Stored, letter: str = "r") -> bytes:
        """The body as this caller may see it: whole, or narrowed to what the grants that let it through show."""
        if self.access.shows_all(stored.type, letter):
            assert stored.body is not None
            return stored.body
        return self._sight.shown(stored, self.access.of(stored.type, letter))

    def shown_to_maker(self, stored: Stored) -> bytes:
        """The body of what this caller created, by the grants that let it, whatever a rule has made of it since."""
        return self._sight.shown(stored, self.access.of(stored.type, "c"), or_all=True)

    async def may_see(self, stored: Stored, letter: str) -> bool:
        """Whether a current version is there for this caller under a letter."""
        return await self._sight.of_id(stored.type, stored.id, letter) is not None

    def writable(self, stored: Stored) -> frozenset[str] | None:
        """The elements of a resource that this caller may change; None: all."""
        return self._sight.elements(stored, self.access.of(stored.type, "u"))

    async def version_is_visible(self, stored: Stored, letter: str) -> bool:
        """Whether a version is there for this caller: the resource is, and the version's own content would be."""
        if any(visibility.is_everything(grant) for grant in self.access.of(stored.type, letter)):
            return await self._is_version_visible(stored, letter)
        _, is_there = await self.look(stored.type, stored.id, letter)
        return is_there and await self._is_version_visible(stored, letter)

    async def _is_version_visible(self, stored: Stored, letter: str) -> bool:
        """A deletion is as visible as the version before it."""
        if stored.is_deleted and not any(visibility.is_everything(g) for g in self.access.of(stored.type, letter)):
            before = await self.unit.vread(stored.type, stored.id, stored.version - 1)
            grant = await self._sight.of_version(before, letter) if before is not None else None
        else:
            grant = await self._sight.of_version(stored, letter)
        self._decide(stored.type, stored.id, grant)
        return grant is not None

    def note(self, noted: "Noted") -> None:
        """Have the audit told of something beside the changes."""
        self.noted.append(noted)

    def _decide(self, type_: str, id_: str, grant: Grant | None) -> None:
        if grant is not None:
            self.decided[type_, id_] = grant

    # Writing

    async def create(self, resource: Resource, *, id_: str | None = None) -> Stored:
        """Store a new resource, under a new id unless one is given."""
        grants = self.granted(resource["resourceType"], "c")
        return await self._write(None, resource, id_ or self.clinic.server.ids.resource_id(), "POST", grants)

    async def update(self, before: Stored, resource: Resource, method: str = "PUT") -> Stored:
        """Store a new version of a resource that this caller was shown."""
        return await self._write(before, resource, before.id, method, self.granted(before.type, "u"))

    async def create_at(self, resource: Resource, id_: str, before: Stored | None) -> Stored:
        """Store a resource at an id of the caller's choice: never used, or deleted (`before`)."""
        grants = self.granted(resource["resourceType"], "c")
        return await self._write(before, resource, id_, "PUT", grants)

    async def delete(self, before: Stored) -> Stored:
        """Delete a resource that this caller was shown."""
        return await self._write(before, None, before.id, "DELETE", self.granted(before.type, "d"))

    async def put(
        self, before: Stored | None, resource: Resource, *, rule: str, rule_author: str = "", method: str = ""
    ) -> Stored:
        """Store what a rule of the server decides, without asking for the caller's grants.

        `rule` is audited, and who set it.
        """
        id_ = before.id if before is not None else self.clinic.server.ids.resource_id()
        stored = await self._store(before, resource, id_, method or ("PUT" if before else "POST"), rule=rule)
        if rule_author:
            self.changes[-1] = replace(self.changes[-1], rule_author=rule_author)
        return stored

    async def _write(
        self, before: Stored | None, after: Resource | None, id_: str, method: str, grants: Sequence[Grant]
    ) -> Stored:
        old = json.parse(before.body) if before is not None and before.body is not None else None
        type_ = before.type if before is not None else str((after or {})["resourceType"])
        rule = self.clinic.server.rules.get(type_)
        if after is not None:
            # A Unit may run again, from what the caller sent; only rules and stamps change what lies deeper than meta.
            is_changed = rule is not None or type_ in self.clinic.server.stamps
            after = json.copy(after) if is_changed else {**after, "meta": {**after.get("meta", {})}}
            own.set_tags(after, own.own_tags(old))
            own.keep_extensions(after, old)
            after["id"] = id_
        if rule is not None:
            after = await rule(self, old, after)
        followers, self._followers = self._followers, []
        because, self.because = self.because, ""
        stored = await self._store(before, after, id_, method, grants=grants, type_=type_, rule=because)
        for follow in followers:
            await follow(stored)
        # A rule may have made a newer version of what was written.
        same = [c.stored for c in self.changes if (c.stored.type, c.stored.id) == (stored.type, stored.id)]
        return same[-1]

    def then(self, follower: Follower) -> None:
        """Have a rule go on once what it was asked about is stored, in the same Unit."""
        self._followers.append(follower)

    async def _store(
        self,
        before: Stored | None,
        resource: Resource | None,
        id_: str,
        method: str,
        *,
        grants: Sequence[Grant] | None = None,
        rule: str = "",
        type_: str = "",
    ) -> Stored:
        type_ = type_ or str((resource or {})["resourceType"])
        version = before.version if before is not None else 0
        updated = max(self.clinic.server.clock(), before.updated + 1 if before is not None else 0)
        body: bytes | None = None
        entries: Entries = {}
        patients = before.patients if before is not None else ()
        if resource is not None:
            await self._set_own_tags(before, resource, type_)
            await self.renew()
            body = self._stamp(resource, id_, version + 1, updated)
            entries = self.entries(resource)
            patients = visibility.patients_of(type_, id_, entries, self.clinic.server.definitions)
            if grants is not None:
                decided = await self._sight.of_entries(grants, type_, id_, entries)
                if decided is None:
                    raise Forbidden(f"The {type_} as it would be is outside of what this caller may write.")
                self._decide(type_, id_, decided)
        self._sight.forget()
        try:
            stored = await self.unit.put(Put(type_, id_, version, updated, body, entries, method, patients))
        except VersionConflict as error:
            raise Conflict(
                f"The {type_} was changed meanwhile; it is at version {error.current}. Read it again."
            ) from error
        if "contained" in (resource or ()) or contained.names(before):
            await contained.index(self.unit, self.clinic, stored, resource or {}, before)
        self.changes.append(Change(stored, version if before is not None and not before.is_deleted else 0, rule))
        return stored

    async def _set_own_tags(self, before: Stored | None, resource: Resource, type_: str) -> None:
        stamp = self.clinic.server.stamps.get(type_)
        if stamp is not None:
            old = json.parse(before.body) if before is not None and before.body is not None else None
            await stamp(self, old, resource)

    def _stamp(self, resource: Resource, id_: str, version: int, updated: int) -> bytes:
        """The body with the server's own meta; the resource's type first, then id and meta."""
        meta = {"versionId": str(version), "lastUpdated": instant(updated)}
        given = resource.get("meta", {})
        meta |= {name: value for name, value in given.items() if name not in meta}
        rest = {name: value for name, value in resource.items() if name not in ("resourceType", "id", "meta")}
        resource["id"], resource["meta"] = id_, meta
        return json.serialise({"resourceType": resource["resourceType"], "id": id_, "meta": meta, **rest})

    async def renew(self) -> None:
        """Index by the search parameters that the clinic has in this Unit, whatever this process last knew of them."""
        if not self._is_current:
            kept = await search_parameters.kept(self.unit) or b""
            if kept != self.clinic.custom:
                self.clinic = self.clinic.with_custom(kept)
            self._is_current = True

    def entries(self, resource: Resource) -> Entries:
        """The index entries of a resource, those of the server's own rules included."""
        entries = self.clinic.extractor.entries(resource)
        own_entries = self.clinic.server.own_entries.get(resource["resourceType"])
        if own_entries is None:
            return entries
        merged: dict[Any, list[tuple[Any, ...]]] = {shape: list(found) for shape, found in entries.items()}
        for shape, found in own_entries(resource, self.clinic.zone, self.clinic.base_url).items():
            merged.setdefault(shape, []).extend(found)
        return merged


def _there(stored: Stored | None) -> Stored:
    """What is there for the caller. Raises NotFound, Gone."""
    if stored is None:
        raise NotFound("There is no such resource here.")  # one text, whether it is absent or out of sight
    if stored.is_deleted:
        raise Gone(f"This {stored.type} was deleted.")
    return stored
