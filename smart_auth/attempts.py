"""Failed sign-ins: lockout of a name and limits for an address (OWASP authentication cheat sheet).

An attempt is counted before the password is looked at, so many at once gain nothing, and taken back when it was right.
Names that nobody has are counted alike, so a lockout does not tell who has an account. Challenges for passkeys are
counted by address alike, since whoever asks for one has shown nothing yet. Of IPv6, an address is what a household has:
all that begin with the same 64 bits.

    attempt  SHA-256 of `name …` or `address …` -> JSON [count, when it may be tried again]
             SHA-256 of `challenges …` -> JSON [count, when they are forgotten]
"""

import hashlib
import ipaddress
import json

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import Unit

KIND = "attempt"
_MINUTE: Micros = 60 * 1_000_000
FREE_FOR_NAME = 5
FREE_FOR_ADDRESS = 50
FORGOTTEN_AFTER: Micros = 60 * _MINUTE
LONGEST_LOCK: Micros = 15 * _MINUTE
CHALLENGES_OF_ADDRESS = 50  # that were not answered by a sign-in
CHALLENGES_FORGOTTEN_AFTER: Micros = 5 * _MINUTE


async def count(unit: Unit, name: str, address: str, now: Micros) -> bool:
    """Count an attempt; False when the name or the address has to wait, and the password is not to be looked at."""
    keys = _keys(name, address)
    found = [await _read(unit, key) for key, _ in keys]
    if any(until > now for _, until in found):
        return False
    for (key, free), (failures, _) in zip(keys, found, strict=True):
        over = failures + 1 - free
        lock = min(_MINUTE << min(over, 10), LONGEST_LOCK) if over >= 0 else 0
        await unit.keep(KIND, key, json.dumps([failures + 1, now + lock]).encode(), now + FORGOTTEN_AFTER)
    return True


async def forgive(unit: Unit, name: str, address: str, now: Micros) -> None:
    """Take an attempt back, after the right password; the name's failures are forgotten."""
    (by_name, _), (by_address, _) = _keys(name, address)
    await unit.take(KIND, by_name)
    failures, until = await _read(unit, by_address)
    if failures:
        # The lock of the fiftieth failure stays; a success does not buy more guesses from one address.
        stored = json.dumps([failures - 1, 0 if failures <= FREE_FOR_ADDRESS else until]).encode()
        await unit.keep(KIND, by_address, stored, max(until, now) + FORGOTTEN_AFTER)


async def count_challenge(unit: Unit, address: str, now: Micros) -> Micros:
    """Count a challenge that an address asks for; how long it has to wait when there were too many, else 0."""
    key = _digest(f"challenges {_source(address)}")
    asked, until = await _read(unit, key)
    if asked >= CHALLENGES_OF_ADDRESS:
        return until - now
    until = until or now + CHALLENGES_FORGOTTEN_AFTER
    await unit.keep(KIND, key, json.dumps([asked + 1, until]).encode(), until)
    return 0


async def forgive_challenge(unit: Unit, address: str) -> None:
    """Take a challenge back that signed somebody in."""
    key = _digest(f"challenges {_source(address)}")
    asked, until = await _read(unit, key)
    if asked:
        await unit.keep(KIND, key, json.dumps([asked - 1, until]).encode(), until)


def _keys(name: str, address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (_digest(f"name {name}"), FREE_FOR_NAME), (_digest(f"address {_source(address)}"), FREE_FOR_ADDRESS)


def _source(address: str) -> str:
    """What an address is counted as; one that is none, as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def _read(unit: Unit, key: str) -> tuple[int, Micros]:
    stored = await unit.peek(KIND, key)
    if stored is None:
        return 0, 0
    failures, until = json.loads(stored)
    return failures, until
