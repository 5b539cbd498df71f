"""A disk that can lose power and fill up, as apsw VFSes under the store.

`PowerDisk` lets every write through at once, as the cache of an operating system does, and keeps beside it what a
power cut would leave: what was synced, and any part of what was not. `FaultyDisk` refuses writes and syncs.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new length."""

    size: int


@dataclass(slots=True)
class _File:
    """What is on the disk for sure, what was done since the last sync, and whether the folder's entry is synced."""

    image: bytearray
    pending: list[Write | Truncate] = field(default_factory=list)
    is_entered: bool = True


@dataclass(frozen=True, slots=True)
class Cut:
    """The disk at one moment: file -> synced bytes, unsynced operations and whether its entry is synced.

    `told` is what the test had been told by then.
    """

    files: dict[Path, tuple[bytes, tuple[Write | Truncate, ...], bool]]
    told: int

    def leave(self, folder: Path, chance: random.Random) -> None:
        """Write the files as a power cut may leave them: any sectors of the unsynced writes, or none, or all."""
        keep = chance.choice((0.0, 0.5, 0.9, 1.0))
        for path, (image, pending, is_entered) in self.files.items():
            if is_entered or chance.random() < 0.5:
                left = bytearray(image)
                for operation in pending:
                    _apply(left, operation, lambda: chance.random() < keep)
                (folder / path.name).write_bytes(left)


class PowerDisk(apsw.VFS):  # type: ignore[misc]
    """A VFS that takes cuts at random operations. `told()` says how much the test had been told at a cut."""

    def __init__(self, name: str, told: Callable[[], int], chance: random.Random, *, most_cuts: int) -> None:
        self.name, self.cuts = name, list[Cut]()
        self._told, self._chance, self._most_cuts = told, chance, most_cuts
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()
        self._left = chance.randrange(1, 60)
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = _path(name)
        with self._lock:
            if path not in self._files:
                there = path.is_file()
                self._files[path] = _File(bytearray(path.read_bytes() if there else b""), is_entered=there)
        return _PowerFile(self, path, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, False)
        with self._lock:
            # An unsynced deletion is taken as done: what is left of a deleted journal was committed already.
            self._files.pop(Path(name), None)

    def did(self, path: Path, operation: Write | Truncate) -> None:
        """Note an operation that is not synced."""
        with self._lock:
            if path in self._files:
                self._files[path].pending.append(operation)
            self._tick()

    def synced(self, path: Path) -> None:
        """Note that a file is on the disk. SQLite syncs the folder with a new journal or WAL file."""
        with self._lock:
            self._tick()
            if path not in self._files:
                return
            file = self._files[path]
            for operation in file.pending:
                _apply(file.image, operation, lambda: True)
            file.pending.clear()
            if path.name.endswith(("-wal", "-journal")) and not file.is_entered:
                for other, entry in self._files.items():
                    entry.is_entered |= other.parent == path.parent

    def _tick(self) -> None:
        self._left -= 1
        if self._left == 0 and len(self.cuts) < self._most_cuts:
            self._left = self._chance.randrange(1, 120)
            told = self._told()
            files = {
                path: (bytes(file.image), tuple(file.pending), file.is_entered) for path, file in self._files.items()
            }
            self.cuts.append(Cut(files, told))


class _PowerFile(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, disk: PowerDisk, path: Path, name: Any, flags: list[int]) -> None:
        self._disk, self._path = disk, path
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.did(self._path, Write(offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.did(self._path, Truncate(size))
        super().xTruncate(size)

    def xSync(self, _: int) -> None:
        self._disk.synced(self._path)


def _path(name: Any) -> Path:
    """The path of a file; that of a temporary file, which has no name, is empty."""
    return Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")


def _apply(image: bytearray, operation: Write | Truncate, is_kept: Callable[[], bool]) -> None:
    """Do an operation on an image, sector by sector where they are kept."""
    if isinstance(operation, Truncate):
        if is_kept():
            del image[operation.size :]
        return
    begin, end = operation.offset, operation.offset + len(operation.data)
    while begin < end:
        until = min(end, (begin // SECTOR + 1) * SECTOR)
        if is_kept():
            if len(image) < until:
                image.extend(bytes(until - len(image)))
            image[begin:until] = operation.data[begin - operation.offset : until - operation.offset]
        begin = until


class FaultyDisk(apsw.VFS):  # type: ignore[misc]
    """A VFS whose writes and syncs fail while `fault` says so: it is asked with the file's name, and may raise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault: Callable[[str, str], None] = lambda _operation, _file: None
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _FaultyFile(self, _path(name).name, name, flags)


class _FaultyFile(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, disk: FaultyDisk, file: str, name: Any, flags: list[int]) -> None:
        self._disk, self._file = disk, file
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.fault("write", self._file)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._disk.fault("sync", self._file)
        super().xSync(flags)
