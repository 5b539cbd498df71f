"""A clinic to import into, and how what it holds is read back: as JSON text, without this server's own code."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_server.app import Parts, make_parts
from fhir_server.audit.command import Command
from fhir_server.audit.event import Event, from_entry
from fhir_server.settings import Settings
from fhir_server.store.protocol import AuditQuery, Stored, Unit
from seed import load
from seed.load import Watch
from seed.write import Outcome, Refused, Writer

TENANT = "northside"


@dataclass
class Importing:
    """A clinic, and what was reported of the imports into it."""

    parts: Parts
    folder: Path
    reported: list[Refused] = field(default_factory=list)

    async def files(self, *files: Path, unpack: bool = False) -> Outcome:
        clinic = await self.parts.clinics.get(TENANT)
        writer = Writer(self.parts.store, clinic, Command("import", "olivia", "run-1"), load.RULE)
        return await load.load(writer, files, unpack=unpack, watch=Watch(refused=self.reported.append))

    async def text(self, name: str, *resources: Any, unpack: bool = False) -> Outcome:
        """Import a file of this name: NDJSON of the resources, or the one of them."""
        path = self.folder / name
        path.write_text("\n".join(json.dumps(resource) for resource in resources))
        return await self.files(path, unpack=unpack)

    async def read(self, type_: str, id_: str, version: int = 0) -> Any:
        """What is stored, parsed; None when there is nothing."""

        async def work(unit: Unit) -> Stored | None:
            return await (unit.vread(type_, id_, version) if version else unit.read(type_, id_))

        stored = await self.parts.store.run(TENANT, work, write=False)
        return None if stored is None or stored.body is None else parsed(stored.body)

    async def events(self) -> Sequence[Event]:
        async def work(unit: Unit) -> Sequence[Any]:
            return await unit.audited(AuditQuery(ascending=True, count=10_000))

        found = await self.parts.store.run(TENANT, work, write=False)
        return [from_entry(one.recorded, one.body) for one in found]


@asynccontextmanager
async def importing(folder: Path) -> AsyncIterator[Importing]:
    parts = make_parts(Settings(data=folder / "data"))
    await parts.store.create_tenant(TENANT)
    yield Importing(parts, folder)
    await parts.store.close()


def parsed(body: bytes | str) -> Any:
    """JSON with every number as it is written."""
    written: Callable[[str], tuple[str, str]] = lambda text: ("number", text)  # noqa: E731
    return json.loads(body, parse_float=written, parse_int=written)


def without_own(resource: Any) -> Any:
    """A resource without what the server sets of its meta."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    meta["tag"] = [
        tag for tag in meta.get("tag", []) if not tag.get("system", "").startswith("https://fhir-server.dev/")
    ]
    return {**resource, "meta": {name: value for name, value in meta.items() if value != []}}
