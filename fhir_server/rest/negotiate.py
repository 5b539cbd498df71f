"""Content negotiation: what the caller sends and takes (FHIR R4 http.html#mime-type, RFC 9110 §12.5.1)."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fhir_server.fhir.errors import BadRequest, NotAcceptable, UnsupportedMediaType

JSON = "application/fhir+json"
_JSON_NAMES = frozenset({JSON, "application/json", "text/json", "json"})
_RANGES = frozenset({"*/*", "application/*"})
_BODIES = {
    "resource": frozenset({JSON, "application/json"}),
    "parameters": frozenset({JSON, "application/json"}),
    "patch": frozenset({"application/json-patch+json"}),
    "form": frozenset({"application/x-www-form-urlencoded"}),
}


def check_accept(headers: Mapping[str, str], query: str) -> None:
    """Refuse a caller who takes nothing that there is. `_format` goes before Accept. Raises NotAcceptable."""
    if "_format=" in query:
        given = [value for name, value in parse_qsl(query) if name == "_format"]
        if given:
            _check_format(given[0])
            return
    accept = headers.get("accept")
    if accept is None or accept in ("*/*", JSON):
        return
    for part in accept.split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        if (name.lower() in _JSON_NAMES or name in _RANGES) and not _is_refused(parameters):
            return
    raise NotAcceptable(f"This server answers in {JSON}; send 'Accept: {JSON}'.")


def check_content_type(headers: Mapping[str, str], body: str) -> None:
    """Refuse a body of another media type. Raises UnsupportedMediaType."""
    given = headers.get("content-type", "")
    name, *parameters = (text.strip() for text in given.lower().split(";"))
    charset = next((p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")), "utf-8")
    if name not in _BODIES[body] or charset not in ("utf-8", "utf8"):
        known = " or ".join(sorted(_BODIES[body]))
        raise UnsupportedMediaType(f"The body must be {known}, in UTF-8; the Content-Type header says so.")


def form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a POST search's body. Raises BadRequest."""
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1_000)
    except ValueError as error:
        raise BadRequest("The form is not UTF-8, or has more than 1,000 fields.") from error


def _check_format(wanted: str) -> None:
    if wanted.split(";")[0].strip().replace(" ", "+").lower() not in _JSON_NAMES:
        raise NotAcceptable(f"This server answers in {JSON}; '_format' cannot be another.", expression="_format")


def _is_refused(parameters: list[str]) -> bool:
    """Whether the quality is 0, or another FHIR version is asked for."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q" and value.strip("0.") == "":
            return True
        if name.lower() == "fhirversion" and value not in ("4.0", "4.0.1"):
            return True
    return False
