"""transaction: the entries of a Bundle, all or none, as one Unit (FHIR R4 http.html#trules).

A history Bundle is done again, the oldest entry first: there one resource may stand in several entries, under one id.

Identities are settled first, then links between entries are rewritten, then the entries are done: deletions,
creations, changes, reads. The answers stand in the order of the request.
"""

from dataclasses import dataclass, field, replace

from fhir_server.fhir.errors import BadRequest, FhirError, NotFound, PreconditionFailed, Unprocessable
from fhir_server.interactions import conditional, entry, integrity, links
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.entry import ORDER, Entry, at_place
from fhir_server.interactions.if_match import check_if_match
from fhir_server.interactions.prefer import answer_with
from fhir_server.interactions.repository import Repository
from fhir_server.search.parse import pairs
from fhir_server.store.protocol import Stored
from profiles.elements import resource_type_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """The entries with links rewritten and checked, and the references that a search stands for.

    `is_history`: they are done from the last to the first, as they stand.
    """

    entries: tuple[Entry, ...]
    searches: frozenset[str]
    is_history: bool = False


def prepare(call: Call) -> Prepared:
    """What can be done before the Unit: ids, links, the structural check. Raises what is wrong with the Bundle."""
    read, server = entry.read(call), call.clinic.server
    if call.body["type"] == "history":
        return _prepare_history(call, read)
    links_ = links.Links(server.elements)
    for each in read:
        _identify(call, each)
        if each.full_url and each.id:
            if each.full_url in links_.targets:
                raise BadRequest("Two entries have one fullUrl.", expression=f"Bundle.entry[{each.place}].fullUrl")
            links_.add(each.full_url, f"{each.type}/{each.id}")
    checked = [dict(value) for value in call.body.get("entry", [])]
    for each, value in zip(read, checked, strict=True):
        if isinstance(each.resource, dict):
            value["resource"] = each.resource = links_.rewritten(each.resource, each.full_url)
    issues = server.structure.check({**call.body, **({"entry": checked} if checked else {})}, expected_type="Bundle")
    if issues:
        raise Unprocessable(issues=issues)
    searches = frozenset(text for each in read for text in links.conditional_references(each.resource))
    return Prepared(tuple(read), searches)


def _prepare_history(call: Call, read: list[Entry]) -> Prepared:
    issues = call.clinic.server.structure.check(call.body, expected_type="Bundle")
    if issues:
        raise Unprocessable(issues=issues)
    for each in read:
        if each.method not in ("POST", "PUT", "PATCH", "DELETE"):
            raise BadRequest(
                "An entry of a history is a write.", expression=f"Bundle.entry[{each.place}].request.method"
            )
        if each.method == "PATCH" and resource_type_of(each.resource) == each.type:
            each.method = "PUT"  # a history has what came of a patch
        if each.method == "POST" and isinstance(each.resource, dict):
            each.id = each.resource.get("id", "")
    return Prepared(tuple(read), frozenset(), is_history=True)


def _identify(call: Call, each: Entry) -> None:
    """The id that the entry's resource has or gets; for a condition, the one it gets if nothing is found."""
    if each.method == "POST" and len(each.segments) == 1:
        each.id = call.clinic.server.ids.resource_id()
    elif each.method == "PUT" and len(each.segments) == 1:
        given = each.resource.get("id") if isinstance(each.resource, dict) else None
        each.id = given if isinstance(given, str) else call.clinic.server.ids.resource_id()
    elif len(each.segments) == 2 and each.method in ("PUT", "PATCH", "DELETE"):
        each.id = each.segments[1]


async def handle(call: Call, repository: Repository) -> Answer:
    """200 with a Bundle of the answers. Raises the first refusal, told of its entry; then nothing is done."""
    prepared: Prepared = call.body
    if prepared.is_history:
        found, entries = _Identities(call), list(prepared.entries)
        in_turn = entries[::-1]
    else:
        found = await _Identities.settled(call, repository, prepared)
        entries = [found.entry(each) for each in prepared.entries]
        _refuse_overlaps(entries, found)
        in_turn = sorted(entries, key=lambda each: ORDER[each.method])
    answers: dict[int, Answer] = {}
    for each in in_turn:
        try:
            answers[each.place] = await _answer(call, repository, each, found)
        except FhirError as error:
            raise at_place(error, prepared.entries[each.place]) from error
    written = [stored for answer in answers.values() for stored in answer.written]
    for place, answer in answers.items():
        try:
            await integrity.check(repository, answer.written, written)
        except FhirError as error:
            raise at_place(error, prepared.entries[place]) from error
    body = entry.response_bundle(call, [answers[n] for n in range(len(entries))], call.clinic.server.clock())
    return Answer(200, body, written=written)


@dataclass(slots=True)
class _Identities:
    """What the conditions of entries and references found."""

    call: Call
    there: dict[int, Stored] = field(default_factory=dict)  # entry -> the one match of its condition
    same: dict[int, int] = field(default_factory=dict)  # entry -> the earlier one with the same If-None-Exist
    deleted: dict[int, list[str]] = field(default_factory=dict)  # entry -> the ids that its condition deletes
    replaced: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def settled(cls, call: Call, repository: Repository, prepared: Prepared) -> "_Identities":
        made, types = cls(call), call.clinic.server.definitions.resource_types
        first: dict[tuple[str, str], Entry] = {}
        for each in prepared.entries:
            if each.is_conditional and each.type in types:
                try:
                    await made._settle(repository, each, first)
                except FhirError as error:
                    raise at_place(error, each) from error
        for text in sorted(prepared.searches):
            made.replaced[text] = await _sought(call, repository, text)
        return made

    async def _settle(self, repository: Repository, each: Entry, first: dict[tuple[str, str], Entry]) -> None:
        if each.method == "DELETE":
            found = await conditional.deletable(self.call, repository, each.type, pairs(each.query))
            self.deleted[each.place] = [stored.id for stored in found]
            return
        condition = each.headers["if-none-exist"] if each.method == "POST" else each.query
        earlier = first.setdefault((each.type, condition), each) if each.method == "POST" else each
        if earlier is not each:
            self.same[each.place] = earlier.place
            now = self.replaced.get(f"{each.type}/{earlier.id}", f"{each.type}/{earlier.id}")
            self.replaced[f"{each.type}/{each.id}"] = now
            return
        sought = conditional.criteria(condition) if each.method == "POST" else pairs(condition)
        match = await conditional.one(self.call, repository, each.type, sought)
        if match is not None:
            self.there[each.place] = match
            if each.id and each.id != match.id:
                self.replaced[f"{each.type}/{each.id}"] = f"{each.type}/{match.id}"
        elif each.method == "PATCH":
            raise NotFound("The condition finds nothing.")
        elif each.method == "PUT":
            check_if_match(each.headers, None)

    def entry(self, each: Entry) -> Entry:
        """The entry with what was found put in: its links, and its id in the place of its condition."""
        resource = each.resource
        if self.replaced and isinstance(resource, dict):
            resource = links.rewritten(resource, self.replaced, self.call.clinic.server.elements)
        made = each if resource is each.resource else replace(each, resource=resource)
        match = self.there.get(each.place)
        if each.method not in ("PUT", "PATCH") or not each.is_conditional:
            return made
        if match is None:
            if each.method == "PUT" and "id" not in resource:
                # The condition goes along: it must not find by then what another entry made.
                headers = {**each.headers, "if-none-exist": f"?{each.query}"}
                return replace(made, method="POST", query="", headers=headers)
            return made
        if each.method == "PUT" and resource.get("id", match.id) != match.id:
            return made  # the handler refuses it
        resource = {**resource, "id": match.id} if each.method == "PUT" else resource
        return replace(made, segments=(each.type, match.id), query="", id=match.id, resource=resource)

    def written(self, each: Entry) -> list[tuple[str, str]]:
        """The identities that an entry writes."""
        if each.method in ("GET", "HEAD") or each.place in self.same:
            return []
        return [(each.type, id_) for id_ in self.deleted.get(each.place, [each.id] if each.id else [])]


async def _sought(call: Call, repository: Repository, text: str) -> str:
    """The `Type/id` that a reference by a search means; exactly one."""
    type_, _, query = text.partition("?")
    if type_ not in call.clinic.server.definitions.resource_types:
        raise BadRequest("A reference by a search begins with a resource type.", code="value")
    try:
        found = await conditional.one(call, repository, type_, pairs(query))
        if found is None:
            raise PreconditionFailed(f"A reference by a search of {type_} finds nothing.", code="not-found")
    except FhirError as error:
        error.entry = "GET", (type_,), query  # it is told as the search that it is
        raise
    return f"{type_}/{found.id}"


def _refuse_overlaps(entries: list[Entry], found: _Identities) -> None:
    """No resource is written by two entries, or found by one and deleted by another (FHIR R4 http.html#trules)."""
    deleted = {identity for each in entries if each.method == "DELETE" for identity in found.written(each)}
    seen: set[tuple[str, str]] = set()
    for each in entries:
        match = found.there.get(each.place)
        if each.method == "POST" and match is not None and (match.type, match.id) in deleted:
            raise _overlap(each, "Another entry deletes the resource that this one finds.")
        identities = found.written(each)
        if not seen.isdisjoint(identities):
            raise _overlap(each, "Two entries write the same resource; a transaction writes each once.")
        seen.update(identities)


def _overlap(each: Entry, why: str) -> BadRequest:
    return BadRequest(why, expression=f"Bundle.entry[{each.place}]", code="invariant")


async def _answer(call: Call, repository: Repository, each: Entry, found: _Identities) -> Answer:
    assert call.entries is not None
    if each.place in found.same:
        target = found.replaced[f"{each.type}/{each.id}"].partition("/")[2]
        stored = await repository.read(each.type, target, letter="s")
        return answer_with(replace(call, headers=each.headers), repository, stored, 200, letter="s")
    answer = each.told(await call.entries.within(each.request(), repository.unit))
    made, match = answer.stored, found.there.get(each.place)
    if each.method == "POST" and each.id and made is not None and made.id != (match.id if match else each.id):
        raise PreconditionFailed(f"Another entry of this transaction changes which {made.type} this one looks for.")
    return answer
