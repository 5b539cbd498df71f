"""Content negotiation: what the caller sends and takes (FHIR R4 http.html#mime-type, RFC 9110 §12.5.1)."""

from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl

from fhir_server.fhir.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from fhir_server.interactions.patches import JSON_PATCH, MERGE_PATCH, XML_PATCH

JSON, XML = "application/fhir+json", "application/fhir+xml"
Format = Literal["json", "xml"]
_NAMES: Mapping[str, Format] = {
    **dict.fromkeys((JSON, "application/json", "text/json", "json"), "json"),
    **dict.fromkeys((XML, "application/xml", "text/xml", "xml"), "xml"),
    "*/*": "json",
    "application/*": "json",
}
# What R4 has for the outputs of asynchronous bulk requests alone (docs/decisions/0041-ndjson.md).
_NDJSON = frozenset({"application/fhir+ndjson", "application/ndjson", "application/x-ndjson", "ndjson"})
RESOURCES = frozenset({JSON, "application/json", XML, "application/xml", "text/xml"})
PATCHES = frozenset({JSON_PATCH, MERGE_PATCH, XML_PATCH})
_BODIES = {
    "resource": RESOURCES,
    "parameters": RESOURCES,
    "bundle": RESOURCES,
    "any": RESOURCES,
    "patch": frozenset({*PATCHES, JSON, XML}),
    "form": frozenset({"application/x-www-form-urlencoded"}),
}
_ONLY = f"This server answers in {JSON} and {XML}"
_NOT_HERE = " FHIR R4 has NDJSON for the outputs of asynchronous bulk requests only."
_NOT_IN = " NDJSON is taken by the command 'import'; over REST a batch or transaction Bundle takes many resources."
# Where the media type is the resource's own.
BINARY = "Binary"


def wanted(headers: Mapping[str, str], query: str) -> Format:
    """The format to answer in. `_format` goes before Accept. Raises NotAcceptable when there is none to take."""
    if "_format=" in query:
        given = [value for name, value in parse_qsl(query) if name == "_format"]
        if given:
            return _by_parameter(given[0])
    accept = headers.get("accept")
    if accept is None or accept in ("*/*", JSON):
        return "json"
    ranges = [[text.strip().lower() for text in part.split(";")] for part in accept.split(",")]
    refused = {
        _NAMES[name] for name, *parameters in ranges if name in _NAMES and "*" not in name and _is_refused(parameters)
    }
    best: tuple[float, Format] | None = None
    for name, *parameters in ranges:
        found, quality = _NAMES.get(name), _quality(parameters)
        if found in refused and "*" in name:
            found = "xml" if "xml" not in refused else None
        if found is not None and "/" in name and quality > 0 and (best is None or quality > best[0]):
            best = quality, found
    if best is None:
        offered = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
        raise NotAcceptable(f"{_ONLY}; send 'Accept: {JSON}'.{_NOT_HERE if offered & _NDJSON else ''}")
    return best[1]


def takes_raw(headers: Mapping[str, str], query: str, type_: str) -> bool:
    """Whether the caller asks for a Binary in its own media type, and not more for FHIR's (0023-binary.md).

    One that is FHIR's by name comes as the resource: its sender could else have anything taken for one.
    """
    name = type_.partition(";")[0].strip().lower()
    if name in _NAMES or "_format=" in query:
        return False
    taken: dict[str, float] = {}
    for part in headers.get("accept", "").split(","):
        range_, *parameters = (text.strip().lower() for text in part.split(";"))
        taken[range_] = _quality(parameters)
    main = name.partition("/")[0]
    quality = taken.get(name, taken.get(f"{main}/*", 0.0) if main != "application" else 0.0)
    return quality > 0 and quality >= max((taken[each] for each in taken if each in _NAMES), default=0.0)


def media_type(headers: Mapping[str, str]) -> str:
    """The body's media type, without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def body_format(headers: Mapping[str, str], body: str) -> Format:
    """The format of a body. Raises UnsupportedMediaType for another media type, charset or FHIR version."""
    name, *parameters = (text.strip() for text in headers.get("content-type", "").lower().split(";"))
    given = dict(part.partition("=")[::2] for part in parameters)
    charset, version = given.get("charset", "utf-8").strip('"'), given.get("fhirversion", "4.0").strip('"')
    if name not in _BODIES[body] or charset not in ("utf-8", "utf8") or version not in _VERSIONS:
        known = " or ".join(sorted(_BODIES[body]))
        told = f"The body must be {known}, in UTF-8; the Content-Type header says so."
        raise UnsupportedMediaType(told + (_NOT_IN if name in _NDJSON else ""))
    return _NAMES.get(name, "json")


def form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a POST search's body. Raises BadRequest."""
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1_000, errors="strict")
    except ValueError as error:
        raise BadRequest("The form is not UTF-8, or has more than 1,000 fields.") from error


_VERSIONS = ("4.0", "4.0.1")


def _by_parameter(text: str) -> Format:
    name, *parameters = (part.strip() for part in text.split(";"))
    name = name.replace(" ", "+").lower()
    found = _NAMES.get(name)
    if found is None or _quality(parameters) == 0:
        told = f"{_ONLY}; '_format' is another.{_NOT_HERE if name in _NDJSON else ''}"
        raise NotAcceptable(told, expression="_format")
    return found


def _is_refused(parameters: list[str]) -> bool:
    """Whether the quality is 0 for every version."""
    return _quality([each for each in parameters if not each.lower().startswith("fhirversion")]) == 0


def _quality(parameters: list[str]) -> float:
    """The quality of a choice; 0 where another FHIR version is asked for."""
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
        if name.lower() == "fhirversion" and value.strip('"') not in _VERSIONS:
            return 0.0
    return quality
