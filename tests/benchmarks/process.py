"""A server process that a test or benchmark starts and ends, by its own id only."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from types import TracebackType

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """A process of one of this package's server modules; `port` is where it listens."""

    def __init__(self, place: Path | str, module: str = "tests.benchmarks.serve") -> None:
        self.started = perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(place)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} ended with {self._process.wait()} before it listened")
        self.port = int(line)

    def kill(self) -> None:
        """End the process at once, as a power switch of the process would (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask the process to end, and wait until it has (SIGTERM)."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def resident_megabytes(self) -> float:
        """The memory that the process holds now; 0 where the system does not tell."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            return 0.0
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def processor_seconds(self) -> float:
        """The processor time that the process has used, in all threads; 0 where the system does not tell."""
        stat = Path(f"/proc/{self._process.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process.poll() is None:
            self.stop()
        assert self._process.stdout is not None
        self._process.stdout.close()
