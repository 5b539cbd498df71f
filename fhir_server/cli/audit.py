"""`audit verify`, `checkpoint`, `key`, `export`, `purge` and `hold`: the audit log, for operators and auditors."""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fhir_server.audit import keys, retention, whole, witness
from fhir_server.audit.checkpoint import Checkpoint
from fhir_server.audit.export import export as write_export
from fhir_server.audit.verify import Report
from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, opened
from fhir_server.fhir.errors import NotFound
from fhir_server.search.dates import interval
from fhir_server.store.protocol import Sealed, Unit
from fhir_server.store.tenants import NO_CLINIC

KEPT_WITH = "the public key is the one kept with the log; for proof against whoever keeps the log, give it by --key"


async def verify(arguments: argparse.Namespace) -> int:
    """Verify a clinic's log, or an exported one; name the first fault of each chain."""
    public = [_public(Path(name)) for name in arguments.key]
    if arguments.export:
        if not public:
            raise Refusal("An exported log is verified by a public key: give it by --key (see audit key).")
        with explained():
            seen = _seen(arguments.witness, arguments.tenant)
            try:
                report = whole.verify_export(Path(arguments.export), public, seen)
            except ValueError as error:
                raise Refusal(f"{arguments.export}: {error}") from error
        return _tell(report)
    async with opened(arguments, "audit verify") as shell:
        if not await shell.store.has(arguments.tenant):
            raise Refusal(NO_CLINIC)
        if not public:
            public = await whole.kept_keys(shell.store, arguments.tenant)
            print(f"note: {KEPT_WITH}")
        seen = _seen(arguments.witness, arguments.tenant)
        report = await whole.verify_store(shell.store, arguments.tenant, public, seen)
    return _tell(report)


async def checkpoint(arguments: argparse.Namespace) -> int:
    """Seal what waits, now."""
    async with opened(arguments, "audit checkpoint") as shell:
        made = await shell.parts.sealer.seal(arguments.tenant)
        print(f"Made {len(made)} checkpoint{'' if len(made) == 1 else 's'}.")
    return 0


async def key(arguments: argparse.Namespace) -> int:
    """Print the public keys, to be kept elsewhere."""
    async with opened(arguments, "audit key") as shell:
        for public in await whole.kept_keys(shell.store, arguments.tenant):
            print(public.hex())
    return 0


async def export(arguments: argparse.Namespace) -> int:
    """Write the log to a file: as AuditEvents, as a table, or as the log itself, to be verified anywhere."""
    words = f"audit export {arguments.tenant} --format {arguments.format}"
    async with opened(arguments, words) as shell:
        clinic = await shell.parts.clinics.get(arguments.tenant)
        await shell.store.record(arguments.tenant, [shell.command.event(shell.parts.server.clock()).entry()])
        out = sys.stdout.buffer if arguments.out == "-" else Path(arguments.out).open("wb")  # noqa: SIM115
        try:
            count = await write_export(shell.store, clinic, arguments.format, out)
        finally:
            if out is not sys.stdout.buffer:
                out.close()
    print(f"Wrote {count} entries.", file=sys.stderr)
    return 0


async def purge(arguments: argparse.Namespace) -> int:
    """Remove what is older than a day, whole checkpoints at a time, and leave a signed tombstone."""
    words = f"audit purge {arguments.tenant} --before {arguments.before}"
    async with opened(arguments, words) as shell:
        now, tenant = shell.parts.server.clock(), arguments.tenant
        before = interval(arguments.before)[0]
        youngest = now - shell.settings.audit_retention_days * 86_400_000_000
        if before > youngest:
            raise Refusal(f"Entries are kept {shell.settings.audit_retention_days} days; --before is within them.")
        signer = await keys.signer(shell.store, tenant, shell.settings.audit_keys)

        async def bury(unit: Unit) -> Checkpoint | None:
            upto = await retention.plan(unit, before)
            if upto is not None:
                event = replace(shell.command.event(now), subtype="audit-purge")
                await unit.audit(event.entry())
                await retention.bury(unit, tenant, signer, now, upto, shell.command.login, arguments.reason)
            return upto

        upto = await shell.store.run(tenant, bury, write=True)
        if upto is None:
            raise Refusal("No whole checkpoint is so old, or a legal hold keeps what is.")
        await shell.store.run(tenant, lambda unit: retention.remove(unit, upto), write=True)
        print(f"Purged what checkpoint {upto.number} and those before it cover; a tombstone tells of it.")
    return 0


async def hold(arguments: argparse.Namespace) -> int:
    """Put a patient under legal hold, or release them."""
    words = f"audit hold {arguments.tenant} {arguments.patient}" + (" --release" if arguments.release else "")
    async with opened(arguments, words) as shell:

        async def work(unit: Unit) -> None:
            if not arguments.release:
                await retention.hold(unit, arguments.patient, arguments.reason)
            elif not await retention.release(unit, arguments.patient):
                raise NotFound("This patient is under no legal hold.")
            await shell.record(unit)

        await shell.store.run(arguments.tenant, work, write=True)
    return 0


def _tell(report: Report) -> int:
    for fault in report.faults:
        print(f"BROKEN: {fault}")
    print(f"{report.sealed} entries under {report.checkpoints} checkpoints, {report.unsealed} after the last, unsealed")
    if not report.is_whole:
        raise Refusal(f"The audit log is not whole: {report.faults[0]}.")
    print("The audit log is whole.")
    return 0


def _public(path: Path) -> bytes:
    try:
        found = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise Refusal(f"'{path}' is no public key as `audit key` prints it.") from error
    if len(found) != 32:
        raise Refusal(f"'{path}' is no public key as `audit key` prints it.")
    return found


def _seen(path: str, tenant: str) -> Iterable[Sealed]:
    return list(witness.witnessed(Path(path), tenant)) if path else ()
