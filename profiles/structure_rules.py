"""The rule tables of the structural check, compiled for each type and backbone element from its definition."""

from collections.abc import Iterator
from typing import Any

from profiles.definitions import Definitions, ElementDefinition, TypeRef
from profiles.primitives import PRIMITIVES, Test
from profiles.references import Scope
from profiles.structure_leaves import (
    Check,
    Leaf,
    Rule,
    beside_repeating,
    beside_single,
    leaf,
    repeating_leaf,
    single_leaf,
)
from profiles.structure_objects import Required, choice, codeable, object_check, reference, repeating, single
from profiles.structure_run import Run, Where, kind

_INLINE = frozenset({"BackboneElement", "Element"})


class _Table:
    """What one object may hold: tests for single primitives, rules for the rest, and what it must hold."""

    def __init__(self) -> None:
        self.tests: dict[str, Test] = {}
        self.leaves: dict[str, Leaf] = {}
        self.rules: dict[str, Rule] = {}
        self.required: list[Required] = []


class Rules:
    """Definition path (`HumanName`, `Appointment.participant`) -> check, each made when it is first needed."""

    def __init__(self, definitions: Definitions) -> None:
        self.resource_types = definitions.resource_types
        self._definitions = definitions
        self._checks: dict[str, Check] = {}
        self._bare = Scope(self.resource_types, {})

    def of(self, path: str) -> Check:
        """The check of the objects that the path defines."""
        check = self._checks.get(path)
        if check is None:
            check = self._checks[path] = self._compile(path)
        return check

    def paths(self) -> Iterator[str]:
        """Every path that defines objects."""
        for name, type_ in self._definitions.types.items():
            if not type_.is_abstract or name == "Element":
                yield name
                yield from (e.path for e in type_.elements if any(ref.code in _INLINE for ref in e.types))

    def check_resource(self, value: Any, where: Where, run: Run) -> None:
        """Checks a resource: at the root, contained, or in a Bundle or Parameters."""
        if type(value) is not dict:
            run.add("structure", where, f"A resource is expected here, not {kind(value)}.")
            return
        type_ = value.get("resourceType")
        if type_ is None:
            run.add("required", where, "The property resourceType is missing; it names the resource's type.")
        elif type(type_) is not str or type_ not in self.resource_types:
            run.add("structure", where, "The resourceType is not a resource type of FHIR R4.")
        else:
            scope = run.scope if run.scope.is_contained else self._scope(value, run.scope)
            self.of(type_)(value, where, run.within(scope))
            if "contained" in value:
                _refuse_twins(value["contained"], where, run)

    def _scope(self, resource: dict[str, Any], outer: Scope) -> Scope:
        transaction = outer.is_transaction or (
            resource["resourceType"] == "Bundle" and resource.get("type") == "transaction"
        )
        if "contained" not in resource:
            return Scope(self.resource_types, {}, is_transaction=True) if transaction else self._bare
        return Scope(self.resource_types, _ids(resource["contained"]), is_transaction=transaction)

    def _compile(self, path: str) -> Check:
        type_name = path.partition(".")[0]
        type_ = self._definitions.types[type_name]
        table = _Table()
        is_resource = path == type_name and type_.kind == "resource"
        if is_resource:
            table.tests["resourceType"] = lambda _: True
        for element in type_.children(path):
            self._add(element, table, is_resource=is_resource)
        bare = is_resource or path == "Element"
        return object_check(table.tests, table.leaves, table.rules, tuple(table.required), may_be_bare=bare)

    def _add(self, element: ElementDefinition, table: _Table, *, is_resource: bool) -> None:
        group = frozenset(name for p in element.properties for name in (p, f"_{p}")) if element.is_choice else None
        if element.min > 0:
            names = tuple(group or (element.name, f"_{element.name}"))
            table.required.append(Required(element.name, element.properties[0], names))
        for name, ref in zip(element.properties, element.types or [TypeRef("")], strict=True):
            rules: dict[str, Rule] = {}
            if ref.code not in PRIMITIVES and ref.code != "xhtml":
                rules[name] = self._complex(element, ref)
            else:
                made = leaf(element.name, ref.code, self._codes(element))
                if group is None and element.max == 1:
                    table.tests[name], table.leaves[name] = made.test, made
                else:
                    rules[name] = single_leaf(made) if element.max == 1 else repeating_leaf(made)
                if not _is_attribute(element, ref, is_resource=is_resource):
                    beside = beside_single if element.max == 1 else beside_repeating
                    rules[f"_{name}"] = beside(element.name, self._late("Element"), name)
            for key, rule in rules.items():
                table.rules[key] = choice(rule, key, element.name, group) if group else rule

    def _complex(self, element: ElementDefinition, ref: TypeRef) -> Rule:
        make = single if element.max == 1 else repeating
        if ref.code == "Resource":
            return make(element.name, self._contained if element.name == "contained" else self.check_resource)
        if element.content_reference is not None:
            path = element.content_reference
        else:
            path = element.path if ref.code in _INLINE else ref.code
        check = self._late(path)
        if ref.code == "Reference":
            check = reference(check, frozenset(ref.targets) - {"Resource"})
        elif ref.code == "CodeableConcept" and (codes := self._pairs(element)) is not None:
            check = codeable(check, codes)
        return make(element.name, check)

    def _late(self, path: str) -> Check:
        """A check that is compiled when it first meets a value; types refer to each other in circles."""
        checks, of = self._checks, self.of

        def check(value: dict[str, Any], where: Where, run: Run) -> None:
            (checks.get(path) or of(path))(value, where, run)

        return check

    def _contained(self, value: Any, where: Where, run: Run) -> None:
        if run.scope.is_contained:
            run.add("structure", where, "A contained resource may not contain resources; move it to the container.")
            return
        scope = Scope(self.resource_types, run.scope.contained, True, run.scope.is_transaction)
        self.check_resource(value, where, run.within(scope))

    def _pairs(self, element: ElementDefinition) -> frozenset[tuple[str, str]] | None:
        if element.binding is None or element.binding.strength != "required":
            return None
        return self._definitions.codes(element.binding.value_set)

    def _codes(self, element: ElementDefinition) -> frozenset[str] | None:
        pairs = self._pairs(element)
        return None if pairs is None else frozenset(code for _, code in pairs)


def _is_attribute(element: ElementDefinition, ref: TypeRef, *, is_resource: bool) -> bool:
    """Whether it is an attribute in XML or is XHTML, and so has no extensions (xml.html)."""
    if ref.code == "xhtml" or element.path == "Extension.url":
        return True
    return element.name == "id" and (is_resource or ref.code == "string")


def _ids(contained: Any) -> dict[str, str]:
    items = contained if isinstance(contained, list) else []
    found = [(item.get("id"), item.get("resourceType")) for item in items if isinstance(item, dict)]
    return {id_: type_ for id_, type_ in found if isinstance(id_, str) and isinstance(type_, str)}


def _refuse_twins(contained: Any, where: Where, run: Run) -> None:
    items = contained if isinstance(contained, list) else []
    ids = [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
    if len(ids) != len(set(ids)):
        run.add("value", (where, "contained", None), "Two contained resources have one id; give each its own.")
