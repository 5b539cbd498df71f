"""A server that really runs, with the demo clinic; an app and an OpenID provider on the loopback; browsers."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.browser import install
from tests.browser.chromium import Person, chromium
from tests.cli.running import Server, run, serving

_HERE = Path(__file__).parent


class _Quiet(BaseHTTPRequestHandler):
    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _App(_Quiet):
    """Serves the app's page wherever it is asked for, its script and the library."""

    def do_GET(self) -> None:
        path = {"/app.js": _HERE / "app.js", "/fhir-client.js": install.script("fhirclient")}.get(self.path)
        type_ = "text/javascript" if path else "text/html; charset=utf-8"
        self.answer(200, (path or _HERE / "app.html").read_bytes(), Content_Type=type_)


class _Refusing(_Quiet):
    """An OpenID provider at which everybody changes their mind (OpenID Connect Core §3.1.2.6)."""

    def do_GET(self) -> None:
        issuer, asked = f"http://{self.headers['Host']}", urlsplit(self.path)
        if asked.path == "/authorize":
            given = {name: value for name, (value,) in parse_qs(asked.query).items()}
            back = urlencode({"error": "access_denied", "state": given["state"]})
            self.answer(302, Location=f"{given['redirect_uri']}?{back}")
        else:
            said = {"issuer": issuer, "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token", "jwks_uri": f"{issuer}/keys"}  # fmt: skip
            self.answer(200, json.dumps(said).encode(), Content_Type="application/json")


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port at which it answers."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield listening.server_port
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("browser") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose public origin has a name, as passkeys need one: browsers take `localhost` without https."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    origin = f"http://localhost:{port}"
    data = tmp_path_factory.mktemp("by-name") / "data"
    with serving(data, "--port", str(port), FHIR_SERVER_ORIGIN=origin, FHIR_SERVER_LOOPBACK_JWKS="true") as running:
        yield running


@pytest.fixture(scope="session")
def app_port() -> Iterator[int]:
    """The port of the app."""
    with _listening(_App) as port:
        yield port


@pytest.fixture(scope="session")
def elsewhere(by_name: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The clinic `north`, whose OpenID provider refuses everybody."""
    with _listening(_Refusing) as port:
        given = {"issuer": f"http://127.0.0.1:{port}", "client-id": "clinic", "name": "Northside Login",
                 "account-claim": "sub", "client-authentication": "none"}  # fmt: skip
        file = tmp_path_factory.mktemp("elsewhere") / "provider.json"
        file.write_text(json.dumps(given))
        for words in (("tenant", "create", "north"), ("provider", "set", "north", file)):
            made = run(*words, "--data", by_name.data)
            assert made.returncode == 0, made.stderr
        yield


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
