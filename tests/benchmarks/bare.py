"""The bare Starlette application that results are compared with: `python -m tests.benchmarks.bare FOLDER`.

Each file of the folder is a route that returns the file's bytes, from memory.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.serve import serve


def returning(body: bytes) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that returns `body`."""

    async def endpoint(_: Request) -> Response:
        return Response(body, media_type="application/fhir+json")

    return endpoint


def main() -> None:
    """Serve the folder that the command line names."""
    files = sorted(Path(sys.argv[1]).iterdir())
    serve(Starlette(routes=[Route(f"/{file.name}", returning(file.read_bytes())) for file in files]))


if __name__ == "__main__":
    main()
