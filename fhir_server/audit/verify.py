"""Whether an audit log is whole, by the public key alone (docs/audit.md, "Verifying").

Checkpoints are checked first: their signatures, their order and what each says of the chains. Then every chain is
walked: each entry's hash against the one before it, against its mark, and each range against its Merkle root. The first
fault of a chain is named by the entry's id. Entries after the last checkpoint are walked too, and told as unsealed:
of them, the last may have been cut off without a trace.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_server.audit import checkpoint, keys, merkle
from fhir_server.audit.checkpoint import MARK, NOTHING, Checkpoint, Range
from fhir_server.store.chain import genesis, link
from fhir_server.store.protocol import Chained, Sealed


@dataclass(slots=True)
class Report:
    """What was found: the faults, the first of each chain; how many entries are sealed and not; the checkpoints."""

    faults: list[str] = field(default_factory=list)
    sealed: int = 0
    unsealed: int = 0
    checkpoints: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(slots=True)
class Expected:
    """What the checkpoints say of one chain: where it begins, and its ranges with their marks.

    `purged` are the places where it began before, and `buried` the ranges before this one that still have their marks:
    a purge takes these away once it has removed the entries.
    """

    number: int
    hash: bytes
    ranges: list[tuple[Range, bytes]] = field(default_factory=list)
    purged: list[tuple[int, bytes]] = field(default_factory=list)
    buried: list[tuple[Range, bytes]] = field(default_factory=list)

    @property
    def upto(self) -> int:
        """The last sealed entry."""
        return self.ranges[-1][0].upto if self.ranges else self.number

    def left(self, first: int) -> "Expected":
        """What a purge that was broken off leaves to be there, from an entry on."""
        number, hash_ = max((place for place in self.purged if place[0] < first), default=(first, b""))
        ranges = [pair for pair in self.buried if pair[0].after >= number]
        return Expected(number, hash_, ranges if ranges and ranges[0][0].after == number else [])


class Checkpoints:
    """Checks checkpoints, which are given in their order, and gathers what they say of each chain."""

    def __init__(self, tenant: str, public: Iterable[bytes]) -> None:
        self._tenant = tenant
        self._keys = {keys.key_id(each): each for each in public}
        self._last: Sealed | None = None
        self._at = 0
        self.chains: dict[str, Expected] = {}
        self.faults: list[str] = []
        self.count = 0

    def take(self, sealed: Sealed) -> None:
        """Check the next one."""
        self.count += 1
        try:
            self._check(sealed, checkpoint.parse(sealed.body))
        except ValueError as error:
            self.faults.append(f"checkpoint {sealed.number}: {error}")
        self._last = sealed

    def end(self) -> None:
        """After the last: what is missing beside the checkpoints."""
        for expected in self.chains.values():
            for each, marks in expected.ranges:
                if not marks:
                    self.faults.append(f"the marks of {each.chain}-{each.after + 1} to {each.upto} are missing")

    def _check(self, sealed: Sealed, found: Checkpoint) -> None:
        previous, number = (checkpoint.hash_of(self._last), self._last.number + 1) if self._last else (NOTHING, 1)
        public = self._keys.get(found.key)
        if public is None or not keys.is_signed(public, sealed.body, sealed.signature):
            raise ValueError("its signature is not by a key that was given")
        if found.tenant != self._tenant or found.number != sealed.number:
            raise ValueError("it is another's")
        if found.number != number or found.previous != previous:
            raise ValueError("it does not follow the one before it; checkpoints were removed or moved")
        if found.at < self._at:  # told, but what it covers is what it covers
            self.faults.append(f"checkpoint {sealed.number}: its time is before that of the one before it")
        self._at = found.at
        self._ranges(sealed, found)
        if found.purged:
            self._purge({str(name): (int(n), str(h)) for name, (n, h) in found.purged["chains"].items()})

    def _ranges(self, sealed: Sealed, found: Checkpoint) -> None:
        if sealed.marks and hashlib.sha256(sealed.marks).hexdigest() != found.marks:
            raise ValueError("its marks were changed")
        missing = self.chains.keys() - {each.chain for each in found.ranges}
        if missing:
            raise ValueError(f"it leaves out {min(missing)}")
        place = 0
        for each in found.ranges:
            expected = self.chains.setdefault(each.chain, Expected(0, genesis(self._tenant, each.chain)))
            if each.after != expected.upto or each.upto < each.after:
                raise ValueError(f"it does not go on where {each.chain} stood")
            length = (each.upto - each.after) * MARK
            if length:
                expected.ranges.append((each, sealed.marks[place : place + length]))
            place += length
        if sealed.marks and place != len(sealed.marks):
            raise ValueError("it has other marks than entries")

    def _purge(self, chains: Mapping[str, tuple[int, str]]) -> None:
        for name, (number, head) in chains.items():
            expected = self.chains[name]
            if (number, head) == (expected.number, expected.hash.hex()):
                continue
            if not any((each.upto, each.head) == (number, head) for each, _ in expected.ranges):
                raise ValueError(f"it purges {name} at a place that is no checkpoint's")
            expected.purged.append((expected.number, expected.hash))
            expected.buried += [pair for pair in expected.ranges if pair[0].upto <= number and pair[1]]
            expected.number, expected.hash = number, bytes.fromhex(head)
            expected.ranges = [pair for pair in expected.ranges if pair[0].upto > number]


class Walk:
    """Checks the entries of one chain, which are given in the order in which they are kept, from the first there is."""

    def __init__(self, chain: str, expected: Expected) -> None:
        self._chain, self._expected = chain, expected
        self._left: Walk | None = None
        self._number, self._hash = expected.number, expected.hash
        self._ranges, self._place = expected.ranges, 0
        self._upto = expected.upto
        self._leaves: list[bytes] = []
        self.sealed = self.unsealed = 0
        self.fault = ""

    @property
    def number(self) -> int:
        """The last entry that was found right."""
        return self._number

    def take(self, entry: Chained) -> bool:
        """Check one entry; False when something is wrong, which `fault` names."""
        is_number = isinstance(entry.number, int)
        if is_number and entry.number <= self._expected.number == self._number:
            return self._take_left(entry)
        fault = self.check(entry) if is_number else self._inserted(entry)
        if fault:
            self.fault = fault
            return False
        self._number, self._hash = entry.number, entry.hash
        if entry.number > self._upto:
            self.unsealed += 1
            return True
        self.sealed += 1
        self._leaves.append(entry.hash)
        range_, _ = self._ranges[self._place]
        if entry.number == range_.upto:
            return self._close(range_)
        return True

    def check(self, entry: Chained) -> str:
        """What is wrong with the next entry, by itself."""
        expected = self._number + 1
        if entry.number > expected:
            return f"{self._chain}-{expected} was removed"
        if entry.number < expected:
            return self._inserted(entry)
        if (
            entry.body is None
            or not isinstance(entry.recorded, int)
            or not 0 <= entry.recorded < 1 << 63
            or link(self._hash, expected, entry.recorded, entry.body) != entry.hash
        ):
            return f"{self._chain}-{expected} is not what was recorded"
        if expected <= self._upto:
            range_, marks = self._ranges[self._place]
            place = (expected - range_.after - 1) * MARK
            if marks[place : place + MARK] != entry.hash[:MARK]:
                return f"{self._chain}-{expected} is not what was sealed"
        return ""

    def end(self) -> str:
        """After the last entry: what is missing."""
        if not self.fault and self._number < self._upto:
            self.fault = f"{self._chain}-{self._number + 1} was removed, and all after it"
        return self.fault

    def _take_left(self, entry: Chained) -> bool:
        """Check an entry of those that were purged: it may be there until the purge is finished."""
        if self._left is None:
            self._left = Walk(self._chain, self._expected.left(entry.number))
        left = self._left
        if entry.number != left.number + 1 or entry.number > left._upto:
            self.fault = self._inserted(entry)
        elif not left.take(entry):
            self.fault = left.fault
        return not self.fault

    def _inserted(self, entry: Chained) -> str:
        return f"{self._chain}-{entry.number} was inserted or moved"

    def _close(self, range_: Range) -> bool:
        if merkle.root(self._leaves).hex() != range_.tree or self._hash.hex() != range_.head:
            self.fault = f"{self._chain}-{range_.after + 1} to {range_.upto} are not what was sealed"
        self._leaves, self._place = [], self._place + 1
        return not self.fault


def check_witness(log: Sequence[Sealed], seen: Iterable[Sealed]) -> list[str]:
    """The checkpoints that a witness has seen and the log has otherwise, or not at all."""
    known = {sealed.number: sealed.body for sealed in log}
    return [
        f"checkpoint {each.number} is not the one that the witness has seen"
        for each in seen
        if known.get(each.number) != each.body
    ]
