"""What `make browser` does on machines that lack something: the system's programs are played by scripts on PATH."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.browser import install

BROWSER = ("chromium", "chromedriver")


class Machine:
    """A PATH of its own, and what was called there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, self.calls = folder / "bin", folder / "calls"
        self.programs.mkdir()
        self.calls.touch()
        self._patch = monkeypatch
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.setattr(install, "FOLDER", folder / "cache")
        monkeypatch.setattr("os.geteuid", lambda: 1000)

    def become_root(self) -> None:
        self._patch.setattr("os.geteuid", lambda: 0)

    def has(self, *names: str, does: str = "") -> None:
        """Put programs there, which tell that they were called, and do something in Python."""
        for name in names:
            path = self.programs / name
            told = f"open({str(self.calls)!r}, 'a').write(' '.join([{name!r}, *sys.argv[1:]]) + '\\n')"
            path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{told}\n{does}\n")
            path.chmod(0o755)

    def has_scripts(self) -> None:
        install.FOLDER.mkdir()
        for name, (version, _, file) in install.PACKAGES.items():
            (install.FOLDER / f"{name}-{version}-{Path(file).name}").write_text("")

    @property
    def called(self) -> Sequence[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_nothing_is_done_where_all_is_there(machine: Machine) -> None:
    """Nor is npm asked for, whose packages are there."""
    machine.has(*BROWSER, "apt-get")
    machine.has_scripts()
    assert install.main() == 0
    assert machine.called == []


def test_root_installs_what_is_lacking(machine: Machine) -> None:
    made = f"[pathlib.Path({str(machine.programs)!r}, n).touch(0o755) for n in {BROWSER} if 'install' in sys.argv]"
    machine.has("apt-get", does=made)
    machine.has_scripts()
    machine.become_root()
    assert install.main() == 0
    assert machine.called == [
        "apt-get update --quiet",
        "apt-get install --yes --no-install-recommends chromium chromium-driver --quiet",
    ]


@pytest.mark.parametrize("does", ["sys.exit(100)", ""])
def test_what_apt_does_not_bring_is_told(machine: Machine, capsys: pytest.CaptureFixture[str], does: str) -> None:
    """It fails, or has packages of these names without the programs."""
    machine.has("apt-get", does=does)
    machine.become_root()
    assert install.main() == 1
    assert "apt-get did not bring what is needed. The browser tests need chromium, chrome" in capsys.readouterr().err


@pytest.mark.parametrize(("is_root", "has_apt"), [(False, True), (False, False), (True, False)])
def test_whoever_may_not_install_is_told_the_line(
    machine: Machine, capsys: pytest.CaptureFixture[str], is_root: bool, has_apt: bool
) -> None:
    machine.has("chromium", *(["apt-get"] if has_apt else []))
    if is_root:
        machine.become_root()
    assert install.main() == 1
    line = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends chromium-driver npm"
    assert capsys.readouterr().err.strip().endswith(line)
    assert machine.called == []


def test_an_archive_that_is_another_is_refused_and_removed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.has(*BROWSER)
    machine.has("npm", does="pathlib.Path(sys.argv[-1].replace('@', '-') + '.tgz').write_bytes(b'another')")
    assert install.main() == 1
    assert "npm brought another archive of fhirclient" in capsys.readouterr().err
    assert [path.name for path in install.FOLDER.iterdir()] == []


def test_an_npm_that_fails_is_told(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has(*BROWSER)
    machine.has("npm", does="sys.exit(1)")
    assert install.main() == 1
    assert "npm" in capsys.readouterr().err
