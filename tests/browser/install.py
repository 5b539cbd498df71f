"""See to what the browser tests need: Chromium, its driver and npm on the system, npm's packages in `.cache/browser`.

`make browser` runs it before every test run. The system's package manager is asked where this process may (root, on a
system with apt-get); elsewhere the line to type is printed and the run fails. What npm brings is held to its SHA-512,
and npm is not asked for once its packages are there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cache" / "browser"
# Program -> Debian's package.
PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver", "npm": "npm"}
# Package of npm -> (version, SHA-512 of its archive, the file that is served or run).
PACKAGES = {
    "fhirclient": (
        "2.6.3",
        "0a2ad98b173059e95b9085f1a7194d431e7e65d262ae5e85d6ce32e32bc0d57ee11c092bf67f7d6951da322d305fef7b9c04e3290eb95fa341e5ab3fc19a09ce",
        "build/fhir-client.js",
    ),
    "axe-core": (
        "4.14.1",
        "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5",
        "axe.min.js",
    ),
}


class Missing(Exception):
    """Something is not there; says what to do."""


def script(name: str) -> Path:
    """Where a package's script stands. Raises Missing."""
    path = _place(name)
    if not path.exists():
        raise Missing(f"{path} is not there; run `make browser`.")
    return path


def program(name: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"There is no '{name}'; run `make browser`.")
    return found


def install_programs() -> None:
    """Install what the system lacks. Raises Missing where this process may not, and where it does not come about."""
    lacking = {name: package for name, package in PROGRAMS.items() if _is_needed(name) and shutil.which(name) is None}
    if not lacking:
        return
    line = ["apt-get", "install", "--yes", "--no-install-recommends", *lacking.values()]
    needed = (
        f"The browser tests need {', '.join(lacking)}. "
        f"On Debian: sudo apt-get update && sudo {' '.join(line)}"
    )  # fmt: skip
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing(needed)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # One list of many that cannot be had is no matter, if the packages can.
    subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=False)
    done = subprocess.run([*line, "--quiet"], env=environment, check=False)
    if done.returncode or any(shutil.which(name) is None for name in lacking):
        raise Missing(f"apt-get did not bring what is needed. {needed}")


def fetch(name: str) -> None:
    """Put a package's script into the folder, unless it is there. Raises Missing for an archive that is another."""
    version, digest, file = PACKAGES[name]
    path = _place(name)
    if path.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Its own cache goes below this folder too; without a home it has no other place.
    words = ("pack", "--loglevel=error", "--ignore-scripts", f"--cache={FOLDER / 'npm'}", f"{name}@{version}")
    subprocess.run([program("npm"), *words], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
    archive = FOLDER / f"{name}-{version}.tgz"
    if hashlib.sha512(archive.read_bytes()).hexdigest() != digest:
        archive.unlink()
        raise Missing(f"npm brought another archive of {name} {version} than the one that is pinned.")
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"package/{file}")
        assert member is not None
        partial = path.with_suffix(".partial")
        partial.write_bytes(member.read())
    partial.rename(path)
    archive.unlink()


def _place(name: str) -> Path:
    version, _, file = PACKAGES[name]
    return FOLDER / f"{name}-{version}-{Path(file).name}"


def _is_needed(name: str) -> bool:
    return name != "npm" or not all(_place(package).exists() for package in PACKAGES)


def main() -> int:
    """Exit 0 when all is there."""
    try:
        install_programs()
        for name in PACKAGES:
            fetch(name)
    except (Missing, subprocess.CalledProcessError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
