"""Responses over a real connection, whole and in parts (`fhir_server.serving`)."""

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvicorn

from fhir_server import serving
from fhir_server.rest import http
from fhir_server.rest.request import Response


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answers by the path: its status, and a body in as many pieces as it says; or `whole`, a status and the body."""
    if scope["path"].startswith("/whole/"):
        _, _, status_, body = scope["path"].split("/")
        assert scope["extensions"][http.WHOLE](int(status_), b"x-made: here\r\n", body.encode())
        return
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
    config = uvicorn.Config(_app, http=serving.OneSegment, lifespan="off", log_level="error", access_log=False)
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


async def test_every_kind_of_response_is_sent(port: int) -> None:
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


async def test_a_whole_response_is_one_write(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Head and body go to the transport together, with what the server adds; HEAD, 304 and pipelined ones too."""
    written: list[bytes] = []
    protocol_made = serving.OneSegment.connection_made

    def connection_made(self: serving.OneSegment, transport: Any) -> None:
        class Told:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                written.append(data)
                transport.write(data)

        protocol_made(self, cast(asyncio.Transport, Told()))

    monkeypatch.setattr(serving.OneSegment, "connection_made", connection_made)
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "handlers", [])  # else each response is logged
    said = await _said(port, _asking("GET /whole/200/body", "GET /whole/304/", "GET /whole/200/last"))
    assert b"".join(written) == said
    assert [data.partition(b"\r\n")[0] for data in written] == [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 200 OK",
    ]  # fmt: skip
    assert [data.partition(b"\r\n\r\n")[2] for data in written] == [b"body", b"", b"last"]
    assert all(b"\r\ndate: " in data and b"\r\nx-made: here\r\n" in data for data in written)
    assert [b"connection: close" in data for data in written] == [False, False, True]


@pytest.mark.parametrize("path", ["/whole/200/body", "/200/1"])
async def test_a_request_leaves_nothing_for_the_collector_of_cycles(
    monkeypatch: pytest.MonkeyPatch, port: int, path: str
) -> None:
    """What a request made is gone with it: collected as garbage it would cost a tenth of all reads."""
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "handlers", [])  # else each response is logged
    asked = _asking(*[f"GET {path}"] * 50)
    await _said(port, asked)
    gc.collect()
    gc.disable()
    try:
        await _said(port, asked)
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 50


@pytest.mark.parametrize("value", ["a\r\nset-cookie: b", "a\nb", "a\rb", "a\0b", "a\x7fb"])
async def test_a_value_that_is_no_headers_is_left_to_the_server(value: str) -> None:
    """What would end a header is not written as it is: as a message the server refuses it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    def whole(*_: object) -> bool:
        raise AssertionError("it must not be sent as it is")

    response = Response(200, {"location": value}, b"")
    await http._send({"method": "GET", "extensions": {http.WHOLE: whole}}, send, response)
    assert sent[0]["headers"][0] == (b"location", value.encode())
