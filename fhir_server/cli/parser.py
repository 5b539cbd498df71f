"""The words of the command line: every command, its arguments, and an example. Nothing heavy is imported here."""

import argparse
from typing import Any

from fhir_server.cli import access_words
from fhir_server.cli.words import Parser, command, new_group


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="fhir-server", description="A FHIR R4 server for bookings and ongoing care.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _serve(commands)
    _demo(commands)
    _tenant(commands)
    access_words.add(commands)
    _data(commands)
    _booking(commands)
    _operation(commands)
    return parser


def _serve(commands: Any) -> None:
    parser = command(commands, "serve", "serve:run", "Run the server.", "serve --demo --port 8000 --data ./data")
    parser.more = "fhir_server.cli.settings_help:text"
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="the port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--workers", type=_count, default=1, help="processes that serve (default: %(default)s)")
    parser.add_argument(
        "--demo", action="store_true", help="make the demo clinic if there is none, and say how to use it"
    )
    parser.add_argument("--access-log", action="store_true", help="write a line for every request to stderr")


def _demo(commands: Any) -> None:
    parser = command(
        commands,
        "demo",
        "demo:run",
        "Walk the whole booking journey over HTTP, and say what happens. People's tokens are minted from the store "
        "of the server, which must be within reach.",
        "demo --base http://127.0.0.1:8000/demo/fhir --data ./data",
    )
    parser.add_argument(
        "--base", metavar="URL", default="http://127.0.0.1:8000/demo/fhir", help="(default: %(default)s)"
    )


def _tenant(commands: Any) -> None:
    group = new_group(commands, "tenant", "Clinics.")
    create = command(
        group, "create", "tenants:create", "Make an empty clinic.", "tenant create northside --zone Europe/Berlin"
    )
    create.add_argument("tenant", metavar="NAME", help="1 to 63 lower-case letters, digits and hyphens")
    create.add_argument("--zone", default="UTC", help="its IANA time zone (default: %(default)s)")
    create.add_argument(
        "--cors-origin", action="append", default=[], metavar="ORIGIN",
        help="an origin that may call it from a browser, * for any; may be given again",
    )  # fmt: skip
    command(group, "list", "tenants:list_", "List the clinics.", "tenant list --data ./data")


def _data(commands: Any) -> None:
    seed = command(
        commands,
        "seed",
        "seeding:run",
        "Add synthetic data to a clinic. The clinic 'demo' is made whole, with its people and apps, if there is none.",
        "seed northside --patients 200 --days 60",
    )
    seed.add_argument("tenant", metavar="TENANT")
    seed.add_argument("--patients", type=_count_or_none, help="synthetic patients with some history (default: 20)")
    seed.add_argument("--days", type=_count_or_none, help="days of free slots from tomorrow on (default: 28)")
    seed.add_argument("--practitioners", type=_count, help="people who treat (default: 3)")
    import_ = command(
        commands,
        "import",
        "importing:run",
        "Import resources from JSON and NDJSON files, .gz too. Ids are kept; what is refused is reported, and a second "
        "run stores nothing twice. Exit status 1 if anything was refused.",
        "import northside patients.ndjson.gz --report refused.ndjson",
    )
    import_.add_argument("tenant", metavar="TENANT")
    import_.add_argument("files", metavar="FILE", nargs="+")
    import_.add_argument("--unpack", action="store_true", help="store what Bundles carry, instead of the Bundles")
    import_.add_argument("--report", metavar="FILE", help="write each refusal to this file as a line of JSON")


def _booking(commands: Any) -> None:
    rules = new_group(commands, "rules", "A clinic's booking rules.")
    apply = command(
        rules, "apply", "booking:apply", "Check a file of booking rules by its JSON Schema, and put them on the "
        "services that it names, all or none.", "rules apply northside rules.json",
    )  # fmt: skip
    apply.add_argument("tenant", metavar="TENANT")
    apply.add_argument("file", metavar="FILE")
    apply.add_argument("--check", action="store_true", help="check the file only")
    slots = new_group(commands, "slots", "A provider's free times.")
    days, times = "2026-12-01 --to 2026-12-31", "2026-12-24T12:00:00 --to 2026-12-27"
    for name, text, example in (
        ("generate", "Make free slots from the hours of a schedule's providers; run again it changes nothing.", days),
        ("close", "Close the free slots of a schedule in a range; what is taken stays.", times),
        ("reopen", "Reopen what was closed in a range.", times),
    ):
        words = f"slots {name} northside lee-consultation --from {example}"
        parser = command(slots, name, f"booking:{name}", text, words)
        parser.add_argument("tenant", metavar="TENANT")
        parser.add_argument("schedule", metavar="SCHEDULE", help="the id of the Schedule")
        kind = "DAY" if name == "generate" else "TIME"
        parser.add_argument("--from", dest="start", required=True, metavar=kind)
        parser.add_argument("--to", dest="end", required=True, metavar=kind)


def _operation(commands: Any) -> None:
    token = command(
        commands, "token", "tokens:run", "Print an access token, for operators and tests.",
        "token --tenant demo --user dr-lee --client provider-portal --scope 'user/Appointment.rs'",
    )  # fmt: skip
    token.add_argument("--tenant", required=True)
    token.add_argument("--client", required=True, metavar="ID")
    token.add_argument("--user", default="", metavar="NAME", help="the person it acts for; none: the app itself")
    token.add_argument("--scope", required=True, metavar="SCOPES")
    token.add_argument("--patient", default="", metavar="ID", help="the patient in context")
    token.add_argument("--lifetime", type=_count, default=3600, metavar="SECONDS", help="(default: %(default)s)")
    token.add_argument("--origin", metavar="URL", help="the server's public origin (default: FHIR_SERVER_ORIGIN)")
    explain = command(
        commands, "explain", "explain:run", "Show how a search would run: its plan, and what the store does "
        "for it.", "explain demo 'Slot?status=free&start=ge2026-12-01&_sort=start'",
    )  # fmt: skip
    explain.add_argument("tenant", metavar="TENANT")
    explain.add_argument("search", metavar="TYPE?QUERY")
    audit = new_group(commands, "audit", "The audit log.")
    _audit_commands(audit)
    migrate = command(
        commands,
        "migrate",
        "migrating:run",
        "Copy clinics from one store to the other, while the source serves, and compare every row. Run again, it "
        "goes on where it was. PLACE is a data folder, a connection string (mongodb://…), `sqlite` for the data "
        "folder of --data, or `mongodb` for FHIR_SERVER_STORE.",
        "migrate --from sqlite --to 'mongodb://db1,db2,db3/fhir?replicaSet=rs0'",
    )
    migrate.add_argument("--from", required=True, dest="source", metavar="PLACE")
    migrate.add_argument("--to", required=True, dest="target", metavar="PLACE")
    migrate.add_argument("--tenant", action="append", metavar="NAME", help="only this clinic; may be given again")
    doctor = command(commands, "doctor", "doctor:run", "Check that the server can run here.", "doctor --data ./data")
    doctor.add_argument("--fix", action="store_true", help="make the collections and indexes that MongoDB lacks")


def _audit_commands(audit: Any) -> None:
    verify = command(
        audit, "verify", "audit:verify", "Verify a clinic's audit log, or an exported one, by the public key; name the "
        "first entry that is not what was recorded.", "audit verify demo --key demo.pub",
    )  # fmt: skip
    verify.add_argument("tenant", metavar="TENANT")
    verify.add_argument("--key", action="append", default=[], metavar="FILE", help="a public key; may be given again")
    verify.add_argument("--witness", default="", metavar="FILE", help="checkpoints that a witness has seen")
    verify.add_argument("--export", default="", metavar="FILE", help="an exported log, instead of the clinic's own")
    for name, text in (("checkpoint", "Seal the audit log now."), ("key", "Print the public keys of the audit log.")):
        command(audit, name, f"audit:{name}", text, f"audit {name} demo").add_argument("tenant", metavar="TENANT")
    export = command(
        audit, "export", "audit:export", "Write the audit log to a file.", "audit export demo --out demo.log"
    )
    export.add_argument("tenant", metavar="TENANT")
    export.add_argument("--format", choices=("log", "ndjson", "csv"), default="log", help="(default: %(default)s)")
    export.add_argument("--out", default="-", metavar="FILE", help="(default: standard output)")
    purge = command(
        audit, "purge", "audit:purge", "Remove old entries, whole checkpoints at a time, and leave a signed tombstone.",
        "audit purge demo --before 2026-01-01 --reason 'retention period'",
    )  # fmt: skip
    purge.add_argument("tenant", metavar="TENANT")
    purge.add_argument("--before", required=True, metavar="DATE", help="what is older goes")
    purge.add_argument("--reason", required=True, metavar="TEXT", help="for the tombstone")
    hold = command(audit, "hold", "audit:hold", "Keep what is about a patient from being purged.",
                    "audit hold demo anna --reason 'case 17'")  # fmt: skip
    hold.add_argument("tenant", metavar="TENANT")
    hold.add_argument("patient", metavar="ID", help="the Patient's id")
    hold.add_argument("--reason", default="", metavar="TEXT")
    hold.add_argument("--release", action="store_true", help="end the hold")


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _count_or_none(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("at least 0")
    return value
