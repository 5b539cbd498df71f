"""The write rule of SearchParameter: a clinic's own search parameters, in use from the write on (docs/search.md).

What is in use is kept beside the resources, and read in every Unit that indexes, so that all processes index alike.
"""

from typing import TYPE_CHECKING, Any

from fhir_server.fhir.errors import Unprocessable
from fhir_server.search import custom
from fhir_server.store.protocol import Unit

if TYPE_CHECKING:
    from fhir_server.interactions.repository import Repository

TYPE = "SearchParameter"
_KIND, _NAME = "setting", "search-parameters"


async def kept(unit: Unit) -> bytes | None:
    """The clinic's own search parameters as they are kept."""
    return await unit.peek(_KIND, _NAME)


async def keep(unit: Unit, now: custom.Custom) -> None:
    """Keep what is in use from now on."""
    # guard: Units that index have read what is kept; on a store with snapshots one that began before this one may
    # index by the former parameters, which $reindex mends.
    await unit.keep(_KIND, _NAME, now.written())


async def rule(
    repository: "Repository", before: dict[str, Any] | None, after: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Puts an active parameter to use, and takes one that is not active or gone out of use. Raises Unprocessable."""
    id_ = str((after or before or {})["id"])
    known = custom.read(await kept(repository.unit) or b"")
    wanted = None
    if after is not None and after["status"] == "active" and after["url"] not in _standard(repository):
        others = known.changed(id_, None)
        wanted = custom.of_resource(after)
        registry = repository.clinic.server.registry.extended(others.parameters.values())
        issues = list(custom.faults(wanted, registry))
        if issues:
            raise Unprocessable(issues=issues)
        if len(others.parameters) >= custom.MOST:
            raise Unprocessable(f"A clinic has at most {custom.MOST} search parameters of its own.", code="too-costly")
    now = known.changed(id_, wanted)
    if now is not known:
        await keep(repository.unit, now)
        repository.clinic = repository.clinic.with_custom(now.written())
    return after


def _standard(repository: "Repository") -> frozenset[str]:
    return frozenset(repository.clinic.server.registry.urls())
