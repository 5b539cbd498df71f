"""What a grant lets through: rows by its plan, elements by its list, parameters by the elements that they look at."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.fhir.errors import Forbidden
from fhir_server.interactions import shared
from fhir_server.interactions.access import Access, Grant
from fhir_server.search.matches import matches
from fhir_server.search.parameters import Registry
from fhir_server.search.plan import (
    EVERYTHING,
    NOTHING,
    All,
    Any_,
    Chain,
    Entries,
    Has,
    Node,
    Not,
    Sort,
    Target,
    Test,
    all_of,
    any_of,
)
from profiles.definitions import Definitions

# Every resource shows these, whatever the list of elements says.
ALWAYS_SHOWN = frozenset({"resourceType", "id", "meta"})
_WHOLE_TEXT = frozenset({"_content", "_text"})
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def is_everything(grant: Grant) -> bool:
    """Whether the grant is for all rows."""
    return grant.rows is EVERYTHING or grant.rows == EVERYTHING


def is_narrowed(grant: Grant) -> bool:
    """Whether the grant is for some rows or elements only."""
    return grant.elements is not None or not is_everything(grant)


def allows(grant: Grant, entries: Entries) -> bool:
    """Whether a resource with these entries is among the grant's rows."""
    return is_everything(grant) or matches(grant.rows, entries)


def shown_by(grants: Iterable[Grant]) -> frozenset[str] | None:
    """The elements that the grants show together; None: all."""
    shown: frozenset[str] = frozenset()
    for grant in grants:
        if grant.elements is None:
            return None
        shown |= grant.elements
    return shown


def narrow(resource: dict[str, Any], shown: frozenset[str]) -> dict[str, Any]:
    """A copy with the shown elements only, marked as a subset (FHIR R4 search.html#elements)."""
    names = shown | ALWAYS_SHOWN
    kept = {name: value for name, value in resource.items() if name.removeprefix("_") in names}
    meta = dict(kept.get("meta", {}))
    meta["tag"] = [tag for tag in meta.get("tag", []) if tag.get("code") != "SUBSETTED"] + [SUBSETTED]
    kept["meta"] = meta
    return kept


def bound(type_: str, where: Node, sorts: Iterable[Sort], access: Access, letter: str, registry: Registry) -> Node:
    """The plan with the rows of the grants joined in, at every hop of a chain or `_has`.

    Raises Forbidden where a type on the way, or an element that a parameter looks at, is not the caller's to see: to
    search or sort by it would tell.
    """
    inner = within(type_, where, sorts, access, registry, letter)
    return all_of(any_of(*(grant.rows for grant in access.of(type_, letter))), inner)


def within(
    type_: str, where: Node, sorts: Iterable[Sort], access: Access, registry: Registry, letter: str = "s"
) -> Node:
    """The same without the rows of the type itself: for what is there by another's grants."""
    grants = access.of(type_, letter)
    if not grants:
        raise Forbidden(f"Nothing grants this caller '{letter}' on {type_}.")
    for sort in sorts:
        _check_parameter(grants, type_, sort.param, registry)
        if any(grant.but_others for grant in grants) and _looks_at_others(type_, sort.param, registry):
            raise Forbidden(f"This caller may not sort {type_} by '{sort.param}'.", expression=sort.param)
    return _bound_inside(type_, where, grants, access, registry)


def _bound_inside(type_: str, node: Node, grants: Sequence[Grant], access: Access, registry: Registry) -> Node:
    match node:
        case All(nodes):
            return All(tuple(_bound_inside(type_, n, grants, access, registry) for n in nodes))
        case Any_(nodes):
            return Any_(tuple(_bound_inside(type_, n, grants, access, registry) for n in nodes))
        case Not(inner):
            return Not(_bound_inside(type_, inner, grants, access, registry))
        case Test(param):
            _check_parameter(grants, type_, param, registry)
            return _but_others(type_, node, grants, registry)
        case Chain(param, target, inner):
            _check_parameter(grants, type_, param, registry)
            return Chain(param, target, bound(target, inner, (), access, "s", registry))
        case Has(source, param, inner):
            _check_parameter(access.of(source, "s"), source, param, registry)
            return Has(source, param, bound(source, inner, (), access, "s", registry))


def _but_others(type_: str, test: Test, grants: Sequence[Grant], registry: Registry) -> Node:
    """The test, blind for what is left out of a shared resource; by other patients nothing is found."""
    own = {grant.but_others for grant in grants}
    if "" in own or not _looks_at_others(type_, test.param, registry):
        return test
    match test.sought:
        case Target(id_, kind) if test.param in shared.SHARED[type_].by_person:
            if id_ in own and kind in ("Patient", None):
                return replace(test, sought=Target(id_, "Patient"))
            return NOTHING if not kind or kind in shared.PEOPLE else test
        case None if (type_, test.param) == ("Appointment", "actor"):  # the caller's patient is one
            return test
    raise Forbidden(f"This caller may not search by '{test.param}'.", expression=test.param)


def _looks_at_others(type_: str, code: str, registry: Registry) -> bool:
    """Whether a parameter looks at what other patients are left out of, and may find them."""
    code, who = code.partition("$")[0].partition(":")[0], shared.SHARED[type_]
    return code in _WHOLE_TEXT or (
        code not in who.by_staff and not who.telling.isdisjoint(_roots(type_, code, registry))
    )


def _check_parameter(grants: Sequence[Grant], type_: str, code: str, registry: Registry) -> None:
    if any(grant.elements is None for grant in grants):
        return
    shown = ALWAYS_SHOWN.union(*(grant.elements or () for grant in grants))
    roots = _roots(type_, code.partition("$")[0].partition(":")[0], registry)
    if not roots or not all(_is_shown(root, shown) for root in roots):
        raise Forbidden(f"This caller may not search {type_} by '{code}'.", expression=code)


def _roots(type_: str, code: str, registry: Registry) -> list[str]:
    """The properties of the resource at which a parameter looks."""
    parameter = registry.parameter(type_, code)
    return [str(path.steps[0]) for path in parameter.paths if path.steps] if parameter is not None else []


def _is_shown(root: str, shown: frozenset[str]) -> bool:
    """Whether a property is an element on the list; the forms of a choice (`onsetAge`) stand under its name."""
    return root in shown or any(root.startswith(name) and root[len(name) : len(name) + 1].isupper() for name in shown)


def patients_of(type_: str, id_: str, entries: Entries, definitions: Definitions) -> tuple[str, ...]:
    """The ids of the patients in whose compartments a resource is (FHIR R4 compartmentdefinition-patient.html)."""
    if type_ == "Patient":
        return (id_,)
    codes = definitions.compartments["Patient"].get(type_, ())
    found = {entry[2]: None for entry in entries.get("reference", ()) if entry[0] in codes and entry[1] == "Patient"}
    return tuple(found)
