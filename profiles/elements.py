"""What each JSON property of an object is: its type, and where the properties below it are defined.

A container is a type (`HumanName`) or the path of an inline element (`Patient.contact`).
Source: FHIR R4 json.html, xml.html, structuredefinition.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiles.definitions import Definitions, ElementDefinition, TypeRef

_INLINE = frozenset({"BackboneElement", "Element"})


@dataclass(frozen=True, slots=True)
class Property:
    """One property, in the published order. `type` is a FHIR type; `Resource` where any resource may stand."""

    name: str
    type: str
    container: str
    is_list: bool
    is_primitive: bool


class Elements:
    """Containers to their properties; each is made when it is first asked for. Hold one."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._made: dict[str, Mapping[str, Property]] = {}

    def of(self, container: str) -> Mapping[str, Property]:
        """Property name -> property, in order. Raises KeyError for what defines nothing."""
        made = self._made.get(container)
        if made is None:
            type_ = self._definitions.types[container.partition(".")[0]]
            found = (each for element in type_.children(container) for each in self._properties(element))
            made = self._made[container] = {each.name: each for each in found}
        return made

    def type_at(self, resource_type: str, path: tuple[str, ...]) -> str:
        """The type of the value at a path of property names below a resource; '' when there is none."""
        container, found = resource_type, ""
        for name in path:
            each = self.of(container).get(name.removeprefix("_"))
            if each is None:
                return ""
            container, found = each.container, each.type
        return found

    def _properties(self, element: ElementDefinition) -> list[Property]:
        many = element.max != 1
        if element.content_reference is not None:
            return [Property(element.name, "BackboneElement", element.content_reference, many, False)]
        pairs = zip(element.properties, element.types or (TypeRef("BackboneElement"),), strict=True)
        return [self._property(element, name, ref.code, many=many) for name, ref in pairs]

    def _property(self, element: ElementDefinition, name: str, type_: str, *, many: bool) -> Property:
        is_primitive = type_ in self._definitions.primitives
        container = element.path if type_ in _INLINE else "Element" if is_primitive else type_
        return Property(name, type_, container, many, is_primitive)


def resource_type_of(value: Any) -> str:
    """The type that a JSON value says it has; '' when it says none."""
    found = value.get("resourceType") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
