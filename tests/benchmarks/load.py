"""A fast HTTP/1.1 client for load: keep-alive connections, each in a closed loop, over raw sockets.

It understands what the servers under test send (a status line, headers, Content-Length), and nothing else.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, cast

import uvloop

# The next request of a connection; None: this connection has no more.
NextRequest = Callable[[], bytes | None]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, head (lower case) and body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header; '' when it is not there."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode("latin-1")
        return ""

    def json(self) -> Any:
        """The body's JSON value."""
        return json.loads(self.body)


OnReply = Callable[[bytes, Reply], None]


@dataclass(slots=True)
class Measured:
    """What a run counted: answers by status, and each answer's time in seconds."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    processor_seconds: float = 0.0  # that the server used meanwhile
    lost: int = 0  # connections that the server closed before it answered

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.times) / self.seconds if self.seconds else 0.0

    @property
    def processor_microseconds(self) -> float:
        """The server's processor time for one answer."""
        return self.processor_seconds * 1_000_000 / len(self.times) if self.times else 0.0

    def percentile(self, share: float) -> float:
        """The time, in milliseconds, within which this share of the answers came."""
        if not self.times:
            return 0.0
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))] * 1_000


def request(
    method: str, path: str, body: bytes | Mapping[str, Any] | Sequence[Any] | None = None, **headers: str
) -> bytes:
    """The bytes of a request; `_` in the names of headers stands for a hyphen."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    if body is not None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/fhir+json")
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class _Connection(asyncio.Protocol):
    """One connection in a closed loop: the next request goes when the answer to the last has come."""

    def __init__(self, following: NextRequest, measured: Measured, on_reply: OnReply | None) -> None:
        self._following, self._measured, self._on_reply = following, measured, on_reply
        self._buffer = b""
        self._sent, self._request = 0.0, b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        """Send the first request."""
        following = self._following()
        if following is None:
            self._transport.close()
            return
        self._request, self._sent = following, perf_counter()
        self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        self._measured.times.append(perf_counter() - self._sent)
        status = int(head[9:12])
        self._measured.statuses[status] += 1
        if self._on_reply is not None:
            reply = Reply(status, self._buffer[:end], self._buffer[end + 4 : end + 4 + length])
            self._on_reply(self._request, reply)
        self._buffer, self._request = b"", b""
        self.begin()

    def connection_lost(self, _: Exception | None) -> None:
        self._measured.lost += bool(self._request)
        if not self.ended.done():
            self.ended.set_result(None)


async def drive(
    port: int, following: Sequence[NextRequest], *, on_reply: OnReply | None = None, together: bool = True
) -> Measured:
    """Connect once for each of `following`, then run all loops until each has no more or was cut off.

    `together`: nobody begins before all are connected.
    """
    loop, measured = asyncio.get_running_loop(), Measured()
    connections: list[_Connection] = []
    for each in following:
        _, connection = await loop.create_connection(
            lambda each=each: _Connection(each, measured, on_reply),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        connections.append(connection)
        if not together:
            connection.begin()
    begin = perf_counter()
    if together:
        for connection in connections:
            connection.begin()
    await asyncio.gather(*(connection.ended for connection in connections))
    measured.seconds = perf_counter() - begin
    return measured


def for_seconds(seconds: float, following: NextRequest) -> NextRequest:
    """`following`, until that many seconds after its first call have passed."""
    end = 0.0

    def limited() -> bytes | None:
        nonlocal end
        now = perf_counter()
        end = end or now + seconds
        return following() if now < end else None

    return limited


def run_load(
    port: int, following: NextRequest, *, connections: int, seconds: float, on_reply: OnReply | None = None
) -> Measured:
    """Load from that many connections for a while."""
    limited = for_seconds(seconds, following)
    return uvloop.run(drive(port, [limited] * connections, on_reply=on_reply))


def send_all(port: int, requests: Sequence[bytes], *, connections: int = 1) -> list[Reply]:
    """Send each request once; the answers in the order of the requests."""
    replies: dict[bytes, list[Reply]] = {}
    left = iter(requests)
    measured = uvloop.run(
        drive(
            port,
            [lambda: next(left, None)] * min(connections, len(requests)),
            on_reply=lambda sent, reply: replies.setdefault(sent, []).append(reply),
        )
    )
    if measured.lost:
        raise ConnectionError("the server closed a connection before it answered")
    return [replies[sent].pop(0) for sent in requests]
