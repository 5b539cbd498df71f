"""The complex elements of the structural check: objects, arrays of them, choices, references, coded concepts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from profiles.primitives import Test
from profiles.references import fault as reference_fault
from profiles.structure_leaves import Check, Leaf, Rule, listed, not_filled_array
from profiles.structure_run import Run, Where, kind, shown


class Required(NamedTuple):
    """A mandatory element: its name, the property that it mostly has, and all that it may have."""

    element: str
    usual: str
    properties: tuple[str, ...]


def object_check(
    tests: Mapping[str, Test],
    leaves: Mapping[str, Leaf],
    rules: Mapping[str, Rule],
    required: tuple[Required, ...],
    *,
    may_be_bare: bool,
) -> Check:
    """The check of one object by its tables; the hot loop of the whole check.

    `may_be_bare`: it may hold nothing, or an id alone (a resource; an Element beside a primitive's value).
    """

    def check(value: dict[str, Any], where: Where, run: Run) -> None:
        for name, content in value.items():
            test = tests.get(name)
            if test is not None:
                if not test(content):
                    leaves[name].explain(content, (where, name, None), run)
                continue
            rule = rules.get(name)
            if rule is not None:
                rule(content, value, where, run)
            else:
                _unknown(name, where, run)
        for element, usual, properties in required:
            if usual not in value and not any(name in value for name in properties):
                run.add("required", (where, element, None), f"{element} is missing; it must be given.")
        if len(value) < 2 and not may_be_bare and (not value or "id" in value):
            run.add("structure", where, "The object is empty; leave it out.")

    return check


def single(name: str, check: Check) -> Rule:
    """The rule for an object that occurs once."""

    def rule(value: Any, _: dict[str, Any], where: Where, run: Run) -> None:
        place = (where, name, None)
        if type(value) is dict:
            check(value, place, run)
        elif type(value) is list:
            run.add("structure", place, f"{name} is an array; it may occur once only, so write an object.")
        else:
            run.add("structure", place, f"{name} is {kind(value)}; it must be an object.")

    return rule


def repeating(name: str, check: Check) -> Rule:
    """The rule for an array of objects."""

    def rule(value: Any, _: dict[str, Any], where: Where, run: Run) -> None:
        if type(value) is not list or not value:
            not_filled_array(value, name, where, run)
            return
        for index, item in enumerate(value):
            if type(item) is dict:
                check(item, (where, name, index), run)
            else:
                run.add("structure", (where, name, index), f"{name} holds {kind(item)}; it must hold objects.")

    return rule


def choice(rule: Rule, name: str, element: str, group: frozenset[str]) -> Rule:
    """The rule for one property of a choice of types, which excludes the others."""
    own = {name.removeprefix("_"), f"_{name.removeprefix('_')}"}
    others = group - own

    def checked(value: Any, owner: dict[str, Any], where: Where, run: Run) -> None:
        rule(value, owner, where, run)
        if len(owner) > 1 and not others.isdisjoint(owner) and name == min(group.intersection(owner)):
            run.add("structure", (where, element, None), f"{element} is given in more than one type; give one.")

    return checked


def reference(check: Check, targets: frozenset[str]) -> Check:
    """The check of a Reference, which may point at `targets` (none: at anything)."""

    def checked(value: dict[str, Any], where: Where, run: Run) -> None:
        check(value, where, run)
        text = value.get("reference")
        if type(text) is str and text and (fault := reference_fault(text, targets, run.scope)):
            run.add("value", (where, "reference", None), f"The reference cannot be used: {fault}.")

    return checked


def codeable(check: Check, codes: frozenset[tuple[str, str]]) -> Check:
    """The check of a CodeableConcept with a required binding: one coding of the value set, text alone will not do."""
    permitted = listed(frozenset(code for _, code in codes))

    def checked(value: dict[str, Any], where: Where, run: Run) -> None:
        check(value, where, run)
        codings = value.get("coding", [])
        if not isinstance(codings, list) or not ("coding" in value or "text" in value):
            return
        if not any(_pair(coding) in codes for coding in codings):
            run.add("code-invalid", where, f"No coding is of the required value set; {permitted}.")

    return checked


def _pair(coding: Any) -> tuple[str, str] | None:
    """(system, code) of a coding where it has both, as text."""
    if type(coding) is not dict:
        return None
    system, code = coding.get("system"), coding.get("code")
    return (system, code) if type(system) is str and type(code) is str else None


def _unknown(name: str, where: Where, run: Run) -> None:
    run.add("structure", where, f"There is no element {shown(name)} here; leave it out or mend its name.")
