"""Candidates of `$find`: appointments that could be. They are not stored; their id says what they are.

An id is `f-` and, in letters and digits: the minute of the start, the minute in which it ends, a keyed hash of each
slot, and a signature with the clinic's secret. It leads to the slots by searching those that are free or held at that
minute.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.booking.index import FREE
from fhir_server.booking.wanted import Wanted, look_up
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.clinic import Clinic
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Box, Interval, Query, Test, Token, all_of, any_of

PREFIX = "f-"
LASTS: Micros = 3_600_000_000
MOST_SLOTS = 4  # whose hashes an id of 64 characters holds
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MINUTE = 60_000_000
_HASH, _MAC = 6, 10
_AT_ONE_TIME = 2_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """What an id says: the start, when the offer ends, and a hash of each slot."""

    start: Micros
    ends: Micros
    slots: tuple[bytes, ...]


def id_of(clinic: Clinic, start: Micros, slot_ids: Sequence[str]) -> str:
    """The id of a candidate; at most 64 characters."""
    ends = (clinic.server.clock() + LASTS) // _MINUTE
    content = (start // _MINUTE).to_bytes(4, "big") + ends.to_bytes(4, "big")
    content += b"".join(_hash(clinic, slot_id) for slot_id in slot_ids)
    return PREFIX + _text(b"\1" + content + _mac(clinic, content))


def read(clinic: Clinic, id_: str) -> Candidate | None:
    """What an id says; None when this clinic did not make it, or it has ended."""
    raw = _bytes(id_.removeprefix(PREFIX)) if id_.startswith(PREFIX) else b""
    content, mac = raw[1:-_MAC], raw[-_MAC:]
    if len(content) <= 8 or not hmac.compare_digest(mac, _mac(clinic, content)):
        return None
    start, ends = (int.from_bytes(content[n : n + 4], "big") * _MINUTE for n in (0, 4))
    hashes = tuple(content[n : n + _HASH] for n in range(8, len(content), _HASH))
    return Candidate(start, ends, hashes) if ends > clinic.server.clock() else None


async def look_up_candidate(repository: Repository, id_: str) -> Wanted | None:
    """The slots of a candidate; None when one of them is taken or closed, or the id is none of this clinic's."""
    candidate = read(repository.clinic, id_)
    if candidate is None:
        return None
    at = Box(lo_from=candidate.start, lo_below=candidate.start + _MINUTE)
    # A hold that is over may still show for a moment; whoever wants the slot looks whether it is.
    held = all_of(Test("start", "date", Interval(at)), Test("status", "token", Token("busy-tentative", None)))
    where = any_of(Test(FREE, "date", Interval(at)), held)
    page = await repository.unit.search(Query("Slot", where, count=_AT_ONE_TIME))
    by_hash = {_hash(repository.clinic, stored.id): stored.id for stored in page.matches}
    if any(each not in by_hash for each in candidate.slots):
        return None
    return await look_up(repository, {"slot": [{"reference": f"Slot/{by_hash[each]}"} for each in candidate.slots]})


def _hash(clinic: Clinic, slot_id: str) -> bytes:
    return hmac.digest(clinic.secret, b"slot\0" + slot_id.encode(), hashlib.sha256)[:_HASH]


def _mac(clinic: Clinic, content: bytes) -> bytes:
    return hmac.digest(clinic.secret, b"candidate\0" + clinic.name.encode() + b"\0" + content, hashlib.sha256)[:_MAC]


def _text(raw: bytes) -> str:
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, letter = divmod(number, len(_LETTERS))
        text = _LETTERS[letter] + text
    return text


def _bytes(text: str) -> bytes:
    if len(text) > 62 or any(letter not in _LETTERS for letter in text):
        return b""
    number = 0
    for letter in text:
        number = number * len(_LETTERS) + _LETTERS.index(letter)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
