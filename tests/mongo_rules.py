"""What every test over MongoDB holds of the commands that are sent, heard by a listener of the driver.

- an update, a deletion or an insertion has the whole shard key: tenant, type and id;
- a find, a count or an aggregation names the tenant, and on resources the type;
- every search, of resources, history, the audit log and what is kept, is answered by an index.
"""

import json
from typing import Any

from pymongo import monitoring

from fhir_server.store.mongo.schema import COLLECTIONS, SHARD_KEY
from tests import mongod

# What operators' commands and the list of tenants may ask of all tenants at once.
_ACROSS = frozenset({"tenant"})
_KEPT = ("find", "filter", "sort", "limit", "projection", "aggregate", "pipeline", "hint")


class Listener(monitoring.CommandListener):
    """Hears commands; keeps the faults, and the searches of shapes not met before."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.searches: list[tuple[str, dict[str, Any]]] = []
        self._met: set[str] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command, name = event.command, event.command_name
        collection = command.get(name)
        if not isinstance(collection, str) or collection not in COLLECTIONS:
            return
        fault = _fault(name, collection, command)
        if fault:
            self.faults.append(f"{fault}: {command}")
        if collection not in _ACROSS and name in ("find", "aggregate"):
            shape = collection + json.dumps(_shape({part: command[part] for part in _KEPT if part in command}))
            if shape not in self._met:
                self._met.add(shape)
                self.searches.append((event.database_name, {p: command[p] for p in _KEPT if p in command}))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def check(self) -> None:
        """Fails for what was heard since the last check."""
        faults, self.faults = self.faults, []
        assert not faults, faults[0]
        searches, self.searches = self.searches, []
        if searches:
            client = mongod.server().own_client()
            for database, command in searches:
                if "aggregate" in command:
                    command["cursor"] = {}
                explained = client[database].command("explain", command, verbosity="queryPlanner")
                assert "COLLSCAN" not in json.dumps(explained, default=str), command


def _fault(name: str, collection: str, command: Any) -> str:
    match name:
        case "insert":
            lacking = [d for d in command["documents"] if not set(SHARD_KEY) <= d.keys()]
            return "a document without the shard key" if lacking else ""
        case "update":
            return _first(_lacking(each["q"], SHARD_KEY) for each in command["updates"])
        case "delete":
            return _first(_lacking(each["q"], SHARD_KEY) for each in command["deletes"])
        case "findAndModify":
            return _lacking(command["query"], SHARD_KEY)
        case "find":
            where = command["filter"]
        case "aggregate":
            where = command["pipeline"][0].get("$match", {})
        case _:
            return ""
    if collection in _ACROSS:
        return ""
    if _is_of_a_whole_tenant(name, command):
        return _lacking(where, ("tenant",))
    return _lacking(where, ("tenant", "type") if collection == "resource" else ("tenant",))


def _is_of_a_whole_tenant(name: str, command: Any) -> bool:
    """Whether it walks all of a tenant, or counts it, as moving a clinic does."""
    if name == "find":
        return next(iter(command.get("sort", ())), "") == "type"
    return command["pipeline"][1:] == [{"$group": {"_id": 1, "n": {"$sum": 1}}}]


def _lacking(where: Any, fields: tuple[str, ...]) -> str:
    """What the filter does not give by equality."""
    for name in fields:
        if name not in where or (isinstance(where[name], dict)):
            return f"no {name} in the filter"
    return ""


def _first(faults: Any) -> str:
    return next((fault for fault in faults if fault), "")


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name if not name.startswith("w.") else "w": _shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if name_free(value) else [_shape(each) for each in value]
    return type(value).__name__


def name_free(values: list[Any]) -> bool:
    """Whether a list is of plain values, whose number does not matter."""
    return bool(values) and not any(isinstance(each, dict | list) for each in values)


LISTENER = Listener()
