"""A server process for benchmarks and fault tests: `python -m tests.benchmarks.serve PLACE`, a folder or a
connection string.

It listens on a free port of the loopback address, writes the port on a line of its standard output, and serves until
it is told to end.
"""

import socket
import sys
from typing import Any

import uvicorn


def listening() -> socket.socket:
    """A socket on a free port of the loopback address."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    found.listen(1024)
    return found


def serve(app: Any, http: Any = "httptools") -> None:
    """Serve an ASGI application as the server's own command does."""
    config = uvicorn.Config(
        app, loop="uvloop", http=http, log_level="warning", access_log=False, proxy_headers=False,
        server_header=False,
    )  # fmt: skip
    server, opened = uvicorn.Server(config), listening()
    sys.stdout.write(f"{opened.getsockname()[1]}\n")
    sys.stdout.flush()
    server.run(sockets=[opened])


def main() -> None:
    """Serve the folder or database that the command line names."""
    from fhir_server import serving
    from fhir_server.app import make_app
    from tests.benchmarks.clinic import parts_of

    app = make_app(parts_of(sys.argv[1]))
    serving.settle()
    serve(app, serving.OneSegment)


if __name__ == "__main__":
    main()
