"""The kinds of patch, by media type: JSON Patch, Merge Patch, XML Patch, FHIRPath Patch (FHIR R4 http.html#patch)."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir import json, json_patch, merge_patch
from fhir_server.fhir.errors import BadRequest, Unprocessable, UnsupportedMediaType
from fhir_server.interactions import fhirpath_patch, xml_patch
from fhir_server.interactions.clinic import StructureCheck
from profiles.elements import Elements

JSON, XML = "application/fhir+json", "application/fhir+xml"
JSON_PATCH, MERGE_PATCH, XML_PATCH = (
    "application/json-patch+json",
    "application/merge-patch+json",
    xml_patch.MEDIA_TYPE,
)


def read(media_type: str, body: bytes) -> "Patch":
    """A patch of a media type that no resource has. Raises BadRequest."""
    return Patch(media_type, xml_patch.read(body) if media_type == XML_PATCH else json.parse(body))


def of_entry(resource: Any) -> "Patch":
    """The patch of a Bundle's entry: a JSON, Merge or XML Patch in a Binary, or Parameters. Raises FhirError."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Binary":
        return Patch(JSON, resource)
    name = str(resource.get("contentType", "")).partition(";")[0].strip()
    if name not in (JSON_PATCH, MERGE_PATCH, XML_PATCH):
        raise UnsupportedMediaType(
            f"A patch in a Binary is {JSON_PATCH}, {MERGE_PATCH} or {XML_PATCH}.", expression="contentType"
        )
    try:
        return read(name, base64.b64decode(str(resource.get("data", "")), validate=True))
    except binascii.Error as error:
        raise BadRequest("The patch's data is not base64.", expression="data") from error


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch as it was sent: its media type and its parsed body."""

    media_type: str
    body: Any

    def check(self, structure: StructureCheck) -> None:
        """Refuse what is no patch of its kind. Raises BadRequest, Unprocessable."""
        match self.media_type:
            case "application/json-patch+json":
                json_patch.check(self.body)
            case "application/merge-patch+json":
                merge_patch.check(self.body)
            case "application/xml-patch+xml":
                pass  # its reader has refused what is none
            case _:
                if not isinstance(self.body, dict) or self.body.get("resourceType") != "Parameters":
                    raise BadRequest("A FHIRPath Patch is a Parameters resource.", expression="resourceType")
                issues = structure.check(self.body, expected_type="Parameters")
                if issues:
                    raise Unprocessable(issues=issues)
                fhirpath_patch.check(self.body)

    def roots(self) -> Iterable[tuple[str | None, str]]:
        """The top-level elements that it touches (None: it cannot be told), each with where the patch says so."""
        match self.media_type:
            case "application/json-patch+json":
                for number, operation in enumerate(self.body):
                    for member in ("path", "from"):
                        if member in operation:
                            root = operation[member].partition("/")[2].partition("/")[0]
                            yield root, f"[{number}].{member}"
            case "application/merge-patch+json":
                for name in self.body:
                    yield name, name
            case "application/xml-patch+xml":
                yield from xml_patch.roots(self.body)
            case _:
                yield None, "Parameters.parameter"

    def apply(self, resource: dict[str, Any], elements: Elements) -> Any:
        """The resource as it is after the patch. Raises BadRequest, Unprocessable."""
        match self.media_type:
            case "application/json-patch+json":
                return json_patch.apply(self.body, resource)
            case "application/merge-patch+json":
                return merge_patch.apply(self.body, resource)
            case "application/xml-patch+xml":
                return xml_patch.apply(self.body, resource, elements)
        made = fhirpath_patch.apply(self.body, resource, elements)
        if json.depth_exceeds(made, json.MAX_DEPTH):
            raise Unprocessable(f"The patch nests deeper than {json.MAX_DEPTH} levels.")
        return made
