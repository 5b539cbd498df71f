"""Whether the embedded store can work here: its library, its folder, and each clinic's files."""

import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import apsw

from fhir_server.store.checks import Broken, Check
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, CLINIC_MIGRATIONS, check_library


def checks(folder: Path) -> Sequence[Check]:
    """The checks of the store in a folder. They change nothing."""
    tenants = folder / "tenants"
    paths = sorted(tenants.iterdir()) if tenants.is_dir() else ()
    return (
        Check("SQLite", _library),
        Check("data folder", _about(_folder, folder)),
        Check("permissions", _about(_permissions, folder)),
        *(Check(f"clinic {path.name}", _about(_clinic, path)) for path in paths if not path.name.startswith(".")),
    )


def _about(check: Callable[[Path], str], path: Path) -> Callable[[], Awaitable[str]]:
    async def run() -> str:
        try:
            return check(path)
        except apsw.Error as error:
            raise Broken(str(error)) from error

    return run


async def _library() -> str:
    check_library()
    return apsw.sqlite_lib_version()


def _folder(folder: Path) -> str:
    if not folder.is_dir():
        raise Broken(f"'{folder}' is not there; `fhir-server tenant create` or `serve` makes it.")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
        os.fsync(file.fileno())
    free = os.statvfs(folder)
    return f"{folder.resolve()} can be written, {free.f_bavail * free.f_frsize // 2**20} MiB free"


def _permissions(folder: Path) -> str:
    """Whoever can read the folder has the clinics' data and signing keys."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    others = "others on this machine can read it: chmod 700" if mode & 0o007 else "others cannot read it"
    return f"{mode:03o}, {others}"


def _clinic(path: Path) -> str:
    versions = [_version(path / "clinic.db", len(CLINIC_MIGRATIONS))]
    versions += [_version(file, len(AUDIT_MIGRATIONS)) for file in sorted(path.glob("audit-*.db"))]
    return "; ".join(versions)


def _version(path: Path, newest: int) -> str:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        version = int(connection.pragma("user_version"))
        if version > newest:
            raise Broken(f"{path.name} has schema {version}; this server knows up to {newest}")
        sound = connection.pragma("quick_check")
        if sound != "ok":
            raise Broken(f"{path.name} is damaged: {sound}")
        return f"{path.name} schema {version} of {newest}"
    finally:
        connection.close()
