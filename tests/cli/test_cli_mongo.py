"""The command line over MongoDB: every command works on the store that the settings name, and needs no folder."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from fhir_server.cli import main
from tests import mongod
from tests.cli.running import run, serving

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return mongod.server().database_for(tmp_path)


@pytest.fixture
def command(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command in this process: exit status, output and errors."""
    monkeypatch.setenv("FHIR_SERVER_STORE", uri)
    monkeypatch.setenv("FHIR_SERVER_DATA", str(tmp_path / "none"))

    def command(*arguments: object) -> tuple[int, str, str]:
        status = main(list(map(str, arguments)))
        return status, *capsys.readouterr()

    return command


def _log(command: Command, out: Path) -> str:
    assert command("audit", "export", "north", "--format", "ndjson", "--out", out)[0] == 0
    return out.read_text()


def test_a_clinic_is_kept_by_commands_in_the_database(command: Command, tmp_path: Path) -> None:
    """tenant, user, client, token, seed, import and explain, and each change is audited."""
    assert command("tenant", "create", "north", "--zone", "Europe/Berlin")[0] == 0
    assert command("tenant", "list")[1] == "north\tEurope/Berlin\t\n"
    person = ("--role", "practitioner", "--fhir-user", "Practitioner/may")
    assert "Password, shown this once" in command("user", "add", "north", "may", *person)[1]
    assert command("user", "add", "north", "may", *person)[0] == 1
    assert command("user", "list", "north")[1] == "may\tpractitioner\tPractitioner/may\t\t\n"
    assert command("user", "disable", "north", "may")[0] == 0
    app = ("client", "add", "north", "app", "--surface", "service", "--scope", "system/Patient.rs")
    assert "Secret, shown this once" in command(*app)[1]
    assert command("client", "rotate", "north", "app")[0] == 0
    token = ("token", "--tenant", "north", "--client", "app", "--scope", "system/Patient.rs")
    assert command(*token)[1].count(".") == 2
    assert command("client", "disable", "north", "app")[0] == 0
    assert command(*token)[0] == 1
    seed = ("seed", "north", "--patients", "2", "--days", "2", "--practitioners", "1")
    first, second = command(*seed), command(*seed)
    assert (first[0], second[1].startswith("Made 0 resources")) == (0, True)
    file = tmp_path / "a.ndjson"
    file.write_text('{"resourceType":"Patient","id":"a"}\n{"resourceType":"Patient","id":"b","active":"x"}\n')
    assert command("import", "north", file)[1] == "Stored 1 new and 0 newer; 0 were there; 1 refused.\n"
    shown = command("explain", "north", "Slot?status=free&_sort=start")[1]
    for part in ("Plan\n", "sort by start", "Statement 1", "by_order"):
        assert part in shown
    assert command("explain", "south", "Slot")[0] == 1
    assert not (tmp_path / "none").exists()
    told = _log(command, tmp_path / "log")
    for words in ("tenant create north", "user add north may", "client rotate north app"):
        assert words in told, told


def test_the_log_is_verified_and_purged_in_the_database(command: Command, tmp_path: Path, uri: str) -> None:
    command("tenant", "create", "north")
    assert command("audit", "verify", "south")[0] == 1
    assert command("audit", "checkpoint", "north")[1] == "Made 1 checkpoint.\n"
    assert command("audit", "verify", "north")[1].endswith("The audit log is whole.\n")
    assert command("audit", "purge", "north", "--before", "2020-01-01", "--reason", "old")[0] == 1
    assert command("audit", "hold", "north", "anna", "--reason", "case")[0] == 0
    with pymongo.MongoClient[Any](uri) as client:
        changed = client.get_default_database().audit.update_one(
            {"tenant": "north", "number": 1}, {"$inc": {"recorded": 1}}
        )
        assert changed.modified_count == 1
    status, told, why = command("audit", "verify", "north")
    assert (status, "BROKEN" in told, "is not what was recorded" in why) == (1, True, True)


def test_doctor_makes_what_the_database_lacks(command: Command, uri: str) -> None:
    with pymongo.MongoClient[Any](uri) as client:
        database = client.get_default_database()
        command("doctor", "--fix")
        database.seal.drop()
        database.resource.drop_index("by_uri")
        status, told, why = command("doctor")
        assert (status, why) == (1, "fhir-server: 1 of the checks failed.\n")
        assert "FAIL  collections: resource.by_uri, seal missing; `fhir-server doctor --fix`" in told
        status, told, _ = command("doctor", "--fix")
        assert (status, "made resource.by_uri, seal" in told) == (0, True)
        status, told, _ = command("doctor")
        assert status == 0
        for line in ("ok    Python", "ok    MongoDB: 6.0.5, replica set rs0", "ok    writing", "ok    clinics"):
            assert line in told
        database.guard.drop_index("by_age")
        database.guard.create_index("touched", name="by_age", expireAfterSeconds=1)
        status, told, _ = command("doctor", "--fix")
        assert (status, "guard.by_age not as declared; drop it" in told) == (1, True)
        database.guard.drop()


# The driver leaves a socket open when it is closed while it connects.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:Exception ignored in. <socket")
def test_a_store_that_cannot_be_used_is_told_in_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong is named, and never a password."""
    near = "mongodb://me:hush@127.0.0.1:1/fhir?serverSelectionTimeoutMS=50"
    for given, because in (
        (near, "cannot take this now"),
        (f"{near}&tlss=true", "wrong option"),
        (f"{near}&tls=true&tlsCAFile={tmp_path}/none.pem", "none.pem"),
        (f"{near}&authMechanism=MAGIC", "wrong option"),
        ("mongodb://me:hu@sh@/fhir", "cannot be read"),
        ("postgres://me:hush@db/fhir", "cannot be read"),
    ):
        monkeypatch.setenv("FHIR_SERVER_STORE", given)
        for words in (("tenant", "list"), ("doctor",)):
            status, told, why = command(*words)
            assert (status, why.count("\n"), because in told + why) == (1, 1, True), (given, told, why)
            assert "hush" not in told + why


def test_clinics_move_to_the_database_and_back(tmp_path: Path, uri: str) -> None:
    """Through processes, as an operator does; the run is in the log of both sides."""
    files, back = tmp_path / "files", tmp_path / "back"
    run("tenant", "create", "north", "--data", files)
    run("tenant", "create", "south", "--data", files)
    run("seed", "north", "--patients", "2", "--days", "1", "--data", files)
    there = run("migrate", "--from", "sqlite", "--to", uri, "--data", files)
    assert (there.returncode, there.stderr) == (0, "")
    parts = [line.split("\t") for line in there.stdout.splitlines()]
    assert {(row[0], row[4]) for row in parts} == {("north", "equal"), ("south", "equal")}
    assert {row[1] for row in parts} == {"resource", "history", "kept", "writer", "audit", "seal"}
    again = run("migrate", "--from", files, "--to", "mongodb", "--tenant", "north", FHIR_SERVER_STORE=uri)
    assert (again.returncode, "south" in again.stdout) == (0, False)
    returned = run("migrate", "--from", uri, "--to", back)
    assert (returned.returncode, returned.stderr) == (0, "")
    whole = run("audit", "verify", "north", "--data", back)
    assert "The audit log is whole." in whole.stdout
    exported = run("audit", "export", "north", "--format", "ndjson", "--data", back).stdout
    assert exported.count("migrate --to") == 3  # two to the database, one back
    for words, because in (
        (("--from", uri, "--to", back, "--tenant", "east"), "no clinic 'east'"),
        (("--from", tmp_path / "none", "--to", uri), "no data"),
        (("--from", back, "--to", back), "the same place"),
        (("--from", back, "--to", "mongodb"), "FHIR_SERVER_STORE"),
    ):
        refused = run("migrate", *words)
        assert (refused.returncode, refused.stderr.count("\n"), because in refused.stderr) == (1, 1, True)


def test_serve_demo_runs_on_the_database(tmp_path: Path, uri: str) -> None:
    """The demo clinic is made there, served by two processes, and its journey walked; no folder is made."""
    with serving(tmp_path / "data", "--workers", "2", FHIR_SERVER_STORE=uri) as running:
        assert f"The data are in        {uri.partition('?')[0]}" in running.printed
        discovery = httpx.get(f"{running.base}/.well-known/smart-configuration")
        assert discovery.status_code == 200  # a worker that has not met the clinic knows it
        walked = run("demo", "--base", running.base, FHIR_SERVER_STORE=uri)
        assert (walked.returncode, walked.stderr) == (0, "")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
    assert not (tmp_path / "data").exists()


def test_a_clinic_made_in_the_database_moves_to_files(command: Command, tmp_path: Path, uri: str) -> None:
    """It lacks the chain that every clinic of the embedded store begins with, and is found equal all the same."""
    assert command("tenant", "create", "north")[0] == 0
    status, told, why = command("migrate", "--from", uri, "--to", tmp_path / "files")
    assert (status, why) == (0, "")
    assert {line.split("\t")[4] for line in told.splitlines()} == {"equal"}
    assert command("migrate", "--from", tmp_path / "files", "--to", uri)[0] == 0
