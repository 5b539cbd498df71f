"""`audit verify`: whether the audit log of a clinic is whole."""

import argparse

from fhir_server.cli.refusal import Refusal
from fhir_server.cli.shell import explained, settings_of
from fhir_server.store.sqlite.verify import verify as verify_chains


def verify(arguments: argparse.Namespace) -> int:
    """Walk every chain; name the first broken entry of each."""
    folder = settings_of(arguments).data / "tenants" / arguments.tenant
    if "/" in arguments.tenant or not (folder / "clinic.db").is_file():
        raise Refusal("There is no clinic of this name on this server.")
    with explained():
        results = verify_chains(folder)
    for result in results:
        print(f"{result.chain}: {result.entries} entries, " + (f"BROKEN: {result.fault}" if result.fault else "whole"))
    broken = [result for result in results if result.fault]
    if broken:
        raise Refusal(f"The audit log is not whole: {broken[0].fault}")
    return 0
