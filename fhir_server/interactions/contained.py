"""Resources contained in others, as they are indexed and found (FHIR R4 search.html#contained).

Each is indexed under a type of its own, `MedicationRequest#Medication`, so that no other search meets it, with a
reference to its container; it is there for a caller where the container is, with its element `contained`. Which such
types a clinic has ever had is kept, so that a search asks those only, and a write with nothing contained does nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from fhir_server.fhir import json
from fhir_server.interactions import visibility
from fhir_server.interactions.access import Access, Grant
from fhir_server.interactions.clinic import Clinic, Resource
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import Chain, Node, Query, Target, Test, all_of, any_of
from fhir_server.store.protocol import Contained, Page, Stored, Unit

# Under this kind a clinic keeps the names of such types.
KIND = "contained"
CONTAINER = "_container"
_MARK = "#"


def type_of(container: str, type_: str) -> str:
    """The name under which resources of a type in those of another are indexed."""
    return f"{container}{_MARK}{type_}"


def place(stored: Stored) -> tuple[str, str]:
    """The type and id of the container of what was found."""
    return stored.type.partition(_MARK)[0], stored.id.partition(_MARK)[0]


def names(stored: Stored | None) -> list[tuple[str, str]]:
    """The type and id of each of what a version contains; read only where there is something."""
    if stored is None or stored.body is None or b'"contained"' not in stored.body:
        return []
    return _names(json.parse(stored.body), stored.id)


def held(clinic: Clinic, resource: Resource, id_: str) -> list[Contained]:
    """What a resource contains, as it is indexed."""
    found = []
    inner = resource.get("contained", ())
    for (type_, name), each in zip(_names(resource, id_), inner, strict=True):
        entries = {shape: list(rows) for shape, rows in clinic.extractor.entries(each).items()}
        entries.setdefault("reference", []).append((CONTAINER, resource["resourceType"], id_))
        found.append(Contained(type_, name, json.serialise(each), entries))
    return found


async def index(unit: Unit, clinic: Clinic, stored: Stored, resource: Resource, before: Stored | None = None) -> None:
    """Have what a version contains found from now on, and what the one before contained no more."""
    now = held(clinic, resource, stored.id)
    there = {(each.type, each.id) for each in now}
    gone = [name for name in names(before) if name not in there]
    if not now and not gone:
        return
    for type_ in {each.type for each in now}:
        if await unit.peek(KIND, type_) is None:
            await unit.keep(KIND, type_, b"")
    await unit.contain(stored, now, gone)


async def containers(unit: Unit, type_: str) -> list[str]:
    """The types in which resources of a type have been contained."""
    pairs = [name.partition(_MARK) for name, _ in await unit.kept(KIND)]
    return [container for container, _, inner in pairs if inner == type_]


async def search(
    unit: Unit, access: Access, registry: Registry, query: Query, container: str, of: tuple[str, str] | None = None
) -> Page:
    """One page of what matches in resources of a type, and is there for this caller; `of` one of them."""
    where = bound(query, container, access, registry)
    if where is None:
        return Page((), None, 0)
    if of is not None:
        where = all_of(Test(CONTAINER, "reference", Target(of[1], of[0])), where)
    return await unit.search(replace(query, type=type_of(container, query.type), where=where))


def bound(query: Query, container: str, access: Access, registry: Registry) -> Node | None:
    """The plan with the rows joined in by which the container is there; None where nothing contained is shown.

    Raises Forbidden where a parameter, or a type on the way, is not the caller's to search.
    """
    inner = visibility.within(query.type, query.where, query.sort, access, registry)
    grants = [grant for grant in access.of(container, "s") if _shows_contained(grant)]
    if not grants:
        return None
    if any(visibility.is_everything(grant) for grant in grants):
        return inner
    return all_of(inner, Chain(CONTAINER, container, any_of(*(grant.rows for grant in grants))))


def _shows_contained(grant: Grant) -> bool:
    """Of a shared Appointment, what is contained may be another patient."""
    return not grant.but_others and (grant.elements is None or "contained" in grant.elements)


def _names(resource: Resource, id_: str) -> list[tuple[str, str]]:
    inner: Sequence[Resource] = resource.get("contained", ())
    return [
        (type_of(resource["resourceType"], each["resourceType"]), f"{id_}{_MARK}{n}") for n, each in enumerate(inner)
    ]
