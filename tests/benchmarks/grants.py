"""What a request pays for its token and its grants: `python -m tests.benchmarks.grants` (R-6.3; at most 60 µs).

CPU time, since the machine may be busy with other things: the token's hash and look-up, its expiry, whether it was
revoked, and the grants for the interaction; of a practitioner, who has the most of them.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from fhir_server.rest.receive import check_grant
from fhir_server.rest.table import Router
from tests.harness import make_harness

MOST_IN_MICROSECONDS = 60.0
CALLERS = ("anna", "dr-lee", "admin")


async def measured(folder: Path, times: int, rounds: int = 5) -> dict[str, float]:
    """Caller -> microseconds of CPU for one check, the best of some rounds."""
    harness = await make_harness("sqlite", folder)
    found = Router().find("GET", ("Observation", "1"))
    assert found is not None
    best: dict[str, float] = {}
    for caller in CALLERS:
        token = await harness.token(caller)
        for _ in range(rounds):
            began = time.process_time()
            for _ in range(times):
                verified = await harness.parts.verifier.verify("demo", token)
                check_grant(verified.access, found)
            took = (time.process_time() - began) / times * 1e6
            best[caller] = min(best.get(caller, took), took)
    await harness.http.aclose()
    await harness.parts.store.close()
    return best


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        for caller, took in asyncio.run(measured(Path(folder), 5_000)).items():
            print(f"{caller}: {took:.1f} µs for the token and its grants (at most {MOST_IN_MICROSECONDS:.0f})")


if __name__ == "__main__":
    main()
