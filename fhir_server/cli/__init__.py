"""The command line (docs/cli.md): `fhir-server …`.

Exit status: 0 done, 1 refused (one line on stderr says why), 2 wrong usage. A command's own modules are imported only
when it runs, so that `serve` starts fast.
"""

import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Sequence

from fhir_server.cli.parser import make_parser
from fhir_server.cli.refusal import Refusal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    given = make_parser().parse_args(arguments)
    module, _, name = given.run.partition(":")
    try:
        function = getattr(importlib.import_module(f"fhir_server.cli.{module}"), name)
        result = function(given)
        return int(asyncio.run(result) if inspect.iscoroutine(result) else result)
    except Refusal as refusal:
        return _refused(str(refusal))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refused(reason: str) -> int:
    print(f"fhir-server: {' '.join(reason.split())}", file=sys.stderr)
    return 1
