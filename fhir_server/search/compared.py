"""A comparison of `_filter` to a plan node: what each operator means for each type of parameter.

Values are never case sensitive. `ne` holds where there is a value and it is another; of a parameter with several values
a plan cannot say that one differs, so it is refused. Source: FHIR R4 search_filter.html.
"""

from collections.abc import Mapping

from fhir_server.fhir.errors import BadRequest
from fhir_server.search import sought, terminology
from fhir_server.search.filters import Compared
from fhir_server.search.parameters import Parameter
from fhir_server.search.plan import Node, Not, Test, all_of, any_of
from fhir_server.search.sought import Read, Reading
from profiles.definitions import Definitions

_ORDERED = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_READ: Mapping[str, Mapping[str, Read]] = {
    "string": {"eq": sought.whole, "co": sought.contains, "sw": sought.starts},
    "token": {"eq": sought.token},
    "reference": {"eq": sought.reference, "re": sought.reference},
    "uri": {"eq": sought.uri},
    "date": {"po": sought.overlaps},
}
_PREFIXED: Mapping[str, Read] = {"date": sought.date, "number": sought.number, "quantity": sought.quantity}
_OF_CONCEPTS = ("in", "ni", "ss", "sb")


def node(
    definitions: Definitions, parameter: Parameter, name: str, compared: Compared, reading: Reading, most: int
) -> Node:
    """The node of a comparison; `most` codes may a value set or concept stand for. Raises BadRequest."""
    operator, value = compared.operator, compared.value
    if operator == "pr" and parameter.type not in ("composite", "special"):
        return _present(parameter, name, value)
    if not value:
        raise BadRequest(f"'{name}' compares '{parameter.code}' with nothing.", expression=name)
    if operator in _ORDERED and parameter.type in _PREFIXED:
        return _PREFIXED[parameter.type](parameter, name, operator + value, reading)
    read = _READ.get(parameter.type, {})
    escaped = value.replace("\\", "\\\\")
    if operator in read:
        return read[operator](parameter, name, escaped, reading)
    if operator == "ne" and parameter.single and "eq" in read:
        return all_of(_any_value(parameter), Not(read["eq"](parameter, name, escaped, reading)))
    if operator in _OF_CONCEPTS and parameter.type == "token":
        return _of_concepts(definitions, parameter, name, operator, escaped, most)
    raise BadRequest(
        f"'{name}' cannot have '{operator}' on '{parameter.code}', a {parameter.type}; it takes "
        f"{', '.join(_operators(parameter))}.",
        expression=name,
        code="not-supported",
    )


def _of_concepts(
    definitions: Definitions, parameter: Parameter, name: str, operator: str, value: str, most: int
) -> Node:
    if operator in ("in", "ni"):
        found = terminology.in_value_set(definitions, parameter, name, value, most)
        return Not(found) if operator == "ni" else found
    # ss: the value subsumes what is stored, which so is below it.
    return terminology.subsumed(definitions, parameter, name, value, most, above=operator == "sb")


def _present(parameter: Parameter, name: str, value: str) -> Node:
    if value not in ("true", "false"):
        raise BadRequest(f"'{name}': 'pr' takes true or false.", expression=name)
    there = sought.present(parameter)
    return there if value == "true" else Not(there)


def _any_value(parameter: Parameter) -> Node:
    return any_of(*(Test(parameter.code, shape, None, parameter.single) for shape in parameter.shapes))


def _operators(parameter: Parameter) -> list[str]:
    found = list(_READ.get(parameter.type, {}))
    if parameter.type in _PREFIXED:
        found += _ORDERED
    elif parameter.single and "eq" in found:
        found.append("ne")
    if parameter.type == "token":
        found += _OF_CONCEPTS
    return [*found, "pr"]
