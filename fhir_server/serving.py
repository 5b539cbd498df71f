"""How a server's process is set up for Uvicorn: one segment a response, and a collector of cycles that seldom runs.

Both are about cost alone: an answer's head and body go to the kernel together, not one after the other, and what is
made at the start, which lives as long as the process, is not looked through for cycles again and again.
"""

import asyncio
import gc
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Young objects before the collector runs, and how often it looks at older ones. A request makes about a hundred that
# live until it is answered; hundreds of requests at a time are not to be taken for garbage that stays.
_YOUNG, _OLDER, _OLDEST = 20_000, 50, 50


def settle() -> None:
    """Set what has been made so far apart from the collector of cycles. To be called once, before serving."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDEST)


class OneSegment(HttpToolsProtocol):
    """Uvicorn's HTTP protocol over a transport that joins a response's head with what follows it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take up a connection."""
        self._joining = Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Send the head of a response that had no body, and take up the next request."""
        self._joining.flush()
        super().on_response_complete()


class Joining:
    """A transport that holds a response's head until what follows it comes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or hold what begins as a response's head does."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send what is held."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what is held, and close."""
        self.flush()
        self._transport.close()
