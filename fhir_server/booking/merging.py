"""Merging two Patients who are one person, and taking it back (FHIR R4 patient.html#links; R-5.1).

The source stays, inactive and linked; every resource but a Patient that points at it points at the target from then on.
What was changed is kept as `merge/{source id}`, so that it can be undone: only references that the merge moved move
back.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from fhir_server.booking.guards import guard_days
from fhir_server.booking.index import ACTOR, TIME
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import Conflict, Unprocessable
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Query, Sort, Target, Test, any_of
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

KIND = "merge"
RULE = "R-5.1 merge of two patients"
UNDONE = "R-5.1 merge undone"
_MOST = 10_000
_TYPE = "Patient"


async def merge(repository: Repository, source: Stored, target: Stored) -> Stored:
    """Make `source` a former entry of `target`. Raises Unprocessable, Conflict; the target's new version."""
    if source.id == target.id:
        raise Unprocessable("A Patient is not merged with itself.", expression="source-patient")
    await repository.unit.guard(guard_name(source.id))
    if await repository.unit.peek(KIND, source.id) is not None:
        raise Conflict("This Patient is merged already; take that back first.", expression="source-patient")
    if await repository.unit.peek(KIND, target.id) is not None:
        raise Conflict("The target is merged into another Patient; merge with that one.", expression="target-patient")
    moved = []
    for stored in await _referrers(repository, source.id):
        resource = _body(stored)
        paths = [path for path, reference in _references(resource, repository) if reference == source.id]
        # A Patient's links tell who was merged into whom, and stay as they were: one merged into the source still leads
        # to it, and by it on to the target.
        if stored.type != _TYPE and paths:
            await _move(repository, stored, paths, target.id, RULE)
            moved.append([stored.type, stored.id, paths])
    await _check_times(repository, target.id, "source-patient")
    await repository.unit.keep(KIND, source.id, orjson.dumps({"target": target.id, "moved": moved}))
    await _link(repository, source, target.id, "replaced-by", active=False, rule=RULE)
    return await _link(repository, target, source.id, "replaces", rule=RULE)


def guard_name(patient_id: str) -> str:
    """What guards that a Patient is, or is not, merged into another."""
    return f"{KIND}/{patient_id}"


def target_of(kept: bytes) -> str:
    """The id of the Patient into whom another was merged, by what is kept of that."""
    return str(orjson.loads(kept)["target"])


async def unmerge(repository: Repository, source: Stored) -> Stored:
    """Take a merge back; the source's new version. Raises Unprocessable."""
    kept = await repository.unit.take(KIND, source.id)
    if kept is None:
        raise Unprocessable("This Patient is not merged into another.", expression="source-patient")
    trail = orjson.loads(kept)
    for type_, id_, paths in trail["moved"]:
        stored = await repository.unit.read(type_, id_)
        if stored is not None and stored.body is not None:
            there = [path for path, to in _references(_body(stored), repository) if to == trail["target"]]
            await _move(repository, stored, [path for path in paths if path in there], source.id, UNDONE)
    await _check_times(repository, source.id, "Patient")
    target = await repository.unit.read(_TYPE, trail["target"])
    if target is not None and target.body is not None:
        await _link(repository, target, source.id, "", rule=UNDONE)
    return await _link(repository, source, trail["target"], "", active=True, rule=UNDONE)


async def _referrers(repository: Repository, patient_id: str) -> list[Stored]:
    """All resources with a search parameter that points at the patient."""
    registry, found = repository.clinic.registry, {}
    for type_ in sorted(repository.clinic.server.definitions.resource_types):
        codes = [p.code for p in registry.parameters(type_).values() if "reference" in p.shapes]
        if codes and type_ != "AuditEvent":
            where = any_of(*(Test(code, "reference", Target(patient_id, _TYPE)) for code in codes))
            for stored in (await repository.unit.search(Query(type_, where, count=_MOST))).matches:
                found[(stored.type, stored.id)] = stored
    return list(found.values())


async def _move(repository: Repository, stored: Stored, paths: list[list[Any]], to: str, rule: str) -> None:
    if not paths:
        return
    resource = _body(stored)
    for path in paths:
        holder = resource
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = f"{_TYPE}/{to}"
    await repository.put(stored, resource, rule=rule)


async def _check_times(repository: Repository, patient_id: str, at: str) -> None:
    """Nobody is in two places: whose appointments overlap are two people, or one of them is in error.

    Raises Conflict.
    """
    query = Query("Appointment", Test(ACTOR, "reference", Target(patient_id, _TYPE)), (Sort(TIME, "date"),), _MOST)
    zone, ends, before = repository.clinic.zone, 0, ""
    for stored in (await repository.unit.search(query)).matches:
        appointment = _body(stored)
        if own.has_tag(appointment, own.BOOKING, "override"):
            continue
        start, end = (interval(appointment[name], zone)[0] for name in ("start", "end"))
        await guard_days(repository, (LocalReference(_TYPE, patient_id),), start, end)
        if start < ends:
            raise Conflict(
                f"Appointment/{before} and Appointment/{stored.id} overlap, and one person is not in two places; "
                "cancel one, or mark it entered-in-error, first.",
                expression=at,
            )
        ends, before = end, stored.id


async def _link(
    repository: Repository, stored: Stored, other: str, type_: str, *, active: bool | None = None, rule: str
) -> Stored:
    patient = _body(stored)
    links = [e for e in patient.get("link", ()) if e.get("other", {}).get("reference") != f"{_TYPE}/{other}"]
    if type_:
        links.append({"other": {"reference": f"{_TYPE}/{other}"}, "type": type_})
        own.tag(patient, own.IDENTITY, "duplicate", on=False)
    patient["link"] = links
    if not links:
        del patient["link"]
    if active is not None:
        patient["active"] = active
    return await repository.put(stored, patient, rule=rule)


def _references(value: Any, repository: Repository, path: tuple[Any, ...] = ()) -> Iterator[tuple[list[Any], str]]:
    """The paths of all references to Patients in a resource, with the id that they lead to."""
    if isinstance(value, dict):
        for name, held in value.items():
            if name == "reference" and isinstance(held, str):
                target = local_reference(held, repository.clinic.base_url)
                if target is not None and target.type == _TYPE and target.version is None:
                    yield [*path, name], target.id
            else:
                yield from _references(held, repository, (*path, name))
    elif isinstance(value, list):
        for n, held in enumerate(value):
            yield from _references(held, repository, (*path, n))


def _body(stored: Stored) -> Resource:
    assert stored.body is not None
    resource: Resource = json.parse(stored.body)
    return resource
