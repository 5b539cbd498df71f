"""What the server holds of one tenant while it serves it: names, zone, secrets, and the tools bound to them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from fhir_server.fhir.clock import Clock, Ids
from fhir_server.fhir.outcome import Issue
from fhir_server.search import custom
from fhir_server.search.extract import Extractor, Walk
from fhir_server.search.parameters import Registry
from fhir_server.search.parse import Parser
from fhir_server.search.plan import Entries
from fhir_server.settings import Settings
from profiles.definitions import Definitions
from profiles.elements import Elements

if TYPE_CHECKING:
    from fhir_server.interactions.interaction import Interaction
    from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]
_MOST_REGISTRIES = 256
# A write rule sees the resource before (None: new) and after (None: deleted) and returns what to store; it may
# write other resources in the same Unit, and raises a FhirError to refuse.
Rule = Callable[["Repository", Resource | None, Resource | None], Awaitable[Resource | None]]
# A stamp sees a resource before (None: new) and as it is about to be stored, and sets the server's tags.
Stamp = Callable[["Repository", Resource | None, Resource], Awaitable[None]]


class StructureCheck(Protocol):
    """The validator of the shape of resources."""

    def check(self, resource: dict[str, Any], *, expected_type: str | None = None) -> list[Issue]:
        """What is wrong with a resource; nothing when it is sound."""


@dataclass(frozen=True)
class Server:
    """What all tenants share."""

    settings: Settings
    definitions: Definitions
    registry: Registry
    structure: StructureCheck
    clock: Clock
    ids: Ids
    table: "Sequence[Interaction]" = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)
    # Index entries that only the server's own rules search by, beside those of the search parameters.
    own_entries: Mapping[str, Callable[[Resource, tzinfo, str], Entries]] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    # `CapabilityStatement.rest.security` of a tenant.
    security: Callable[[str], Resource] = lambda _: {"cors": True}
    # CapabilityStatements as they are sent, with their ETags.
    statements: dict[tuple[str, bytes, bool], tuple[bytes, str]] = field(default_factory=dict, repr=False)
    # The registries of clinics with search parameters of their own, by the form in which these are kept.
    _registries: "dict[bytes, tuple[Registry, dict[str, Walk]]]" = field(default_factory=dict, repr=False)

    @cached_property
    def elements(self) -> Elements:
        """What each property of a resource is."""
        return Elements(self.definitions)

    def registry_with(self, kept: bytes) -> "tuple[Registry, dict[str, Walk]]":
        """The registry with a clinic's own search parameters, and the walks of its extractors."""
        found = self._registries.get(kept)
        if found is None:
            if len(self._registries) >= _MOST_REGISTRIES:
                self._registries.clear()
            registry = custom.registry_with(self.registry, kept) if kept else self.registry
            found = self._registries[kept] = (registry, {})
        return found


@dataclass(frozen=True, slots=True)
class Clinic:
    """One tenant. `secret` signs its page links; `cors_origins` may call it from a browser (`*`: any).

    `custom` are its own search parameters as they are kept; `registry` has them.
    """

    name: str
    base_url: str
    zone: tzinfo
    secret: bytes
    cors_origins: frozenset[str]
    extractor: Extractor
    parser: Parser
    server: Server
    registry: Registry
    custom: bytes = b""

    def with_custom(self, kept: bytes) -> "Clinic":
        """The clinic with other search parameters of its own."""
        registry, extractor, parser = search_tools(self.server, self.zone, self.base_url, kept)
        return replace(self, registry=registry, extractor=extractor, parser=parser, custom=kept)


def search_tools(server: Server, zone: tzinfo, base_url: str, kept: bytes) -> tuple[Registry, Extractor, Parser]:
    """What searches and indexes a clinic's resources, with its own search parameters as they are kept."""
    registry, walks = server.registry_with(kept)
    content = server.settings.content_search
    refers = server.settings.referential_integrity == "strict"
    extractor = Extractor(
        registry, zone=zone, base_url=base_url, texts=True, content=content, refers=refers, walks=walks
    )
    return registry, extractor, Parser(registry, zone, base_url, texts=True, content=content)
