"""Whether the audit chains of a tenant's files are whole: every entry's hash covers the one before it.

A chain whose last entries were cut off is whole by itself; only a checkpoint outside of the file can tell.
"""

from dataclasses import dataclass
from pathlib import Path

import apsw

from fhir_server.store.chain import GENESIS, link


@dataclass(frozen=True, slots=True)
class Verified:
    """One chain: its name, how many entries were walked, and the first fault ('' for none)."""

    chain: str
    entries: int
    fault: str = ""


def verify(folder: Path) -> list[Verified]:
    """Walk all chains of a tenant: that of the changes, and those of reads and refusals."""
    files = [("c", folder / "clinic.db")]
    files += [(f"r{path.stem.removeprefix('audit-')}", path) for path in sorted(folder.glob("audit-*.db"))]
    return [_walk(chain, path) for chain, path in files]


def _walk(chain: str, path: Path) -> Verified:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(10_000)
        before, count, last = GENESIS, 0, 0
        # Chains that came from MongoDB are numbered by time; the hash before is what joins their entries.
        by_time = chain.startswith("rx")
        for number, recorded, body, hash_ in connection.execute(
            "SELECT number, recorded, body, hash FROM audit ORDER BY number"
        ):
            if number <= last if by_time else number != last + 1:
                return Verified(chain, count, f"after entry {chain}-{last} comes {chain}-{number}")
            is_bytes = isinstance(body, bytes) and isinstance(recorded, int)
            if not is_bytes or link(before, number, recorded, body) != hash_:
                return Verified(chain, count, f"entry {chain}-{number} is not what was recorded")
            before, count, last = hash_, count + 1, number
        return Verified(chain, count)
    finally:
        connection.close()
