"""Conditional references: `Location?identifier=system|value` in place of a type and id (FHIR R4 http.html#trules).

They stand for the one resource of the clinic that matches; bulk exports of some systems are full of them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.clinic import Clinic
from fhir_server.search.parse import pairs
from fhir_server.search.plan import Query
from fhir_server.store.protocol import Store, Unit

_SHAPE = re.compile(r"[A-Z][A-Za-z]+\?.+")


def found_in(value: Any) -> Iterator[str]:
    """The conditional references in a resource."""
    match value:
        case dict():
            for name, child in value.items():
                if name == "reference" and isinstance(child, str):
                    if _SHAPE.fullmatch(child):
                        yield child
                else:
                    yield from found_in(child)
        case list():
            for child in value:
                yield from found_in(child)


def replaced(value: Any, targets: Mapping[str, str]) -> Any:
    """A copy in which conditional references are what they stand for."""
    match value:
        case dict():
            return {
                name: targets.get(child, child)
                if name == "reference" and isinstance(child, str)
                else replaced(child, targets)
                for name, child in value.items()
            }
        case list():
            return [replaced(child, targets) for child in value]
        case _:
            return value


async def resolve(store: Store, clinic: Clinic, references: Iterable[str]) -> dict[str, str]:
    """Reference -> `Type/id`, for those that exactly one resource of the clinic matches."""
    queries = [(text, query) for text in references if (query := _query(clinic, text)) is not None]

    async def work(unit: Unit) -> dict[str, str]:
        targets = {}
        for text, query in queries:
            matches = (await unit.search(query)).matches
            if len(matches) == 1:
                targets[text] = f"{matches[0].type}/{matches[0].id}"
        return targets

    return await store.run(clinic.name, work, write=False) if queries else {}


def _query(clinic: Clinic, text: str) -> Query | None:
    type_, _, query = text.partition("?")
    try:
        request = clinic.parser.parse(type_, pairs(query), clinic.server.clock())
    except FhirError:
        return None
    return Query(type_, request.where, count=2)
