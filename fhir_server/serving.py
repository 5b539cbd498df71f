"""How a server's process is set up for Uvicorn: a response in one write, and a start that is over.

Both are about cost alone: an answer's head and body go to the kernel together, not one after the other, and what is
made at the start, which lives as long as the process, is not looked through for cycles again.
"""

import gc
from functools import partial
from typing import Any
from weakref import ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fhir_server.rest.http import WHOLE


def settle() -> None:
    """Set what has been made so far apart from the collector of cycles. To be called once, before serving."""
    gc.collect()
    gc.freeze()


class OneSegment(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, which takes a whole response as well as its parts."""

    def on_headers_complete(self) -> None:
        """Begin a request, whose task has the scope as it is at the end of this turn of the event loop."""
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            # Not the cycle itself, which has the scope: both would wait for the collector of cycles to find them.
            extensions: dict[str, Any] = {WHOLE: partial(_respond, ref(cycle))}
            self.scope["extensions"] = extensions


def _respond(of: ref[RequestResponseCycle], status: int, lines: bytes, body: bytes) -> bool:
    """Send a response in one write, with the headers that the server adds to each."""
    cycle = of()
    assert cycle is not None, "a request is answered while it is under way"
    if cycle.flow.write_paused or cycle.response_started or cycle.access_log:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    if not cycle.disconnected:
        added = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.transport.write(b"".join((STATUS_LINE[status], added, lines, end, body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
    return True
