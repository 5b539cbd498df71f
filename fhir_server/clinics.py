"""The clinics that this process serves: each is made from its kept settings when it is first asked for.

Kept values: `setting/clinic` (JSON: zone, cors_origins), `secret/pages` (the key of its page links),
`setting/app-origins` (JSON: the origins of its registered apps, which may call it from a browser too) and
`setting/search-parameters` (its own search parameters).
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.interactions import own_index, search_parameters
from fhir_server.interactions.clinic import Clinic, Server, search_tools
from fhir_server.store.protocol import Store, Unit

# After this long, a change of a clinic's settings by another process is seen.
SEEN_AFTER: Micros = 10_000_000


@dataclass(frozen=True, slots=True)
class ClinicSettings:
    """What an administrator chooses for one clinic: its IANA time zone, and who may call it from a browser."""

    zone: str = "UTC"
    cors_origins: tuple[str, ...] = ()


async def keep_settings(unit: Unit, settings: ClinicSettings) -> None:
    """Keep a clinic's settings. Raises BadRequest for an unknown time zone."""
    try:
        ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadRequest(f"'{settings.zone}' is no IANA time zone, such as Europe/Berlin.") from error
    await unit.keep("setting", "clinic", json.dumps(asdict(settings)).encode())


class Clinics:
    """Makes and remembers Clinics."""

    def __init__(self, server: Server, store: Store) -> None:
        self._server = server
        self._store = store
        self._known: dict[str, tuple[Micros, Clinic]] = {}

    async def get(self, tenant: str) -> Clinic:
        """The clinic. Raises NotFound when there is none of this name."""
        known = self._known.get(tenant)
        now = self._server.clock()
        if known is not None and now - known[0] < SEEN_AFTER:
            return known[1]
        kept = await self._store.run(tenant, _kept, write=False, quick=True)
        if kept[1] is None:
            kept = await self._store.run(tenant, partial(_begin, types=tuple(self._server.own_entries)), write=True)
        clinic = self._make(tenant, *kept)
        self._known[tenant] = (now, clinic)
        return clinic

    def forget(self, tenant: str) -> None:
        """Make the clinic anew when it is next asked for: what it is made of was changed."""
        self._known.pop(tenant, None)

    def served(self) -> list[Clinic]:
        """The clinics that were asked for in this process."""
        return [clinic for _, clinic in self._known.values()]

    def _make(
        self, tenant: str, stored: bytes | None, secret: bytes | None, apps: bytes | None, custom: bytes | None
    ) -> Clinic:
        assert secret is not None
        settings = ClinicSettings(**json.loads(stored)) if stored is not None else ClinicSettings()
        base_url = f"{self._server.settings.origin}/{tenant}/fhir"
        zone = ZoneInfo(settings.zone)
        kept = custom or b""
        registry, extractor, parser = search_tools(self._server, zone, base_url, kept)
        origins = frozenset((*settings.cors_origins, *(json.loads(apps) if apps is not None else ())))
        return Clinic(tenant, base_url, zone, secret, origins, extractor, parser, self._server, registry, kept)


_Kept = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


async def _kept(unit: Unit) -> _Kept:
    return (
        await unit.peek("setting", "clinic"),
        await unit.peek("secret", "pages"),
        await unit.peek("setting", "app-origins"),
        await search_parameters.kept(unit),
    )


async def _begin(unit: Unit, types: Sequence[str]) -> _Kept:
    """Give a new clinic its secret; nothing is stored in it yet."""
    if await unit.peek("secret", "pages") is None:
        await unit.keep("secret", "pages", secrets.token_bytes(32))
        await own_index.keep(unit, types)
    return await _kept(unit)
