"""`serve`: the server, by Uvicorn with uvloop and httptools, in one process or several."""

import argparse
import os
import socket
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from fhir_server import serving
from fhir_server.app import Asgi, make_app, make_parts
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, make_folder, place, settings_of
from fhir_server.settings import PREFIX, Settings, from_environment

_BACKLOG = 2_048


def create_app() -> Asgi:
    """The application by the environment's settings; each worker process calls it."""
    app = make_app(make_parts(from_environment()))
    serving.settle()
    return app


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = settings_of(arguments)
    with explained():
        settings.check_store()
    listener = _listen(arguments.host, arguments.port)
    changes: dict[str, Any] = {}
    if f"{PREFIX}ORIGIN" not in os.environ:
        changes["origin"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = settings_of(arguments, **changes)
    # The workers read the environment.
    os.environ[f"{PREFIX}DATA"] = str(settings.data)
    os.environ[f"{PREFIX}ORIGIN"] = settings.origin
    with explained():
        make_folder(settings)
        if arguments.demo:
            _demo(settings)
    if not arguments.demo:
        print(f"Serving {settings.origin}/TENANT/fhir from '{place(settings)}'.", flush=True)
    config = uvicorn.Config(
        "fhir_server.cli.serve:create_app",
        factory=True,
        workers=arguments.workers,
        loop="uvloop",
        http=serving.OneSegment,
        ws="none",
        log_level="info" if arguments.access_log else "warning",
        access_log=arguments.access_log,
        proxy_headers=False,  # `Forwarded` counts only from trusted proxies, which the endpoint sees to
        server_header=False,
        backlog=_BACKLOG,
    )
    try:
        if arguments.workers > 1:
            Multiprocess(config, sockets=[listener]).run()
            return 0
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # Ctrl-C is how a server ends
        return 0
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket, so that a taken port is told before anything is made."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # whoever comes while the workers start waits, and is not turned away
    except OSError as error:
        listener.close()
        raise Refusal(f"Cannot listen on {host} port {port}: {error.strerror}; choose another --port.") from error
    listener.set_inheritable(True)
    return listener


def _demo(settings: Settings) -> None:
    """See to the demo clinic, and tell how to use it."""
    import asyncio

    from fhir_server.cli import demo_clinic

    asyncio.run(demo_clinic.ensure(settings))
    print(demo_clinic.text(settings), flush=True)
