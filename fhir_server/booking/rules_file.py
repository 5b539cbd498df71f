"""A file of a clinic's booking rules: checked by a JSON Schema, then put on its HealthcareServices (docs/booking.md).

The schema stands beside this module (`rules-file.schema.json`); a test holds it against `clinic_rules.PARTS`.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

from fhir_server.booking.clinic_rules import PARTS
from fhir_server.fhir import json as fhir_json
from fhir_server.fhir import own
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]

SCHEMA = Path(__file__).with_name("rules-file.schema.json")
_VALUES = {"boolean": "valueBoolean", "code": "valueCode", "whole": "valueInteger"}


@cache
def validator() -> "Draft202012Validator":
    """The validator of such files."""
    from jsonschema import Draft202012Validator  # which a server that starts has no use for

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(content: Any) -> list[str]:
    """What is wrong with the content of a file, each with its place, such as `services.flu-shot.risk: …`."""
    found = sorted(validator().iter_errors(content), key=lambda error: [str(step) for step in error.absolute_path])
    return [f"{'.'.join(map(str, error.absolute_path)) or 'the file'}: {error.message}" for error in found]


async def apply(repository: Repository, content: Mapping[str, Any]) -> tuple[int, int]:
    """Put sound content on the services that it names: how many were changed, how many had it already.

    Raises Unprocessable for a service that is not there.
    """
    changed = 0
    for id_, given in content["services"].items():
        stored = await repository.unit.read("HealthcareService", id_)
        if stored is None or stored.body is None:
            raise Unprocessable(f"There is no HealthcareService/{id_}.", expression=f"services.{id_}")
        before = fhir_json.parse(stored.body)
        after = with_rules(before, given)
        if after != before:
            await repository.update(stored, after)
            changed += 1
    return changed, len(content["services"]) - changed


def with_rules(service: Resource, given: Mapping[str, Any]) -> Resource:
    """A service whose rules, intake forms and preparation are those given, and no others."""
    named = (own.BOOKING_RULES, own.INTAKE, own.PREPARATION)
    kept = [each for each in service.get("extension", ()) if each.get("url") not in named]
    rules = [{"url": name, _VALUES[PARTS[name].kind]: given[name]} for name in PARTS if name in given]
    kept += [{"url": own.BOOKING_RULES, "extension": rules}] if rules else []
    forms = given.get("intake-questionnaires", ())
    kept += [{"url": own.INTAKE, "valueReference": {"reference": f"Questionnaire/{form}"}} for form in forms]
    if "preparation" in given:
        kept.append({"url": own.PREPARATION, "valueString": given["preparation"]})
    after = {name: value for name, value in service.items() if name != "extension"}
    return after | ({"extension": kept} if kept else {})
