"""The server in this process, over a store of the test's choice, called as ASGI."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

from fhir_server.app import Asgi, make_app
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.sqlite import tenant
from fhir_server.store.sqlite.store import SqliteStore
from tests.benchmarks.clinic import parts_of
from tests.faults.writing import Writing


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(app: Asgi, method: str, path: str, body: Any = None, **headers: str) -> Heard:
    """The answer to one request."""
    sent = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    if body is not None:
        headers.setdefault("content_type", "application/fhir+json")
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": named, "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return Heard(messages[0]["status"], found, messages[1]["body"])


async def load(app: Asgi, writing: Writing, *, requests: int, clients: int = 12) -> Sequence[Heard]:
    """That many requests of a mixed load, from several clients at once; their answers."""
    heard: list[Heard] = []

    async def client() -> None:
        while len(heard) < requests:
            method, path, body, headers = writing.choose()
            answer = await ask(app, method, path, body, **headers)
            writing.take(method, answer.status, answer.headers["x-request-id"], answer.body)
            heard.append(answer)

    await asyncio.gather(*(client() for _ in range(clients)))
    return heard


class Running:
    """A server over a folder whose files are under a VFS: `async with Running(…) as app`."""

    def __init__(self, folder: Path, vfs: str) -> None:
        self._parts = parts_of(folder, SqliteStore(folder, system_clock, Ids(system_clock), vfs=vfs or None))

    async def __aenter__(self) -> Asgi:
        return make_app(self._parts)

    async def __aexit__(self, *_: object) -> None:
        await self._parts.store.close()


def connect_with(monkeypatch: pytest.MonkeyPatch, pragma: str) -> None:
    """Have the store open its files with one more pragma."""
    plain = tenant.connect

    def connect(path: Path, migrations: tuple[str, ...], *, vfs: str | None = None) -> apsw.Connection:
        connection = plain(path, migrations, vfs=vfs)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    monkeypatch.setattr(tenant, "connect", connect)
