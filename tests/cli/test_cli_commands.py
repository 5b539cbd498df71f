"""Each command: what it does, refuses and records, with its exit status."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import apsw
import pytest
from joserfc.jwk import ECKey

from fhir_server.audit.event import Event, from_entry
from fhir_server.cli.parser import make_parser
from fhir_server.clinics import ClinicSettings
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.protocol import AuditQuery, Unit
from fhir_server.store.sqlite.schema import CLINIC_MIGRATIONS
from fhir_server.store.sqlite.store import SqliteStore
from smart_auth import passkeys
from tests.cli.running import run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the empty clinic `north`."""
    folder = tmp_path / "data"
    made = run("tenant", "create", "north", "--zone", "Europe/Berlin", "--cors-origin", "https://a", "--data", folder)
    assert (made.returncode, made.stderr) == (0, "")
    return folder


async def events(data: Path, tenant: str = "north") -> list[Event]:
    store = SqliteStore(data, system_clock, Ids(system_clock))

    async def work(unit: Unit) -> Any:
        return await unit.audited(AuditQuery(ascending=True, count=1_000))

    try:
        return [from_entry(one.recorded, one.body) for one in await store.run(tenant, work, write=False)]
    finally:
        await store.close()


def commands(parser: Any = None, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command of the parser, as its words."""
    parser = parser or make_parser()
    groups = [action for action in parser._actions if hasattr(action, "choices") and isinstance(action.choices, dict)]
    if not groups:
        return [words]
    return [found for name, sub in groups[0].choices.items() for found in commands(sub, (*words, name))]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([*words, "--help"])
    assert ended.value.code == 0
    help_ = capsys.readouterr().out
    assert f"Example:\n  fhir-server {' '.join(words)}" in help_
    assert "--data DIR" in help_


@pytest.mark.parametrize(
    "words", [(), ("bogus",), ("tenant",), ("seed", "x", "--days", "-1"), ("serve", "--port", "x")]
)
def test_wrong_usage_is_exit_status_2(words: tuple[str, ...]) -> None:
    assert run(*words).returncode == 2


def assert_refused(*arguments: str | Path, because: str, **settings: str) -> None:
    done = run(*arguments, **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("fhir-server: ")
    assert done.stderr.count("\n") == 1
    assert because in done.stderr


async def test_tenant_create_is_audited_by_the_login_name(data: Path) -> None:
    """R-10.7: who ran it, as the operating system knows them."""
    event = (await events(data))[0]
    assert (event.subtype, event.client, event.user_name) == (
        "command", "command-line", pwd.getpwuid(os.getuid()).pw_name,
    )  # fmt: skip
    assert event.description == "tenant create north --zone Europe/Berlin"


def test_tenant_list_and_refusals(data: Path) -> None:
    assert run("tenant", "list", "--data", data).stdout == "north\tEurope/Berlin\thttps://a\n"
    assert_refused("tenant", "create", "north", "--data", data, because="already")
    assert_refused("tenant", "create", "Not a name", "--data", data, because="lower-case")
    assert_refused("tenant", "create", "x", "--zone", "Mars/Base", "--data", data, because="Mars/Base")
    assert run("tenant", "list", "--data", data).stdout.count("\n") == 1
    assert_refused("tenant", "list", "--data", data / "none", because="no data")
    assert not (data / "none").exists()


def test_the_data_folder_is_a_setting_as_well(data: Path) -> None:
    assert run("tenant", "list", FHIR_SERVER_DATA=str(data)).stdout.startswith("north")
    assert_refused("tenant", "list", because="FHIR_SERVER_DTA is no setting", FHIR_SERVER_DTA=str(data))


def test_a_new_data_folder_is_for_its_owner_only(data: Path) -> None:
    """It holds signing keys."""
    assert data.stat().st_mode & 0o077 == 0


async def test_people_are_added_listed_and_disabled(data: Path) -> None:
    add = ("user", "add", "north", "may", "--role", "practitioner", "--fhir-user", "Practitioner/may", "--data", data)
    added = run(*add, "--password-stdin", stdin="a secret word\n")
    assert added.returncode == 0
    assert "no Practitioner/may in this clinic yet" in added.stderr
    assert_refused(*add, because="already")
    assert run("user", "list", "north", "--data", data).stdout == "may\tpractitioner\tPractitioner/may\t\t\n"
    assert run("user", "disable", "north", "may", "--data", data).returncode == 0
    assert run("user", "list", "north", "--data", data).stdout.endswith("disabled\n")
    assert_refused("user", "disable", "north", "june", "--data", data, because="june")
    assert_refused(*add[:3], "x", *add[4:-3], "Patient/x", "--data", data, because="Practitioner")
    recorded = await events(data)
    assert [e.description.split()[:2] for e in recorded] == [["tenant", "create"], ["user", "add"], ["user", "disable"]]
    assert not any("secret word" in str(event) for event in recorded)


def test_a_generated_password_is_printed_once(data: Path) -> None:
    add = run("user", "add", "north", "o", "--role", "auditor", "--fhir-user", "Person/o", "--data", data)
    assert "Password, shown this once: " in add.stdout


async def test_clients_get_a_secret_once_and_rotate_it(data: Path) -> None:
    add = ("client", "add", "north", "app", "--surface", "service", "--scope", "system/Patient.rs", "--data", data)
    added = run(*add)
    assert added.returncode == 0
    secret = added.stdout.rpartition(" ")[2].strip()
    rotated = run("client", "rotate", "north", "app", "--data", data).stdout.rpartition(" ")[2].strip()
    assert len(secret) >= 40
    assert rotated not in (secret, "")
    listed = run("client", "list", "north", "--data", data).stdout
    assert listed == "app\tconfidential-symmetric\tservice\tclient_credentials\tsystem/Patient.rs\t\n"
    assert_refused(*add, because="already")
    assert_refused("client", "rotate", "north", "none", "--data", data, because="none")
    token = ("token", "--tenant", "north", "--client", "app", "--scope", "system/Patient.rs", "--data", data)
    assert run(*token).stdout.count(".") == 2
    assert run("client", "disable", "north", "app", "--data", data).returncode == 0
    assert_refused(*token, because="disabled")
    told = [e.description for e in await events(data) if e.subtype == "command"]
    assert [text.split()[:2] for text in told] == [
        ["tenant", "create"], ["client", "add"], ["client", "rotate"], ["client", "disable"],
    ]  # fmt: skip
    assert not any(value in text for text in told for value in (secret, rotated))


def test_clients_with_keys_and_portals(data: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    private = ECKey.generate_key("P-384", parameters={"kid": "k1"}).as_dict(private=True)
    keys.write_text(json.dumps({"keys": [private]}))
    base = ("client", "add", "north")
    backend = (*base, "backend", "--surface", "service", "--scope", "system/Slot.rs", "--data", data)
    assert "confidential-asymmetric" in run(*backend, "--jwks", keys).stdout
    assert private["d"].encode() not in b"".join(path.read_bytes() for path in (data / "tenants/north").iterdir())
    portal = (
        *base,
        "portal",
        "--surface",
        "patient-portal",
        "--scope",
        "patient/Appointment.rs openid",
        "--data",
        data,
    )
    assert_refused(*portal, because="--redirect-uri")
    assert "public, authorization_code" in run(*portal, "--redirect-uri", "https://app/cb").stdout
    bad = (*base, "bad", "--surface", "service", "--scope")
    assert_refused(*bad, "system/Slot.sr", "--data", data, because="system/Slot.sr")
    assert_refused(*bad, "system/Slot.rs", "--jwks", tmp_path / "x", "--data", data, because="cannot be read")
    assert_refused(*bad, "system/Slot.rs", "--jwks", "http://evil/x", "--data", data, because="https://")


def test_a_token_needs_what_the_client_may(data: Path) -> None:
    token = ("token", "--tenant", "north", "--client", "none", "--scope", "system/Slot.rs", "--data", data)
    assert_refused(*token, because="no such client")
    assert_refused("token", "--tenant", "no", *token[3:], because="no clinic")


def test_explain_shows_plan_route_counts_and_sql(data: Path) -> None:
    assert run("seed", "north", "--patients", "0", "--days", "5", "--data", data).returncode == 0
    shown = run("explain", "north", "Slot?status=free&_sort=start", "--data", data).stdout
    for part in ("Plan\n", "sort by start", "Route: ", "Counted", "Statement 1", "SELECT", "'free'"):
        assert part in shown
    assert_refused("explain", "north", "Slot?statsu=free", "--data", data, because="statsu")
    assert_refused("explain", "north", "Slott?status=free", "--data", data, because="Slott")
    assert "(always)" in run("explain", "north", "Slot", "--data", data).stdout


def test_seed_adds_to_any_clinic_and_nothing_twice(data: Path) -> None:
    seed = ("seed", "north", "--patients", "5", "--days", "3", "--practitioners", "4", "--data", data)
    first, second = run(*seed), run(*seed)
    assert first.returncode == 0
    made = int(first.stdout.split()[1])
    assert made > 30
    assert second.stdout == f"Made 0 resources; {made} were there, 0 refused.\n"
    assert run("user", "list", "north", "--data", data).stdout == ""  # published passwords are for the demo alone
    assert_refused("seed", "south", "--data", data, because="no clinic")


def test_import_reports_what_it_refuses(data: Path, tmp_path: Path) -> None:
    file, report = tmp_path / "a.ndjson", tmp_path / "report.ndjson"
    file.write_text('{"resourceType":"Patient","id":"a"}\n{"resourceType":"Patient","id":"b","active":"x"}\n')
    done = run("import", "north", file, "--report", report, "--data", data)
    assert done.returncode == 1
    assert done.stdout == "Stored 1 new and 0 newer; 0 were there; 1 refused.\n"
    assert f"refused: {file}, line 2: Patient/b at Patient.active: " in done.stderr
    assert done.stderr.splitlines()[-1].startswith("fhir-server: 1 resources were refused")
    line = json.loads(report.read_text())
    assert (line["at"], line["type"], line["id"], line["expression"]) == ("line 2", "Patient", "b", "Patient.active")
    file.write_text('{"resourceType":"Patient","id":"a"}\n')
    assert run("import", "north", file, "--data", data).returncode == 0
    assert_refused("import", "north", tmp_path / "none", "--data", data, because="none")
    assert_refused("import", "south", file, "--data", data, because="no clinic")


def test_audit_verify_names_the_first_broken_entry(data: Path) -> None:
    """R-10.8: tampering behind the server is detectable."""
    for name in ("a", "b", "c"):
        run("user", "add", "north", name, "--role", "auditor", "--fhir-user", "Person/o", "--data", data)
    whole = run("audit", "verify", "north", "--data", data)
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "The audit log is whole.")
    assert "0 entries under 0 checkpoints, 4 after the last, unsealed" in whole.stdout
    assert run("audit", "checkpoint", "north", "--data", data).stdout == "Made 1 checkpoint.\n"
    public, exported = data / "north.pub", data / "north.log"
    public.write_text(run("audit", "key", "north", "--data", data).stdout)
    run("audit", "export", "north", "--out", str(exported), "--data", data)
    again = run("audit", "verify", "north", "--export", str(exported), "--key", str(public))
    assert (again.returncode, "4 entries under 1 checkpoints" in again.stdout) == (0, True)
    connection = apsw.Connection(str(data / "tenants/north/clinic.db"))
    connection.execute("UPDATE audit SET recorded = recorded + 1 WHERE number = 2")
    assert_refused("audit", "verify", "north", "--data", data, because="c-2 is not what was recorded")
    connection.execute("DELETE FROM audit WHERE number = 2")
    connection.close()
    assert_refused("audit", "verify", "north", "--data", data, because="c-2 was removed")
    assert_refused("audit", "verify", "south", "--data", data, because="no clinic")


def test_doctor_tells_each_check(data: Path) -> None:
    good = run("doctor", "--data", data)
    assert good.returncode == 0
    latest = len(CLINIC_MIGRATIONS)
    assert f"ok    clinic north: clinic.db schema {latest} of {latest}" in good.stdout
    connection = apsw.Connection(str(data / "tenants/north/clinic.db"))
    connection.pragma("user_version", 99)
    connection.close()
    bad = run("doctor", "--data", data)
    assert bad.returncode == 1
    assert "FAIL  clinic north: clinic.db has schema 99" in bad.stdout
    assert run("doctor", "--data", data / "none").returncode == 1


def test_clinic_settings_have_no_more_than_tenant_create_asks() -> None:
    assert ClinicSettings.__slots__ == ("zone", "cors_origins")


async def test_a_clinics_provider_is_set_shown_and_removed(data: Path, tmp_path: Path) -> None:
    """Checked by its schema; the secret is neither shown nor recorded, and stays when the rest is set anew."""
    file, at = tmp_path / "provider.json", ("--data", data)
    given = {"issuer": "https://login.example.net", "client-id": "north", "name": "Login", "account-claim": "email"}
    file.write_text(json.dumps(given | {"algorithms": ["none"]}))
    assert_refused("provider", "set", "north", file, *at, because="algorithms.0: 'none' is not one of")
    file.write_text("{")
    assert_refused("provider", "set", "north", file, *at, because="no JSON")
    assert_refused("provider", "set", "north", tmp_path / "none", *at, because="cannot be read")
    file.write_text(json.dumps(given))
    assert_refused("provider", "set", "north", file, *at, because="--secret-stdin")
    assert_refused("provider", "check", "north", *at, because="accounts of this server")
    made = run("provider", "set", "north", file, "--secret-stdin", *at, stdin="the secret\n")
    assert (made.returncode, made.stderr) == (0, "")
    assert "http://127.0.0.1:8000/north/auth/callback" in made.stdout
    assert run("provider", "set", "north", file, *at).returncode == 0
    shown = run("provider", "show", "north", *at).stdout
    assert json.loads(shown) == given
    local = {"issuer": "https://127.0.0.1:9", "client-id": "x", "name": "x", "account-claim": "sub"}
    file.write_text(json.dumps(local | {"client-authentication": "none"}))
    assert run("provider", "set", "north", file, *at).returncode == 0
    assert_refused("provider", "check", "north", *at, because="did not answer")
    assert_refused("provider", "unlink", "north", "may", *at, because="linked to nobody")
    assert run("provider", "remove", "north", *at).returncode == 0
    assert_refused("provider", "remove", "north", *at, because="accounts of this server")
    assert run("provider", "show", "north", *at).stdout.startswith("People of this clinic sign in with accounts")
    recorded = await events(data)
    assert [event.description for event in recorded][1:] == [
        "provider set north https://login.example.net", "provider set north https://login.example.net",
        "provider set north https://127.0.0.1:9", "provider remove north",
    ]  # fmt: skip
    assert not any("the secret" in str(event) for event in recorded)


async def test_a_persons_passkeys_are_listed_and_removed(data: Path) -> None:
    add = ("user", "add", "north", "may", "--role", "practitioner", "--fhir-user", "Practitioner/may", "--data", data)
    assert run(*add).returncode == 0
    store = SqliteStore(data, system_clock, Ids(system_clock))
    names = [passkeys.name_of(id_) for id_ in (b"one", b"two")]

    async def work(unit: Unit) -> None:
        for name, label in zip(names, ("phone", "key"), strict=True):
            made = passkeys.Passkey(name, "x", "may", "x", 0, label, 1_800_000_000_000_000)
            assert await passkeys.add(unit, await passkeys.owned(unit, "may"), made)

    await store.run("north", work, write=True)
    await store.close()
    command = ("user", "passkeys", "north", "may", "--data", data)
    listed = f"{names[0][:12]}\tphone\t2027-01-15\t\n{names[1][:12]}\tkey\t2027-01-15\t\n"
    assert run(*command).stdout == listed
    assert run(*command, "--remove", names[0][:12]).stdout == listed.partition("\n")[2]
    assert_refused(*command, "--remove", names[0][:12], because="has no passkey")
    assert run(*command, "--only").returncode == 0
    assert_refused(*command, "--remove", names[1][:12], because="the only way")
    assert run(*command, "--also-password").returncode == 0
    assert run(*command, "--remove-all").stdout == ""
    assert_refused(*command, "--only", because="no passkey yet")
    assert_refused("user", "passkeys", "north", "june", "--data", data, because="no person named 'june'")
    assert run(*command, "--only", "--remove-all").returncode == 2
    assert [event.description.partition("may")[2] for event in (await events(data))[2:]] == [
        f" --remove {names[0][:12]}", " --only", " --also-password", " --remove-all",
    ]  # fmt: skip
