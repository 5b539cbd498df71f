"""FHIRPath Patch: a Parameters resource of operations on what FHIRPath expressions find (FHIR R4 fhirpatch.html).

What is found is changed in place, so that a value is never looked up in a copy.
"""

from dataclasses import dataclass
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Unprocessable
from fhir_server.interactions import fhirpath_paths as paths
from fhir_server.interactions.fhirpath_paths import Pair, Spot
from profiles.elements import Elements

_OPERATIONS = {
    "add": ("path", "name", "value"),
    "insert": ("path", "value", "index"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a part: `held` of a type as it ends names (`DateTime`), or the parts that it is built of.

    `beside` are a primitive's id and extensions.
    """

    type: str = ""
    held: Any = None
    beside: Any = None
    parts: tuple[tuple[str, "Value"], ...] = ()


def check(parameters: dict[str, Any]) -> None:
    """Refuse sound Parameters that are no FHIRPath Patch. Raises BadRequest that names the parameter."""
    for number, parameter in enumerate(parameters.get("parameter", [])):
        at = f"Parameters.parameter[{number}]"
        if parameter["name"] != "operation":
            raise BadRequest("Every parameter of a FHIRPath Patch is named 'operation'.", expression=at)
        parts = _parts(parameter)
        kind = parts.get("type", Value()).held
        if not isinstance(kind, str) or kind not in _OPERATIONS:
            raise BadRequest(f"The operation's type is one of {', '.join(_OPERATIONS)}.", expression=at)
        missing = [name for name in _OPERATIONS[kind] if name not in parts]
        if missing:
            raise BadRequest(f"The operation '{kind}' lacks '{missing[0]}'.", expression=at)


def apply(parameters: dict[str, Any], resource: dict[str, Any], elements: Elements) -> dict[str, Any]:
    """The resource after all operations, in order. Raises Unprocessable for one that does not fit it."""
    made: dict[str, Any] = json.copy(resource)
    for number, parameter in enumerate(parameters.get("parameter", [])):
        _Operation(_parts(parameter), made, elements, f"Parameters.parameter[{number}]").apply()
    return made


def _parts(parameter: dict[str, Any]) -> dict[str, Value]:
    return {part["name"]: _value(part) for part in parameter.get("part", ())}


def _value(part: dict[str, Any]) -> Value:
    """The value of a part; one without a type is built of its own parts (fhirpatch.html#add)."""
    name = next((name.removeprefix("_") for name in part if name.startswith(("value", "_value"))), "")
    if name:
        return Value(name.removeprefix("value"), part.get(name), part.get(f"_{name}"))
    if "resource" in part:
        return Value(held=part["resource"])
    return Value(parts=tuple((inner["name"], _value(inner)) for inner in part.get("part", ())))


class _Operation:
    def __init__(self, parts: dict[str, Value], resource: dict[str, Any], elements: Elements, at: str) -> None:
        self._parts, self._resource, self._elements, self._at = parts, resource, elements, at

    def apply(self) -> None:
        match self._parts["type"].held:
            case "add":
                spot = self._one()
                if not isinstance(spot.value, dict):
                    raise self._unfit("an element is added to an object")
                container = paths.below(self._elements, spot)
                self._add(spot.value, container, str(self._parts["name"].held), self._parts["value"])
            case "delete":
                for spot in self._find(at_most=1):
                    self._change(spot, None)
            case "replace":
                self._replace(self._one(), self._parts["value"])
            case "insert":
                owner, name, container = self._list()
                items = paths.items(owner, name)
                place = self._place("index", len(items))
                items.insert(place, self._made(self._parts["value"], container))
                paths.put_items(owner, name, items)
            case "move":
                owner, name, _ = self._list()
                items = paths.items(owner, name)
                source, target = (self._place(part, len(items) - 1) for part in ("source", "destination"))
                items.insert(target, items.pop(source))
                paths.put_items(owner, name, items)

    def _add(self, target: dict[str, Any], container: str, name: str, value: Value) -> None:
        each = paths.property_of(self._elements, container, name, value.type)
        if each is None:
            raise self._unfit(f"there is no element '{name[:64]}' of such a value there")
        made = self._made(value, each.container)
        if each.is_list:
            paths.put_items(target, each.name, [*paths.items(target, each.name), made])
            return
        known = paths.properties(self._elements, container)
        if any(paths.is_there(target, other) for other in (each.name, *(e.name for e in paths.choices(known, name)))):
            raise self._unfit(f"'{name[:64]}' is there already; replace it")
        paths.put(target, each.name, made)

    def _made(self, value: Value, container: str) -> Pair:
        """A value for an element, with objects built of parts."""
        if value.type or value.held is not None:
            return json.copy(value.held), json.copy(value.beside)
        made: dict[str, Any] = {}
        for name, inner in value.parts:
            self._add(made, container, name, inner)
        return made, None

    def _replace(self, spot: Spot, value: Value) -> None:
        """Put another value in the place of one; where types may be chosen, of another type too."""
        each = paths.property_of(self._elements, spot.container, spot.asked, value.type)
        made = self._made(value, each.container if each is not None else paths.below(self._elements, spot))
        if each is None or each.name == spot.name:
            self._change(spot, made)
        else:
            self._change(spot, None)
            paths.put(spot.owner, each.name, made)

    def _change(self, spot: Spot, made: Pair | None) -> None:
        """Have a spot be of a value, or be gone."""
        if not spot.name:
            raise self._unfit("the path is of the resource itself")
        if spot.place is None:
            paths.put(spot.owner, spot.name, made or (None, None))
            return
        items = paths.items(spot.owner, spot.name)
        items[spot.place : spot.place + 1] = [] if made is None else [made]
        paths.put_items(spot.owner, spot.name, items)

    def _list(self) -> tuple[dict[str, Any], str, str]:
        """The one array that a path finds: the object that has it, its name, and what defines its items."""
        spots = self._find()
        first = spots[0] if spots else None
        if first is None or first.place is None:
            raise self._unfit("the path finds no repeating element")
        if any(spot.owner is not first.owner for spot in spots):
            raise self._unfit("the path finds more than one list")
        each = paths.properties(self._elements, first.container)[first.name]
        return first.owner, first.name, each.container

    def _place(self, name: str, last: int) -> int:
        place = self._parts[name].held
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place <= last:
            raise self._unfit(f"'{name}' is a place from 0 to {last}")
        return place

    def _one(self) -> Spot:
        found = self._find(at_most=1)
        if not found:
            raise self._unfit("the path finds nothing")
        return found[0]

    def _find(self, at_most: int = 10_000) -> list[Spot]:
        try:
            spots = paths.find(str(self._parts["path"].held), self._resource, self._elements)
        except ValueError as error:
            raise self._unfit(str(error)) from error
        if len(spots) > at_most:
            raise self._unfit("the path finds more than one value")
        return spots

    def _unfit(self, why: str) -> Unprocessable:
        return Unprocessable(f"The operation does not fit: {why}.", expression=self._at)
