"""Which interactions may ask secondaries is a setting; all else asks the primary."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import monitoring

from fhir_server.app import make_app, make_parts
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.rest.table import TABLE
from fhir_server.settings import READING, Settings, from_environment
from fhir_server.store.mongo.store import MongoStore
from tests import mongod
from tests.harness import ORIGIN


class Preferences(monitoring.CommandListener):
    """Hears which reads go where: (collection, mode)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate"):
            mode: dict[str, Any] = event.command.get("$readPreference", {"mode": "primary"})
            self.heard.append((event.command[event.command_name], mode["mode"]))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


async def test_only_the_named_interactions_may_ask_secondaries(tmp_path: Path) -> None:
    heard = Preferences()
    store = MongoStore(mongod.server().database_for(tmp_path), system_clock, Ids(system_clock), listeners=[heard])
    settings = Settings(origin=ORIGIN, read_secondaries=("search-type",))
    app = make_app(make_parts(settings, store=store))
    await store.create_tenant("demo")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as http:
        assert (await http.get("/demo/fhir/Slot?status=free")).status_code == 200
        searched, heard.heard = heard.heard, []
        assert (await http.get("/demo/fhir/Slot/none")).status_code == 404
    await store.close()
    assert ("resource", "nearest") in searched
    assert {mode for collection, mode in searched if collection != "resource"} == {"primary"}
    assert {mode for _, mode in heard.heard} == {"primary"}


def test_the_setting_takes_interactions_that_read() -> None:
    assert {row.name for row in TABLE if not row.writes} - {"capabilities", "batch"} == READING
    given = from_environment({"FHIR_SERVER_READ_SECONDARIES": "read, search-type"})
    assert given.read_secondaries == ("read", "search-type")
    with pytest.raises(ValueError, match="'true' is none of"):
        from_environment({"FHIR_SERVER_READ_SECONDARIES": "true"})
