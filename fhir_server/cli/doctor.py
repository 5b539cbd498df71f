"""`doctor`: whether the server can run here, check by check."""

import argparse
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import settings_of
from fhir_server.fhir.errors import FhirError
from fhir_server.settings import Settings
from fhir_server.store.sqlite.schema import AUDIT_MIGRATIONS, CLINIC_MIGRATIONS, check_library

Check = Callable[[Settings], str]


def run(arguments: argparse.Namespace) -> int:
    """Do all checks, and tell each result."""
    settings = settings_of(arguments)
    failed = 0
    for name, check in _checks(settings):
        try:
            told, good = check(settings), True
        except (Refusal, FhirError, OSError, apsw.Error) as error:
            told, good = str(error), False
            failed += 1
        print(f"{'ok  ' if good else 'FAIL'}  {name}: {told}")
    if failed:
        raise Refusal(f"{failed} of the checks failed.")
    return 0


def _checks(settings: Settings) -> Iterator[tuple[str, Check]]:
    yield "Python", lambda _: sys.version.split()[0]
    yield "SQLite", _sqlite
    yield "data folder", _folder
    yield "permissions", _permissions
    tenants = settings.data / "tenants"
    for path in sorted(tenants.iterdir()) if tenants.is_dir() else ():
        if not path.name.startswith("."):
            yield f"clinic {path.name}", lambda _, path=path: _clinic(path)  # type: ignore[misc]


def _sqlite(_: Settings) -> str:
    check_library()
    return apsw.sqlite_lib_version()


def _folder(settings: Settings) -> str:
    if not settings.data.is_dir():
        raise Refusal(f"'{settings.data}' is not there; `fhir-server tenant create` or `serve` makes it.")
    with tempfile.TemporaryFile(dir=settings.data) as file:
        file.write(b"x")
        os.fsync(file.fileno())
    free = os.statvfs(settings.data)
    return f"{settings.data.resolve()} can be written, {free.f_bavail * free.f_frsize // 2**20} MiB free"


def _permissions(settings: Settings) -> str:
    """Whoever can read the folder has the clinics' data and signing keys."""
    mode = stat.S_IMODE(settings.data.stat().st_mode)
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
            raise Refusal(f"{path.name} has schema {version}; this server knows up to {newest}")
        sound = connection.pragma("quick_check")
        if sound != "ok":
            raise Refusal(f"{path.name} is damaged: {sound}")
        return f"{path.name} schema {version} of {newest}"
    finally:
        connection.close()
