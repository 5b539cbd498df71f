"""The log written out: as AuditEvents (NDJSON), as a table (CSV), or as the log itself, which `verify` takes."""

import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from fhir_server.audit import whole, witness
from fhir_server.audit.event import Event, from_entry
from fhir_server.audit.render import audit_event
from fhir_server.fhir import json
from fhir_server.fhir.clock import instant
from fhir_server.interactions.clinic import Clinic
from fhir_server.store.protocol import AuditQuery, Recorded, Store, Unit

FORMATS = ("ndjson", "csv", "log")
COLUMNS = ("id", "recorded", "outcome", "action", "subtype", "client", "user", "user_name", "role", "address", "entity",
           "before", "patients", "query", "rule", "correlation", "booking", "request_id", "description")  # fmt: skip
_BATCH = 1_000
# Where a spreadsheet would begin a formula: in front of a value, and after what some have between cells and rows.
_FORMULA = re.compile(r'(?:^|(?<=[;|"\t\r\n]))(?=[=+\-@\t\r])')


async def export(store: Store, clinic: Clinic, format_: str, out: BinaryIO) -> int:
    """Write a clinic's whole log, oldest first; how many entries."""
    if format_ == "log":
        return await _log(store, clinic.name, out)
    count = 0
    if format_ == "csv":
        out.write(csv_line(COLUMNS))
    async for batch in _batches(store, clinic.name):
        for recorded in batch:
            out.write(line(recorded, clinic.base_url, format_))
            count += 1
    return count


def line(recorded: Recorded, base_url: str, format_: str) -> bytes:
    """One entry as a line of NDJSON or CSV."""
    event = from_entry(recorded.recorded, recorded.body)
    if format_ == "csv":
        return csv_line(_row(recorded.id, event))
    return json.serialise(audit_event(event, recorded.id, base_url)) + b"\n"


def csv_line(values: Sequence[str]) -> bytes:
    """A line of RFC 4180 CSV, all quoted; text that a spreadsheet would run is led by an apostrophe."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow([_FORMULA.sub("'", value) for value in values])
    return text.getvalue().encode()


def _row(id_: str, event: Event) -> list[str]:
    values = {name: getattr(event, name, "") for name in COLUMNS}
    values |= {"id": id_, "recorded": instant(event.recorded), "patients": " ".join(event.patients)}
    values["query"] = event.query.replace(";", "%3B")  # the same URL, and no border of cells
    return [str(value) if value else "" for value in values.values()]


async def _log(store: Store, tenant: str, out: BinaryIO) -> int:
    out.write(whole.header(tenant) + b"\n")
    async for sealed in whole.checkpoints_of(store, tenant):
        out.write(witness.line(tenant, sealed) + b"\n")

    async def names(unit: Unit) -> list[str]:
        return [head.chain for head in await unit.heads()]

    count = 0
    for chain in await store.run(tenant, names, write=True):  # so that what waits is chained, and exported
        async for batch in whole.entries_of(store, tenant, chain):
            out.writelines(whole.entry_line(chain, entry) + b"\n" for entry in batch)
            count += len(batch)
    return count


async def _batches(store: Store, tenant: str) -> AsyncIterator[Sequence[Recorded]]:
    query = AuditQuery(ascending=True, count=_BATCH)
    while True:

        async def work(unit: Unit, query: AuditQuery = query) -> Sequence[Recorded]:
            return await unit.audited(query)

        batch = await store.run(tenant, work, write=False)
        yield batch
        if len(batch) < _BATCH:
            return
        query = AuditQuery(ascending=True, count=_BATCH, after=(batch[-1].recorded, batch[-1].id))
