"""_include and _revinclude: resources that matches point at, or that point at matches (FHIR R4 search.html#include).

What the caller may not see is left out, and nothing tells that it was.
"""

from collections.abc import Iterable, Sequence

from fhir_server.fhir import json
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.search.extract import REFERS
from fhir_server.search.parse import Include, SearchRequest
from fhir_server.search.plan import Query, Target, Test, any_of
from fhir_server.store.protocol import Stored

MOST = 2_000
ROUNDS = 8
# References sought in one search.
TOGETHER = 200

_Found = dict[tuple[str, str], Stored]


async def included(repository: Repository, request: SearchRequest, matches: Sequence[Stored]) -> list[Stored]:
    """What comes along with the matches, each once, and nothing that is a match itself."""
    if not request.includes and not request.revincludes:
        return []
    matched = {(stored.type, stored.id) for stored in matches}
    found: _Found = {}
    fresh: list[Stored] = list(matches)
    for round_ in range(ROUNDS):
        step: _Found = {}
        for wanted in request.includes:
            if round_ == 0 or wanted.iterate:
                await _follow(repository, wanted, fresh, step)
        for wanted in request.revincludes:
            if round_ == 0 or wanted.iterate:
                await _referrers(repository, wanted, fresh, step)
        fresh = [stored for name, stored in step.items() if name not in matched and name not in found]
        found |= {(stored.type, stored.id): stored for stored in fresh}
        if len(found) > MOST:
            raise Unprocessable(f"The includes lead to more than {MOST} resources; ask for fewer.", code="too-costly")
        if not fresh:
            break
    return list(found.values())


async def _follow(repository: Repository, wanted: Include, sources: Iterable[Stored], found: _Found) -> None:
    """Adds what the sources point at."""
    for stored in sources:
        if wanted.source not in ("*", stored.type) or stored.body is None:
            continue
        # Through what the caller sees of the source, so that a hidden reference is not followed.
        shown = json.parse(repository.shown(stored, "s"))
        for param, type_, id_ in repository.clinic.extractor.entries(shown).get("reference", ()):
            if param == REFERS or wanted.param not in ("*", param) or not type_ or wanted.target not in (None, type_):
                continue
            if (type_, id_) not in found:
                target = await repository.peek(type_, id_)
                if target is not None:
                    found[(type_, id_)] = target


async def _referrers(repository: Repository, wanted: Include, targets: Sequence[Stored], found: _Found) -> None:
    """Adds what points at the targets."""
    sources = [wanted.source] if wanted.source != "*" else sorted(repository.access.grants)
    for source in sources:
        parameters = repository.clinic.registry.parameters(source)
        codes = [wanted.param] if wanted.param != "*" else [c for c, p in parameters.items() if "reference" in p.shapes]
        tests = [
            Test(code, "reference", Target(target.id, target.type))
            for code in codes
            for target in targets
            if wanted.target in (None, target.type)
        ]
        if not tests or not repository.access.of(source, "s"):
            continue
        for begin in range(0, len(tests), TOGETHER):
            where = any_of(*tests[begin : begin + TOGETHER])
            page = await repository.search(Query(source, where, count=MOST + 1))
            found |= {(stored.type, stored.id): stored for stored in page.matches}
