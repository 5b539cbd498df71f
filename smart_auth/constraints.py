"""Search constraints of scopes, `patient/Observation.rs?category=…`: checked when granted, and made into plans.

Source: SMART App Launch 2.2.0 scopes-and-launch-context#finer-grained-resource-constraints-using-search-parameters.
A constraint is ANDed into every grant of its scope, so it holds for reads and, on old and new content, for writes.
Modifiers, chains and `_has` are experimental there and refused here: a write is decided by the resource alone.
"""

from collections.abc import Iterable

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.search.parse import Parser
from fhir_server.search.plan import EVERYTHING, NOTHING, Node
from smart_auth.errors import InvalidScope
from smart_auth.scopes import AnyScope, Scope
from smart_auth.services import Services


async def check(services: Services, tenant: str, requested: Iterable[AnyScope]) -> None:
    """Raises InvalidScope for a constraint that cannot be enforced."""
    constrained = [scope for scope in requested if isinstance(scope, Scope) and scope.query]
    if not constrained:
        return
    if services.fhir is None:
        raise InvalidScope("This server grants no scopes with a search constraint.")
    parser = (await services.fhir.clinic(tenant)).parser
    for scope in constrained:
        parse(parser, scope, services.clock())


def plan(parser: Parser | None, scope: Scope, now: Micros) -> Node:
    """What a scope's constraint lets through; nothing, when it cannot be enforced."""
    if not scope.query:
        return EVERYTHING
    if parser is None:
        return NOTHING
    try:
        return parse(parser, scope, now)
    except InvalidScope:  # the search parameter was withdrawn since
        return NOTHING


def parse(parser: Parser, scope: Scope, now: Micros) -> Node:
    """The plan of a scope's constraint. Raises InvalidScope."""
    if scope.type == "*":
        raise InvalidScope(f"The scope '{scope.text}' constrains no one type; name the type.")
    for name, _ in scope.query:
        if set(name) & {":", "."} or name.startswith("_has"):
            raise InvalidScope(
                f"The scope '{scope.text}' has a modifier or a chain; only plain parameters are granted."
            )
    try:
        request = parser.parse(scope.type, scope.query, now)
    except BadRequest as error:
        raise InvalidScope(f"The constraint of '{scope.text}' is refused: {error}") from error
    is_bare = not (request.sort or request.includes or request.revincludes or request.elements or request.summary)
    if not is_bare or request.count is not None or request.total is not None or request.where == EVERYTHING:
        raise InvalidScope(f"The constraint of '{scope.text}' must be search parameters only.")
    return request.where
