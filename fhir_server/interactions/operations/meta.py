"""$meta, $meta-add, $meta-delete: profiles, security labels and tags (FHIR R4 resource-operation-meta.html).

A change makes a new version, so that history and audit tell of it; the server's own tags stay as they are.
"""

from collections.abc import Callable
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Forbidden
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

Meta = dict[str, Any]
_LISTS = ("profile", "security", "tag")


async def read(call: Call, repository: Repository) -> Answer:
    """The meta of a resource, or of one of its versions."""
    if not call.version:
        stored = await repository.read(call.type, call.id)
    elif call.version.isascii() and call.version.isdigit() and len(call.version) < 19:
        stored = await repository.vread(call.type, call.id, int(call.version))
    else:
        raise BadRequest("A version is a number.")
    return _answer(repository, stored, "r")


async def add(call: Call, repository: Repository) -> Answer:
    """The meta with what the body's meta has added."""
    return await _change(call, repository, _added)


async def delete(call: Call, repository: Repository) -> Answer:
    """The meta without what the body's meta has; what is not there is left out silently."""
    return await _change(call, repository, _without)


async def _change(call: Call, repository: Repository, change: Callable[[Meta, Meta], Meta]) -> Answer:
    given = next((p.get("valueMeta") for p in call.body.get("parameter", ()) if p.get("name") == "meta"), None)
    if given is None:
        raise BadRequest(
            "The Parameters have one parameter 'meta', with a valueMeta.", expression="Parameters.parameter"
        )
    stored = await repository.read(call.type, call.id, letter="u")
    writable = repository.writable(stored)
    if writable is not None and "meta" not in writable:
        raise Forbidden("This caller may not change the meta of this resource.", expression=f"{call.type}.meta")
    assert stored.body is not None
    resource = json.parse(stored.body)
    before = {name: resource["meta"][name] for name in _LISTS if name in resource["meta"]}
    after = change(before, given)
    if after != before:
        kept = {name: value for name, value in resource["meta"].items() if name not in _LISTS}
        resource["meta"] = {**kept, **after}
        stored = await repository.update(stored, resource)
    return _answer(repository, stored, "u")


def _added(meta: Meta, given: Meta) -> Meta:
    made = dict(meta)
    for name in _LISTS:
        known = [_same(each) for each in meta.get(name, ())]
        fresh = [each for each in given.get(name, ()) if _same(each) not in known]
        if fresh:
            made[name] = [*meta.get(name, ()), *fresh]
    return made


def _without(meta: Meta, given: Meta) -> Meta:
    gone = {name: [_same(each) for each in given.get(name, ())] for name in _LISTS}
    kept = {name: [each for each in held if _same(each) not in gone[name]] for name, held in meta.items()}
    return {name: held for name, held in kept.items() if held}


def _same(each: Any) -> Any:
    """What makes two entries one: a profile's URL, a coding's system and code."""
    return (each.get("system"), each.get("code")) if isinstance(each, dict) else each


def _answer(repository: Repository, stored: Stored, letter: str) -> Answer:
    meta = json.parse(repository.shown(stored, letter)).get("meta", {})
    body = {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": meta}]}
    return Answer(200, json.serialise(body), stored, shown=(stored,))
