"""`seed`: the demo clinic, and synthetic data for any clinic."""

import argparse
import sys

from fhir_server.cli.progress import counting
from fhir_server.cli.shell import opened
from seed import clinic
from seed.write import Outcome, Writer


async def run(arguments: argparse.Namespace) -> int:
    """Make the demo clinic, or add data."""
    sizes = {name: getattr(arguments, name) for name in ("patients", "days", "practitioners")}
    words = f"seed {arguments.tenant}" + "".join(
        f" --{name} {size}" for name, size in sizes.items() if size is not None
    )
    is_demo = arguments.tenant == clinic.TENANT
    async with opened(arguments, words, may_make=is_demo) as shell:
        parts, clock = shell.parts, shell.parts.server.clock
        outcome = Outcome()
        is_plain = is_demo and not any(size is not None for size in sizes.values())
        if is_plain or (is_demo and not await clinic.is_made(shell.store)):
            outcome.add(await clinic.make_demo(shell.store, parts.clinics, clock, shell.command))
        if not is_plain:
            where = await parts.clinics.get(arguments.tenant)
            size = clinic.Size(**{name: n for name, n in sizes.items() if n is not None}, named=is_demo)
            writer = Writer(shell.store, where, shell.command, clinic.RULE)
            with counting("resources") as progress:
                outcome.add(await clinic.add(writer, clock, where.zone, size, progress))
    for refused in outcome.refused[:10]:
        print(f"{refused.type}/{refused.id}: {refused.reason}", file=sys.stderr)
    print(f"Made {outcome.new} resources; {outcome.unchanged} were there, {len(outcome.refused)} refused.")
    return 1 if outcome.refused else 0
