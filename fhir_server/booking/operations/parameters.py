"""What a Parameters resource gives an operation (FHIR R4 parameters.html, operations.html)."""

from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.call import Call

# Of each parameter: the property that carries it, and how often it may be given (None: any number of times).
Known = Mapping[str, tuple[str, int | None]]


def read(call: Call, known: Known) -> dict[str, list[Any]]:
    """The values of each parameter, in the order given. Raises BadRequest for what the operation does not know."""
    found: dict[str, list[Any]] = {name: [] for name in known}
    for n, part in enumerate((call.body or {}).get("parameter", ())):
        at, name = f"Parameters.parameter[{n}]", part.get("name", "")
        if name not in known:
            raise BadRequest(f"There is no parameter '{name[:64]}'; there are: {', '.join(known)}.", expression=at)
        kind, most = known[name]
        if kind not in part:
            raise BadRequest(f"The parameter '{name}' is given as {kind}.", expression=at)
        found[name].append(part[kind])
        if most is not None and len(found[name]) > most:
            raise BadRequest(f"The parameter '{name}' is given at most {most} times.", expression=at)
    return found


def one(found: Mapping[str, list[Any]], name: str) -> Any:
    """The value of a parameter that must be given. Raises BadRequest."""
    if not found[name]:
        raise BadRequest(f"The parameter '{name}' is needed.", expression="Parameters.parameter", code="required")
    return found[name][0]


def target(call: Call, reference: Mapping[str, Any], type_: str, name: str) -> LocalReference:
    """The local resource that a reference leads to. Raises BadRequest for one elsewhere, or of another type."""
    found = local_reference(str(reference.get("reference", "")), call.clinic.base_url)
    if found is None or found.type != type_:
        raise BadRequest(
            f"The parameter '{name}' is a reference to a {type_} of this server, such as {type_}/123.",
            expression="Parameters.parameter",
        )
    return found
