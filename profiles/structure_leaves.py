"""The primitive elements of the structural check: their tests, and what is said when one fails."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiles.narrative import fault as narrative_fault
from profiles.primitives import PRIMITIVES, Test, has_json_type
from profiles.structure_run import Run, Where, kind

# What a rule is given: a property's value, the object that has it, that object's place, the run.
Rule = Callable[[Any, dict[str, Any], Where, Run], None]
Check = Callable[[dict[str, Any], Where, Run], None]

_MAX_LISTED = 12


@dataclass(frozen=True, slots=True)
class Leaf:
    """A primitive element: its name, type, test, and the codes of its required binding where those are known."""

    name: str
    type: str
    test: Test
    codes: frozenset[str] | None = None

    def explain(self, value: Any, where: Where, run: Run) -> None:
        """Says why `test` refused the value at `where`, the element's own place."""
        wanted = PRIMITIVES[self.type][1] if self.type in PRIMITIVES else "XHTML in a string"
        if not has_json_type(self.type, value):
            mend = " Leave the property out instead." if value is None else ""
            run.add("structure", where, f"{self.name} is {kind(value)}; it must be {wanted}.{mend}")
        elif self.type == "xhtml":
            code, text = narrative_fault(value) or ("structure", "")
            run.add(code, where, f"The narrative cannot be used: {text}.")
        elif self.codes is None or not PRIMITIVES[self.type][0](value):
            run.add("value", where, f"{self.name} is no valid {self.type}; it must be {wanted}.")
        else:
            run.add("code-invalid", where, f"{self.name} has a code outside its value set; {listed(self.codes)}.")


def leaf(name: str, type_: str, codes: frozenset[str] | None) -> Leaf:
    """The leaf of an element of a primitive type."""
    if type_ == "xhtml":
        return Leaf(name, type_, _is_narrative)
    if codes is None:
        return Leaf(name, type_, PRIMITIVES[type_][0])
    return Leaf(name, type_, lambda value: type(value) is str and value in codes, codes)


def listed(codes: frozenset[str]) -> str:
    """The permitted codes, when they are few enough to list."""
    if len(codes) > _MAX_LISTED:
        return "use one of the codes that the definition lists"
    return f"use one of {', '.join(sorted(codes))}"


def single_leaf(leaf: Leaf) -> Rule:
    """The rule for a primitive that occurs once, where a test alone will not do."""
    test, name, explain = leaf.test, leaf.name, leaf.explain

    def rule(value: Any, _: dict[str, Any], where: Where, run: Run) -> None:
        if not test(value):
            explain(value, (where, name, None), run)

    return rule


def repeating_leaf(leaf: Leaf) -> Rule:
    """The rule for an array of primitives; null stands where `_name` has an extension (json.html#primitive)."""
    test, name, beside = leaf.test, leaf.name, f"_{leaf.name}"

    def rule(value: Any, owner: dict[str, Any], where: Where, run: Run) -> None:
        if type(value) is not list or not value:
            not_filled_array(value, name, where, run)
            return
        for index, item in enumerate(value):
            if not test(item):
                if item is None and _has_item(owner.get(beside), index):
                    continue
                leaf.explain(item, (where, name, index), run)

    return rule


def beside_single(name: str, element: Check, value_property: str) -> Rule:
    """The rule for `_name` of a primitive that occurs once; `value_property` is where its value is."""

    def rule(value: Any, owner: dict[str, Any], where: Where, run: Run) -> None:
        place = (where, name, None)
        if type(value) is not dict:
            run.add("structure", place, f"_{name} is {kind(value)}; it must be an object with id or extension.")
        else:
            element(value, place, run)
            _refuse_empty(value, place, run, has_value=value_property in owner)

    return rule


def beside_repeating(name: str, element: Check, value_property: str) -> Rule:
    """The rule for `_name` of an array of primitives: as long as the array itself, null where there is nothing."""

    def rule(value: Any, owner: dict[str, Any], where: Where, run: Run) -> None:
        place = (where, name, None)
        values = owner.get(value_property)
        if type(value) is not list or not value:
            not_filled_array(value, f"_{name}", where, run)
        elif type(values) is list and len(values) != len(value):
            run.add("structure", place, f"{name} and _{name} must be arrays of one length; fill up with null.")
        elif all(item is None for item in value):
            run.add("structure", place, f"_{name} holds only null; leave it out.")
        else:
            beside = values if type(values) is list else [None] * len(value)
            for index, (item, own) in enumerate(zip(value, beside, strict=True)):
                _check_beside(item, (where, name, index), element, run, has_value=own is not None)

    return rule


def not_filled_array(value: Any, name: str, where: Where, run: Run) -> None:
    """Notes that a repeating element is no array, or an empty one."""
    text = f"{name} is an empty array; leave it out." if value == [] else f"{name} is {kind(value)}, not an array."
    mend = "" if value == [] else " It may repeat, so write it as an array."
    run.add("structure", (where, name.removeprefix("_"), None), text + mend)


def _check_beside(item: Any, place: Where, element: Check, run: Run, *, has_value: bool) -> None:
    name = place[1]
    if type(item) is dict:
        element(item, place, run)
        _refuse_empty(item, place, run, has_value=has_value)
    elif item is not None:
        run.add("structure", place, f"_{name} holds {kind(item)}; it must hold objects and null.")
    elif not has_value:
        run.add("structure", place, f"{name} and _{name} both hold nothing here; leave the entry out.")


def _refuse_empty(value: dict[str, Any], place: Where, run: Run, *, has_value: bool) -> None:
    """Refuses what has neither value nor extension (invariant ele-1)."""
    if not value or (not has_value and "extension" not in value):
        run.add("structure", place, f"_{place[1]} has nothing to say; leave it out.")


def _has_item(beside: Any, index: int) -> bool:
    return isinstance(beside, list) and index < len(beside) and beside[index] is not None


def _is_narrative(value: Any) -> bool:
    return type(value) is str and narrative_fault(value) is None
