"""Tokens sought by what is known of their codes: value sets, and the concepts above and below one.

Known are the value sets of R4's required bindings and the code systems that R4 publishes whole
(FHIR R4 search.html#token, codesystem.html#subsumption).
"""

from collections.abc import Iterable, Mapping, Sequence

from fhir_server.fhir.errors import BadRequest
from fhir_server.search.escapes import split, unescape
from fhir_server.search.parameters import Parameter
from fhir_server.search.plan import Node, Test, Token, any_of
from profiles.definitions import Definitions


def in_value_set(definitions: Definitions, parameter: Parameter, name: str, url: str, most: int) -> Node:
    """Any code of a value set that the definitions enumerate. Raises BadRequest."""
    try:
        codes = definitions.codes(url)
    except KeyError:
        codes = None
    if codes is None:
        raise BadRequest(
            f"The value set of '{name}' is not one that this server can enumerate.",
            expression=name,
            code="not-supported",
        )
    return _any(parameter, name, sorted(codes), most)


def subsumed(
    definitions: Definitions, parameter: Parameter, name: str, value: str, most: int, *, above: bool = False
) -> Node:
    """The concept `system|code` or one below it (`above`: above it) in its code system. Raises BadRequest."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 2 or not all(parts):
        raise BadRequest(f"'{name}' takes a concept as system|code.", expression=name)
    system, code = parts
    parents = definitions.parents(system)
    if parents is None:
        raise BadRequest(
            f"'{name}' asks of a code system whose concepts this server does not hold.",
            expression=name,
            code="not-supported",
        )
    if not above:
        children: dict[str, list[str]] = {}
        for child, over in parents.items():
            for each in over:
                children.setdefault(each, []).append(child)
        return _any(parameter, name, [(system, each) for each in _reached(code, children)], most)
    return _any(parameter, name, [(system, each) for each in _reached(code, parents)], most)


def _reached(code: str, links: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """The code and all that its links lead to, each once."""
    found, fresh = {code: None}, [code]
    while fresh:
        fresh = [each for one in fresh for each in links.get(one, ()) if each not in found]
        found |= dict.fromkeys(fresh)
    return sorted(found)


def _any(parameter: Parameter, name: str, codes: Iterable[tuple[str, str]], most: int) -> Node:
    tests = [Test(parameter.code, "token", Token(code, system), parameter.single) for system, code in codes]
    if len(tests) > most:
        raise BadRequest(f"'{name}' stands for more than {most} codes.", expression=name, code="too-costly")
    return any_of(*tests)
