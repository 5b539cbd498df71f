"""FHIRPath Patch: a Parameters resource of operations on what FHIRPath expressions find (FHIR R4 fhirpatch.html).

The paths are simple ones, as the specification asks of every server: elements, `[n]`, `where(x='y')`, `first()`,
`last()`. What is found is changed in place, so that a value is never looked up in a copy.
"""

import re
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.errors import BadRequest, Unprocessable
from profiles.elements import Elements

_OPERATIONS = {
    "add": ("path", "name", "value"),
    "insert": ("path", "value", "index"),
    "delete": ("path",),
    "replace": ("path", "value"),
    "move": ("path", "source", "destination"),
}
_STEP = re.compile(
    r"\.?(?:(?P<where>where)\(\s*(?P<key>[A-Za-z][\w.]*)\s*=\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<bare>[\w.\-]+))\s*\)"
    r"|(?P<end>first|last)\(\)|(?P<of>ofType|as)\((?P<type>\w+)\)|\[(?P<place>\d{1,6})\]|(?P<name>[A-Za-z]\w*))"
)


@dataclass(frozen=True, slots=True)
class Spot:
    """A value that a path found: what holds it, and its name or place there. `owner`, `name`: its array, if any."""

    holder: Any
    key: Any
    owner: dict[str, Any]
    name: str

    @property
    def value(self) -> Any:
        """The value itself."""
        return self.holder[self.key]


def check(parameters: dict[str, Any]) -> None:
    """Refuse what is no FHIRPath Patch. Raises BadRequest that names the parameter."""
    for number, parameter in enumerate(parameters.get("parameter", [])):
        at = f"Parameters.parameter[{number}]"
        if not isinstance(parameter, dict) or parameter.get("name") != "operation":
            raise BadRequest("Every parameter of a FHIRPath Patch is named 'operation'.", expression=at)
        parts = _parts(parameter)
        kind = parts.get("type")
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


def _parts(parameter: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parameter.get("part", ()):
        if isinstance(part, dict) and isinstance(part.get("name"), str):
            found[part["name"]] = _value(part)
    return found


def _value(part: dict[str, Any]) -> Any:
    """The value of a part; one without a type is built of its own parts (fhirpatch.html#add)."""
    for name, held in part.items():
        if name.startswith("value"):
            return held
    if "resource" in part:
        return part["resource"]
    made: dict[str, Any] = {}
    for inner in part.get("part", ()):
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            name, value = inner["name"], _value(inner)
            if name in made:
                made[name] = [*made[name], value] if isinstance(made[name], list) else [made[name], value]
            else:
                made[name] = value
    return made


class _Operation:
    def __init__(self, parts: dict[str, Any], resource: dict[str, Any], elements: Elements, at: str) -> None:
        self._parts, self._resource, self._elements, self._at = parts, resource, elements, at

    def apply(self) -> None:
        match self._parts["type"]:
            case "add":
                self._add()
            case "delete":
                for spot in self._find(self._parts["path"], at_most=1):
                    self._remove(spot)
            case "replace":
                spot = self._one(self._parts["path"])
                spot.holder[spot.key] = json.copy(self._parts["value"])
            case "insert":
                items = self._items(self._parts["path"])
                items.insert(self._place("index", len(items)), json.copy(self._parts["value"]))
            case "move":
                items = self._items(self._parts["path"])
                source = self._place("source", len(items) - 1)
                target = self._place("destination", len(items) - 1)
                items.insert(target, items.pop(source))

    def _add(self) -> None:
        path, name = self._parts["path"], str(self._parts["name"])
        target = self._resource if path == self._resource["resourceType"] else self._one(path).value
        if not isinstance(target, dict):
            raise self._unfit("an element is added to an object")
        each = self._elements.of(self._container(path)).get(name)
        if each is None:
            raise self._unfit(f"there is no element '{name[:64]}' there")
        value = json.copy(self._parts["value"])
        if each.is_list:
            target.setdefault(name, []).append(self._shaped(value, each.container))
        elif name in target:
            raise self._unfit(f"'{name[:64]}' is there already; replace it")
        else:
            target[name] = self._shaped(value, each.container)

    def _shaped(self, value: Any, container: str) -> Any:
        """An object built of parts, its repeating elements as arrays."""
        if not isinstance(value, dict) or "resourceType" in value:
            return value
        made = {}
        for name, held in value.items():
            each = self._elements.of(container).get(name)
            inner = [held] if each is not None and each.is_list and not isinstance(held, list) else held
            if each is not None and not each.is_primitive:
                below = each.container
                inner = (
                    [self._shaped(i, below) for i in inner] if isinstance(inner, list) else self._shaped(inner, below)
                )
            made[name] = inner
        return made

    def _container(self, path: str) -> str:
        names = tuple(m["name"] for m in _STEP.finditer(path) if m["name"])
        container = names[0]
        for name in names[1:]:
            known = self._elements.of(container)
            each = known.get(name) or next((e for key, e in known.items() if key.startswith(name)), None)
            if each is None:
                raise self._unfit(f"there is no element '{name[:64]}'")
            container = each.container
        return container

    def _remove(self, spot: Spot) -> None:
        del spot.holder[spot.key]
        if isinstance(spot.holder, list) and not spot.holder:
            del spot.owner[spot.name]

    def _items(self, path: str) -> list[Any]:
        spots = self._find(path)
        if not spots or not all(isinstance(spot.holder, list) for spot in spots):
            raise self._unfit("the path finds no repeating element")
        items: list[Any] = spots[0].holder
        return items

    def _place(self, name: str, last: int) -> int:
        place = self._parts[name]
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place <= last:
            raise self._unfit(f"'{name}' is a place from 0 to {last}")
        return place

    def _one(self, path: str) -> Spot:
        found = self._find(path, at_most=1)
        if not found:
            raise self._unfit("the path finds nothing")
        return found[0]

    def _find(self, path: Any, at_most: int = 10_000) -> list[Spot]:
        text = str(path)
        first = _STEP.match(text)
        if first is None or first["name"] != self._resource["resourceType"]:
            raise self._unfit("the path begins with the resource's type")
        root = {"": self._resource}
        spots, place = [Spot(root, "", root, "")], first.end()
        while place < len(text):
            step = _STEP.match(text, place)
            if step is None:
                raise self._unfit("the path is not one that this server takes")
            spots, place = _stepped(spots, step), step.end()
        if len(spots) > at_most:
            raise self._unfit("the path finds more than one value")
        return spots

    def _unfit(self, why: str) -> Unprocessable:
        return Unprocessable(f"The operation does not fit: {why}.", expression=self._at)


def _stepped(spots: list[Spot], step: re.Match[str]) -> list[Spot]:
    if step["name"]:
        return [spot for each in spots for spot in _children(each.value, step["name"])]
    if step["of"]:
        return [spot for spot in spots if spot.name.endswith(step["type"][0].upper() + step["type"][1:])]
    if step["where"]:
        wanted = re.sub(r"\\(.)", r"\1", step["text"]) if step["text"] is not None else step["bare"]
        return [spot for spot in spots if wanted in _texts(spot.value, step["key"].split("."))]
    place = {"first": 0, "last": len(spots) - 1}.get(step["end"] or "", int(step["place"] or 0))
    return spots[place : place + 1] if spots else []


def _children(value: Any, name: str) -> list[Spot]:
    if not isinstance(value, dict):
        return []
    # `value` names a choice whatever its type.
    names = [name] if name in value else [key for key in value if key.startswith(name) and key[len(name)].isupper()]
    spots: list[Spot] = []
    for each in names[:1]:
        held = value[each]
        if isinstance(held, list):
            spots += [Spot(held, n, value, each) for n in range(len(held))]
        else:
            spots.append(Spot(value, each, value, each))
    return spots


def _texts(value: Any, names: list[str]) -> set[str]:
    values = [value]
    for name in names:
        values = [spot.value for each in values for spot in _children(each, name)]
    return {("true" if v else "false") if isinstance(v, bool) else str(v) for v in values}
