"""The command line as a person has it: in a process of its own, without settings of this one."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without the server's settings, and with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_SERVER_")}
    return kept | settings


def run(*arguments: str | Path, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fhir_server.cli", *map(str, arguments)],
        input=stdin,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass
class Server:
    """A running server: its origin, its data, what it printed at the start, and its process."""

    origin: str
    data: Path
    printed: str
    process: "subprocess.Popen[bytes]"

    @property
    def base(self) -> str:
        return f"{self.origin}/demo/fhir"


@contextmanager
def serving(data: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """A server on a free port of the loopback, with the demo clinic; ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fhir_server.cli", "serve", "--demo", "--port", "0", "--data", str(data), *arguments],
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        printed = _until_ready(process)
        origin = re.search(r"is at\s+(\S+)/demo/fhir", printed)
        assert origin is not None, printed
        yield Server(origin.group(1), data, printed, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _until_ready(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    printed, end = "", time.monotonic() + START_SECONDS
    while "Ctrl-C" not in printed:
        assert time.monotonic() < end, f"the server did not start: {printed}"
        if select.select([process.stdout], [], [], 0.1)[0]:
            chunk = os.read(process.stdout.fileno(), 65_536).decode()
            assert chunk, f"the server ended: {printed}"
            printed += chunk
    return printed
