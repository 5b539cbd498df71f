"""`serve`, `demo` and the README's lines against a server that really runs."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fhir_server.cli import demo_clinic
from tests.cli.running import Server, environment, run, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve") / "data") as running:
        yield running


def test_serve_says_where_it_is_who_may_come_in_and_what_to_type(server: Server) -> None:
    for text in (server.base, "demo-anna", "demo-dr-lee", "demo-provider-portal", "demo-admin"):
        assert text in server.printed
    for line in demo_clinic.curl_lines(server.base, f"{server.origin}/demo/auth"):
        assert line in server.printed


def _assert_lines_work(lines: list[str]) -> None:
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(lines)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"resourceType": "Slot"') == 3
    assert '"resourceType": "AuditEvent"' in done.stdout
    assert '"resourceType": "OperationOutcome"' not in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_to_type_work(server: Server) -> None:
    _assert_lines_work(list(demo_clinic.curl_lines(server.base, f"{server.origin}/demo/auth")))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_readme_work(server: Server) -> None:
    """docs: what is written is run, but for the port and the place of the data."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.replace("http://127.0.0.1:8000", server.origin) for block in blocks for line in block.splitlines()]
    every = [line for line in lines if "curl" in line]
    curls, by_lee = ([line for line in every if ("$LEE" in line) is wanted] for wanted in (False, True))
    assert (len(curls), len(by_lee)) == (4, 1)
    _assert_lines_work(curls)
    lee = next(line for line in lines if line.startswith("LEE=$("))
    words = [word.strip("'") for word in lee[len("LEE=$(") : -1].split()[1:]]
    launching = run(*words[:-1], server.data, "--origin", server.origin).stdout.strip()
    launched = subprocess.run(["bash", "-eu", "-c", by_lee[0]], env={**os.environ, "LEE": launching}, check=True,
                              capture_output=True, text=True)  # fmt: skip
    assert '"launch"' in launched.stdout, launched.stdout
    headers = {"Authorization": f"Bearer {launching}"}
    assert httpx.get(f"{server.base}/Appointment?_count=1", headers=headers).status_code == 200


def test_the_readme_names_every_demo_secret() -> None:
    text = (ROOT / "README.md").read_text()
    for client in demo_clinic.access.CLIENTS:
        assert f"`{client.client_id}`" in text
        assert not client.secret_hash or f"`{demo_clinic.access.secret_of(client.client_id)}`" in text
    for name, *_ in demo_clinic.access.PEOPLE:
        assert f"`{demo_clinic.access.password_of(name)}`" in text


@pytest.mark.requirement("R-4.1", "R-4.2", "R-4.3", "R-4.4", "R-4.5", "R-4.6", "R-7.4", "R-10.5", "R-10.6", "R-10.9")
def test_the_demo_walks_the_journey_again_and_again(server: Server) -> None:
    for _ in range(2):
        walked = run("demo", "--base", server.base, "--data", server.data)
        assert (walked.returncode, walked.stderr) == (0, "")
        assert walked.stdout.endswith("Every step did what it should.\n")
        assert "pr." not in walked.stdout  # no receipt or token is shown
        assert "eyJ" not in walked.stdout


def test_the_demo_names_what_is_wrong(server: Server, tmp_path: Path) -> None:
    """Exit status 1, one line."""
    elsewhere = run("demo", "--base", "http://127.0.0.1:1/demo/fhir", "--data", server.data)
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (1, 1)
    assert "is the server running?" in elsewhere.stderr
    assert run("demo", "--base", server.origin, "--data", server.data).returncode == 1
    assert "no data" in run("demo", "--base", server.base, "--data", tmp_path / "none").stderr


def test_the_demo_names_the_step_that_failed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as running:
        admin = run("token", "--tenant", "demo", "--client", "admin", "--scope", "system/*.cruds", "--origin",
                    running.origin, "--data", running.data).stdout.strip()  # fmt: skip
        headers = {"Authorization": f"Bearer {admin}"}
        with httpx.Client(base_url=running.base, headers=headers) as http:
            schedule = http.get("/Schedule/dr-lee-consultation").json() | {"active": False}
            assert http.put("/Schedule/dr-lee-consultation", json=schedule).status_code == 200
        failed = run("demo", "--base", running.base, "--data", running.data)
        assert failed.returncode == 1
        assert "The step 'Anybody searches free times of Dr. Lee for a consultation'" in failed.stderr


def test_ctrl_c_ends_it_well_and_a_second_start_finds_the_clinic(tmp_path: Path) -> None:
    def total_of(base: str) -> int:
        answer = httpx.get(f"{base}/Slot?_summary=count", timeout=60)  # a worker may be starting still
        return int(answer.json()["total"])

    with serving(tmp_path / "data") as first:
        total = total_of(first.base)
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(20) == 0
    with serving(tmp_path / "data", "--workers", "2") as second:
        assert total_of(second.base) == total
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait(30) == 0


def test_a_taken_port_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port, "--data", tmp_path / "data")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_origin_is_a_setting(tmp_path: Path) -> None:
    """Links carry the public base URL; `Host` is never trusted."""
    with serving(tmp_path / "data", FHIR_SERVER_ORIGIN="https://fhir.example.org") as running:
        assert running.origin == "https://fhir.example.org"


def test_headers_tell_nothing_of_the_software(server: Server) -> None:
    assert "server" not in httpx.get(f"{server.base}/metadata").headers
