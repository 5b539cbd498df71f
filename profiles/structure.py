"""The structural check of a resource: elements, types, formats, cardinality, choices, references, required codes.

It is what the definitions say of every resource, before profiles and invariants. A rule table for each type and
backbone element is compiled from the definitions when it is first needed.
Source: FHIR R4 json.html, datatypes.html, resource.html, references.html, terminologies.html#required.
"""

from typing import Any

from fhir_server.fhir.outcome import Issue
from profiles.definitions import Definitions
from profiles.references import Scope
from profiles.structure_rules import Rules
from profiles.structure_run import Run


class Structure:
    """The check for all types of the definitions; hold one, it keeps what it compiled."""

    def __init__(self, definitions: Definitions) -> None:
        self._rules = Rules(definitions)

    def check(self, resource: Any, *, expected_type: str | None = None) -> list[Issue]:
        """What is wrong with a resource as parsed JSON (`fhir_server.fhir.json`); empty when nothing is.

        `expected_type`: the type that the URL or the caller says it has.
        """
        type_ = resource.get("resourceType") if isinstance(resource, dict) else None
        name = type_ if isinstance(type_, str) and type_ in self._rules.resource_types else "Resource"
        run = Run(Scope(self._rules.resource_types, {}))
        if expected_type is not None and type_ != expected_type and name != "Resource":
            run.add("invalid", (None, name, None), f"A resource of type {expected_type} is expected here.")
        self._rules.check_resource(resource, (None, name, None), run)
        return run.issues

    def warm(self) -> None:
        """Compiles the rules of every type now rather than at first use."""
        for path in self._rules.paths():
            self._rules.of(path)
