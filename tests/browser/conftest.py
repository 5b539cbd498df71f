"""A server that really runs, with the demo clinic; an app on the loopback; browsers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import install
from tests.browser.chromium import Person, chromium
from tests.cli.running import Server, serving

_HERE = Path(__file__).parent


class _App(BaseHTTPRequestHandler):
    """Serves the app's page wherever it is asked for, its script and the library."""

    def do_GET(self) -> None:
        path = {"/app.js": _HERE / "app.js", "/fhir-client.js": install.script("fhirclient")}.get(self.path)
        body = (path or _HERE / "app.html").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if path else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("browser") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def app_port() -> Iterator[int]:
    """The port of the app."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _App)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield listening.server_port
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def person(tmp_path: Path, app_port: int) -> Iterator[Person]:
    """Somebody at a browser of today."""
    with chromium(tmp_path / "profile", app_port) as browser:
        yield Person(browser)


@pytest.fixture
def phone(tmp_path: Path, app_port: int) -> Iterator[Person]:
    """Somebody at a phone."""
    with chromium(tmp_path / "profile", app_port, is_phone=True) as browser:
        yield Person(browser)


@pytest.fixture
def scriptless(tmp_path: Path, app_port: int) -> Iterator[Person]:
    """Somebody at a phone whose browser runs no script."""
    with chromium(tmp_path / "profile", app_port, is_phone=True, has_script=False) as browser:
        yield Person(browser)
