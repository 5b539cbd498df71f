"""Bookings while a primary is cut off from the other nodes, each in a network namespace of its own.

Run by `unshare --net python -m tests.faults.partition`, as root: this process and its servers are in a network that has
nothing but a bridge to the three nodes. A node that is cut off drops what it would send to the others; clients reach it
still, and for a moment it thinks that it is the primary.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.test_mongo_booking_killed import break_primaries
from tests.mongod import Node, ReplicaSet

TIMES = 3
HUB, PORT = "10.77.0.1", 27017


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def host(number: int) -> str:
    return f"10.77.0.{10 + number}"


@contextmanager
def namespace(number: int) -> Iterator[str]:
    """A namespace that is joined to the bridge; its name."""
    name, link = f"fhir-{os.getpid()}-{number}", f"node{number}"
    ip("netns", "add", name)
    try:
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", link, "master", "hub", "up")
        ip("-n", name, "address", "add", f"{host(number)}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", name, "link", "set", device, "up")
        yield name
    finally:
        ip("netns", "delete", name)


def main() -> None:
    ip("link", "set", "lo", "up")
    ip("link", "add", "hub", "type", "bridge")
    ip("address", "add", f"{HUB}/24", "dev", "hub")
    ip("link", "set", "hub", "up")
    folder = Path(tempfile.mkdtemp(prefix="mongod-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        names = [stack.enter_context(namespace(number)) for number in range(3)]
        arguments = ("--replSet", "rs0", "--oplogSize", "64")
        nodes = [
            Node(folder / name, PORT, arguments, host=host(number), prefix=("ip", "netns", "exec", name))
            for number, name in enumerate(names)
        ]
        three = ReplicaSet(nodes)
        stack.callback(three.stop)
        three.start()

        @contextmanager
        def cut_off(primary: Node) -> Iterator[None]:
            name = names[nodes.index(primary)]
            others = [node.host for node in nodes if node is not primary]
            for other in others:
                ip("-n", name, "route", "add", "blackhole", f"{other}/32")
            yield
            for other in others:
                ip("-n", name, "route", "delete", "blackhole", f"{other}/32")

        break_primaries(three, TIMES, cut_off)


if __name__ == "__main__":
    main()
