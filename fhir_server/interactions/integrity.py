"""Referential integrity, where the setting asks for it: references lead somewhere, and what is referred to stays.

Checked at the end of a Unit, so that the entries of a transaction may refer to each other in any order. Only references
that a write adds are looked at. What is out of the caller's sight is answered as if it were not there.
Source: FHIR R4 references.html, http.html#delete.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.extract import REFERS
from fhir_server.search.plan import Query, Target, Test
from fhir_server.store.protocol import Stored

STRICT, LENIENT = "strict", "lenient"
_MOST_NAMED = 5


async def check(repository: Repository, written: Sequence[Stored], among: Sequence[Stored] | None = None) -> None:
    """Whether the versions that were written leave no reference dangling; `among` is all that the Unit has written.

    Raises Unprocessable that names each reference, Conflict that names who refers to what was deleted.
    """
    if repository.clinic.server.settings.referential_integrity != STRICT:
        return
    own = {(stored.type, stored.id) for stored in among or written}
    last = {(stored.type, stored.id): stored for stored in written}
    for stored in last.values():
        if stored.is_deleted:
            await _check_deletion(repository, stored)
        else:
            await _check_references(repository, stored, own)


async def _check_references(repository: Repository, stored: Stored, own: set[tuple[str, str]]) -> None:
    base_url = repository.clinic.base_url
    before = await repository.unit.vread(stored.type, stored.id, stored.version - 1) if stored.version > 1 else None
    known = {text for _, text in _references(before)} if before is not None else set()
    issues, seen = [], dict[str, bool]()
    for at, text in _references(stored):
        local = local_reference(text, base_url)
        if local is None or text in known or local.type not in repository.clinic.server.definitions.resource_types:
            continue
        if text not in seen:
            seen[text] = await _leads_somewhere(repository, local, own)
        if not seen[text]:
            issues.append(Issue("not-found", "This reference leads to no resource of this server.", at))
    if issues:
        raise Unprocessable(issues=issues)


async def _leads_somewhere(repository: Repository, local: LocalReference, own: set[tuple[str, str]]) -> bool:
    # guard: a deletion of the target beside this Unit would leave the reference dangling.
    await repository.guard(local.type, [("_id", local.id)])
    if (local.type, local.id) in own:
        target = await repository.unit.read(local.type, local.id)
        is_there = target is not None and not target.is_deleted
    else:
        is_there = await repository.peek(local.type, local.id) is not None
    if not is_there or local.version is None:
        return is_there
    version = local.version
    if not (version.isascii() and version.isdigit() and len(version) < 19):
        return False
    found = await repository.unit.vread(local.type, local.id, int(version))
    return found is not None and not found.is_deleted


async def _check_deletion(repository: Repository, deleted: Stored) -> None:
    # guard: a write that adds a reference to it beside this Unit would leave that one dangling.
    await repository.guard(deleted.type, [("_id", deleted.id)])
    referrers: list[Stored] = []
    for type_ in sorted(repository.clinic.server.definitions.resource_types):
        query = Query(type_, Test(REFERS, "reference", Target(deleted.id, deleted.type)), count=_MOST_NAMED + 1)
        referrers += (await repository.unit.search(query)).matches
        if len(referrers) > _MOST_NAMED:
            break
    if not referrers:
        return
    named = [f"{each.type}/{each.id}" for each in referrers if await _is_seen(repository, each)]
    told = ", ".join(named[:_MOST_NAMED])
    others = len(named) < len(referrers) or len(named) > _MOST_NAMED
    raise Conflict(
        f"This {deleted.type} is referred to by {' and '.join(filter(None, (told, 'others' if others else '')))}; "
        "change what refers to it first.",
        code="conflict",
    )


def _references(stored: Stored | None) -> Iterator[tuple[str, str]]:
    """(path, text) of every literal reference of a version."""
    if stored is None or stored.body is None:
        return
    open_: list[tuple[str, Any]] = [(stored.type, json.parse(stored.body))]
    while open_:
        at, value = open_.pop()
        if isinstance(value, dict):
            text = value.get("reference")
            if isinstance(text, str):
                yield f"{at}.reference", text
            open_ += [(f"{at}.{name}", held) for name, held in value.items() if isinstance(held, dict | list)]
        elif isinstance(value, list):
            open_ += [(f"{at}[{n}]", held) for n, held in enumerate(value)]


async def _is_seen(repository: Repository, stored: Stored) -> bool:
    return await repository.may_see(stored, "r") or await repository.may_see(stored, "s")
