"""`token`: an access token for operators and tests."""

import argparse
from dataclasses import replace

from fhir_server.cli.shell import opened
from smart_auth import operator


async def run(arguments: argparse.Namespace) -> int:
    """Print the token and nothing else."""
    wanted = operator.Wanted(arguments.client, arguments.scope, arguments.user, arguments.patient, arguments.lifetime)
    async with opened(arguments, "token") as shell:
        services = shell.parts.services
        if arguments.origin:
            services = replace(services, origin=arguments.origin.rstrip("/"))
        print(await operator.mint(services, arguments.tenant, wanted))
    return 0
