"""Search constraints of scopes, `patient/Observation.rs?category=…`: checked when granted, and made into plans.

Source: SMART App Launch 2.2.0 scopes-and-launch-context#finer-grained-resource-constraints-using-search-parameters.
A constraint is ANDed into every grant of its scope, so it holds for reads and, on old and new content, for writes.
Modifiers, chains and `_has` are experimental there and refused here, and so is what leads to them (`_filter`, `_list`):
a write is decided by the resource alone. Whether the caller may look at what a constraint looks at is asked when grants
are made of it (`surfaces.access`).
"""

from collections.abc import Iterable

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.search.parse import Parser, SearchRequest
from fhir_server.search.plan import EVERYTHING, NOTHING, All, Any_, Chain, Has, Node, Not
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
        if set(name) & {":", "."} or name in ("_has", "_filter"):
            raise InvalidScope(
                f"The scope '{scope.text}' has a modifier, a filter or a chain; only plain parameters are granted."
            )
    try:
        request = parser.parse(scope.type, scope.query, now)
    except BadRequest as error:
        raise InvalidScope(f"The constraint of '{scope.text}' is refused: {error}") from error
    if request != SearchRequest(scope.type, request.where, applied=request.applied) or request.where == EVERYTHING:
        raise InvalidScope(f"The constraint of '{scope.text}' must be search parameters only.")
    if _follows(request.where):
        raise InvalidScope(f"The constraint of '{scope.text}' looks at other resources than {scope.type}.")
    return request.where


def _follows(node: Node) -> bool:
    """Whether a plan follows a reference."""
    match node:
        case Chain() | Has():
            return True
        case All(nodes) | Any_(nodes):
            return any(map(_follows, nodes))
        case Not(inner):
            return _follows(inner)
    return False
