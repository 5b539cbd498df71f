"""A response's head and body leave in one segment, whatever the response is (`fhir_server.serving`)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from fhir_server import serving


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answers by the path: its status, and a body in as many pieces as it says."""
    status, pieces = map(int, scope["path"].strip("/").split("/"))
    headers = [(b"content-length", str(3 * pieces).encode())] if pieces else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for n in range(pieces - 1):
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"ab%d" % n, "more_body": True})
    await send({"type": "http.response.body", "body": b"end" if pieces else b""})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(_app, http=serving.OneSegment, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


async def _said(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(-1), 10)
    finally:
        writer.close()
        await writer.wait_closed()


def _asking(*requests: str) -> bytes:
    asked = [f"{each} HTTP/1.1\r\nHost: x\r\n" for each in requests]
    return ("\r\n".join(asked) + "Connection: close\r\n\r\n").encode()


async def test_every_kind_of_response_is_sent_whole(port: int) -> None:
    """With a body, with none (HEAD, 204, 304), in pieces, and several on one connection: in order, none held back."""
    asked = _asking("GET /200/1", "HEAD /200/1", "GET /204/0", "GET /304/0", "GET /200/3", "GET /404/1")
    answers = (await _said(port, asked)).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"204", b"304", b"200", b"404"]
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    assert bodies == [b"end", b"", b"", b"", b"ab0ab1end", b"end"]


async def test_a_head_without_a_body_does_not_wait(port: int) -> None:
    """A caller that keeps the connection has the answer at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HEAD /200/1 HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


def test_a_head_and_its_body_are_one_write() -> None:
    """What is held goes with what follows; whatever is no head is sent as it comes."""
    written: list[bytes] = []

    class Transport:
        def write(self, data: bytes) -> None:
            written.append(data)

        def close(self) -> None:
            written.append(b"closed")

        def get_extra_info(self, name: str) -> str:
            return name

    joining = serving.Joining(Transport())  # type: ignore[arg-type]
    joining.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joining.write(b"body")
    joining.write(b"more")
    joining.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    joining.close()
    assert written == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more", b"HTTP/1.1 304 Not Modified\r\n\r\n", b"closed"]
    assert joining.get_extra_info("peername") == "peername"
