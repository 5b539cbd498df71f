"""Whether all that a clinic stores has the index entries of the server's own rules, as this server makes them.

What an older server stored lacks entries that came later, until `$reindex`. Rules that look by them ask here first.
Kept value `own-entries/{type}`: the version of the entries that all resources of the type have.
"""

from collections.abc import Iterable

from fhir_server.store.protocol import Unit

_KIND = "own-entries"
# 2: who is near an appointment (docs/decisions/0105-near.md).
_VERSION = b"2"


async def is_whole(unit: Unit, type_: str) -> bool:
    """Whether every resource of a type has its entries."""
    return await unit.peek(_KIND, type_) == _VERSION


async def keep(unit: Unit, types: Iterable[str]) -> None:
    """Note that all resources of these types have them: there are none yet, or they were indexed anew."""
    for type_ in types:
        await unit.keep(_KIND, type_, _VERSION)
