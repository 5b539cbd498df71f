"""`migrate`: move clinics between the embedded store and MongoDB (docs/mongodb.md, "Moving a clinic")."""

import argparse
from pathlib import Path

from fhir_server.cli.progress import counting
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, make_folder, table
from fhir_server.fhir.clock import Ids, system_clock
from fhir_server.store.migrate import Report, Side, migrate
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.mongo.transfer import MongoSide
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite.store import SqliteStore
from fhir_server.store.sqlite.transfer import SqliteSide


async def run(arguments: argparse.Namespace) -> int:
    """Copy and compare. `source`, `target`: a folder or a connection string."""
    with explained(), counting("rows") as progress:
        (source, source_store), (target, target_store) = map(_open, (arguments.source, arguments.target))
        try:
            names = arguments.tenant or None
            reports = await migrate(source, target, names, progress=lambda _, __, rows: progress(rows))
        finally:
            await source_store.close()
            await target_store.close()
    _show(reports)
    unlike = [report.tenant for report in reports if not report.is_whole]
    if unlike:
        raise Refusal(f"Still changing: {', '.join(unlike)}. Stop its servers; run again.")
    return 0


def _show(reports: list[Report]) -> None:
    rows = [
        (report.tenant, part, str(copied.rows), copied.hash[:16], "equal" if not copied.changed else "changing")
        for report in reports
        for part, copied in report.parts.items()
    ]
    table(("Clinic", "Part", "Rows", "SHA-256", "Last pass"), rows)


def _open(place: str) -> tuple[Side, Store]:
    ids = Ids(system_clock)
    if place.startswith(("mongodb://", "mongodb+srv://")):
        database = MongoStore(place, system_clock, ids)
        return MongoSide(database), database
    make_folder(Path(place))
    files = SqliteStore(Path(place), system_clock, ids)
    return SqliteSide(Path(place), files), files
