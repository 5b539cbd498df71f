"""What the paths of a FHIRPath Patch find: elements with their names, so that they can be changed where they stand.

The paths are the simple ones that the specification asks of every server: elements, `[n]`, `where(x='y')`, `first()`,
`last()`, `ofType(T)`. A primitive is its value (`name`) and its id and extensions (`_name`), and changes as one.
Source: FHIR R4 fhirpatch.html, fhirpath.html, json.html#primitive.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from profiles.elements import Elements, Property, resource_type_of

# A value, and the id and extensions beside it where it is a primitive; None for what there is not.
Pair = tuple[Any, Any]
_STEP = re.compile(
    r"\[(?P<place>\d{1,6})\]|\.(?:"
    r"where\(\s*(?P<key>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*)\s*=\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<bare>[\w.\-]+))\s*\)"
    r"|(?P<end>first|last)\(\)|(?:ofType|as)\((?P<type>\w+)\)|(?P<name>[A-Za-z]\w*)(?!\())"
)


@dataclass(frozen=True, slots=True)
class Spot:
    """An element that a path found: the object that has it, its property there, and its place in an array, if any.

    `container` defines the properties of `owner`; `asked` is the path's name for it (`deceased`, which may be
    `deceasedBoolean`). The resource itself has the name ''.
    """

    owner: dict[str, Any]
    name: str
    place: int | None
    value: Any
    container: str
    asked: str


def find(path: str, resource: dict[str, Any], elements: Elements) -> list[Spot]:
    """The elements at a path, in order. Raises ValueError that says what is wrong with the path."""
    type_ = resource["resourceType"]
    if not re.match(rf"{type_}(?!\w)", path):
        raise ValueError("the path begins with the resource's type")
    spots, at = [Spot({"": resource}, "", None, resource, type_, "")], len(type_)
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError("the path is not one that this server takes")
        spots, at = _stepped(spots, step, elements), step.end()
    return spots


def property_of(elements: Elements, container: str, name: str, type_: str) -> Property | None:
    """The property that a FHIRPath name means for a value of a type as it ends names (`DateTime`); None for none."""
    known = properties(elements, container)
    return known.get(name) or next((each for each in choices(known, name) if each.name == name + type_), None)


def properties(elements: Elements, container: str) -> Mapping[str, Property]:
    """The properties of a container; none of one that nothing defines."""
    try:
        return elements.of(container)
    except KeyError:
        return {}


def choices(known: Mapping[str, Property], name: str) -> list[Property]:
    """The properties of the choice of types that FHIRPath calls by `name`."""
    return [each for each in known.values() if each.name == name + each.type[:1].upper() + each.type[1:]]


def below(elements: Elements, spot: Spot) -> str:
    """The container that defines the properties of the object at a spot."""
    if resource_type_of(spot.value):
        return resource_type_of(spot.value)
    each = properties(elements, spot.container).get(spot.name)
    return each.container if each is not None else ""


def items(owner: dict[str, Any], name: str) -> list[Pair]:
    """The items of an array; for primitives each with what stands beside it."""
    return list(zip_longest(owner.get(name, ()), owner.get(f"_{name}", ())))


def put_items(owner: dict[str, Any], name: str, pairs: Sequence[Pair]) -> None:
    """Have an array be of these items; without any it is gone."""
    for key, held in ((name, [value for value, _ in pairs]), (f"_{name}", [beside for _, beside in pairs])):
        _put(owner, key, held if any(each is not None for each in held) else None)


def put(owner: dict[str, Any], name: str, pair: Pair) -> None:
    """Have an element that is no array be this."""
    _put(owner, name, pair[0])
    _put(owner, f"_{name}", pair[1])


def is_there(owner: dict[str, Any], name: str) -> bool:
    """Whether an object has an element, be it only by its extensions."""
    return name in owner or f"_{name}" in owner


def _put(owner: dict[str, Any], key: str, held: Any) -> None:
    if held is None:
        owner.pop(key, None)
    else:
        owner[key] = held


def _stepped(spots: list[Spot], step: re.Match[str], elements: Elements) -> list[Spot]:
    if step["name"]:
        return [child for spot in spots for child in _children(spot, step["name"], elements)]
    if step["type"]:
        ending = step["type"][0].upper() + step["type"][1:]
        return [spot for spot in spots if spot.name == spot.asked + ending]
    if step["key"]:
        wanted = re.sub(r"\\(.)", r"\1", step["text"]) if step["text"] is not None else step["bare"]
        return [spot for spot in spots if wanted in _texts(spot, step["key"].split("."), elements)]
    place = {"first": 0, "last": len(spots) - 1}.get(step["end"] or "", int(step["place"] or 0))
    return spots[place : place + 1] if spots else []


def _children(spot: Spot, name: str, elements: Elements) -> list[Spot]:
    value = spot.value
    if not isinstance(value, dict):
        return []
    container = below(elements, spot)
    known = properties(elements, container)
    names = [name] if name in known else [each.name for each in choices(known, name)]
    for each in names:
        if not is_there(value, each):
            continue
        if known[each].is_list:
            pairs = enumerate(items(value, each))
            return [Spot(value, each, place, pair[0], container, name) for place, pair in pairs]
        return [Spot(value, each, None, value.get(each), container, name)]
    return []


def _texts(spot: Spot, names: list[str], elements: Elements) -> set[str]:
    spots = [spot]
    for name in names:
        spots = [child for each in spots for child in _children(each, name, elements)]
    return {("true" if s.value else "false") if isinstance(s.value, bool) else str(s.value) for s in spots}
