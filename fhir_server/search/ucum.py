"""UCUM units by their canonical form, in exact arithmetic: `mg` and `ug` are the same unit times a number.

All units and prefixes of UCUM (`profiles.units`) and its whole grammar: products, quotients, powers, brackets,
annotations. What is no unit is compared by its own code alone. A mole stays `mol` (UCUM calls it a number); each
arbitrary unit, and each special one but temperatures, is a dimension of its own (docs/decisions/0024-own-ucum.md).
Source: The Unified Code for Units of Measure, version 2.2, §2 and §4.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from profiles import units

SYSTEM = "http://unitsofmeasure.org"

# Dimensions that UCUM does not have.
_OWN = frozenset({"mol"})
# Where the zero of a temperature is, in kelvins.
_ZERO = {"Cel": Fraction("273.15"), "degF": Fraction("459.67") * Fraction(5, 9), "degRe": Fraction("273.15")}
_TOKEN = re.compile(
    r"(?P<sign>[./()])|(?P<note>\{[^{}]*\})|(?P<number>\d+)(?![*^\d])"
    r"|(?P<symbol>10[*^]|(?:[^\d\s\[\]{}()./+\-]|\[[^\[\]]*\])+)(?P<power>[+-]?\d+)?"
)
_LONGEST = 64
_MOST_POWER = 40
_ROUNDED = Context(prec=34)

Dimensions = tuple[tuple[str, int], ...]


class Unknown(Exception):
    """A unit that is not in the table, or no unit."""


@dataclass(frozen=True, slots=True)
class Canonical:
    """A canonical unit by name, and how a value of the original unit becomes one of it.

    `multiplier` is the factor as a decimal, where it is one and nothing is added: the same result, sooner.
    """

    name: str
    factor: Fraction
    offset: Fraction = Fraction(0)
    multiplier: Decimal | None = None

    def scale(self, value: Decimal | int) -> Decimal:
        """The value in the canonical unit, rounded to 34 digits where it does not end."""
        if self.multiplier is not None:
            return _ROUNDED.multiply(Decimal(value), self.multiplier)
        made = Fraction(value) * self.factor + self.offset
        return _ROUNDED.divide(Decimal(made.numerator), Decimal(made.denominator))


Scale = Callable[[Decimal | int], Decimal]


@lru_cache(maxsize=4_096)
def canonical(code: str) -> Canonical | None:
    """The canonical form of a unit's code; None when it is not known here."""
    special = units.load().units.get(code)
    try:
        if special is not None and special.kind in _ZERO:
            factor, dimensions = _read(special.unit)
            return Canonical(_name(dimensions), special.factor * factor, _ZERO[special.kind])
        factor, dimensions = _read(code)
    except Unknown:
        return None
    return Canonical(_name(dimensions), factor, multiplier=_decimal(factor))


def _name(dimensions: Dimensions) -> str:
    return ".".join(f"{name}{power}" for name, power in dimensions) or "1"


def _decimal(factor: Fraction) -> Decimal | None:
    """The factor as a decimal of at most 34 digits; None when it is none."""
    made = _ROUNDED.divide(Decimal(factor.numerator), Decimal(factor.denominator))
    return made if Fraction(made) == factor else None


def _read(code: str) -> tuple[Fraction, Dimensions]:
    reader = _Reader(code)
    factor, powers = reader.term(begins=True)
    reader.end()
    return factor, tuple(sorted((name, power) for name, power in powers.items() if power))


class _Reader:
    """Reads one unit (UCUM §2, the grammar)."""

    def __init__(self, code: str) -> None:
        if not code or len(code) > _LONGEST:
            raise Unknown(code)
        self._code, self._at = code, 0

    def term(self, *, begins: bool = False) -> tuple[Fraction, dict[str, int]]:
        """Components with `.` and `/` between them, from left to right; the first may have a `/` before it."""
        divides = begins and self._take("/")
        factor, powers = Fraction(1), dict[str, int]()
        while True:
            value, dimensions = self._component()
            factor = factor / value if divides else factor * value
            for name, power in dimensions.items():
                powers[name] = powers.get(name, 0) + (-power if divides else power)
            divides = self._take("/")
            if not divides and not self._take("."):
                return factor, powers

    def end(self) -> None:
        """Raises Unknown when there is more."""
        if self._at != len(self._code):
            raise Unknown(self._code)

    def _component(self) -> tuple[Fraction, dict[str, int]]:
        if self._take("("):
            found = self.term(begins=True)
            if not self._take(")"):
                raise Unknown(self._code)
            self._skip_note()
            return found
        match = _TOKEN.match(self._code, self._at)
        if match is None or match["sign"]:
            raise Unknown(self._code)
        self._at = match.end()
        if match["note"]:  # an annotation alone is 1
            return Fraction(1), {}
        found = (Fraction(int(match["number"])), {}) if match["number"] else _power(match["symbol"], match["power"])
        self._skip_note()
        return found

    def _skip_note(self) -> None:
        match = _TOKEN.match(self._code, self._at)
        if match is not None and match["note"]:
            self._at = match.end()

    def _take(self, sign: str) -> bool:
        is_next = self._code[self._at : self._at + 1] == sign
        self._at += is_next
        return is_next


def _power(symbol: str, written: str | None) -> tuple[Fraction, dict[str, int]]:
    power = int(written or 1) if len(written or "") < 4 else 0
    if not 0 < abs(power) < _MOST_POWER:
        raise Unknown(symbol)
    factor, dimensions = _atom(symbol)
    return factor**power, {name: each * power for name, each in dimensions}


@lru_cache(maxsize=1_024)
def _atom(symbol: str) -> tuple[Fraction, Dimensions]:
    """One symbol: a unit, or a prefix and a unit that takes one."""
    table = units.load()
    found = _plain(symbol)
    if found is not None:
        return found
    for length in (2, 1):
        prefix, rest = table.prefixes.get(symbol[:length]), symbol[length:]
        if prefix is not None and (rest in table.bases or (rest in table.units and table.units[rest].takes_prefixes)):
            plain = _plain(rest)
            if plain is not None:
                return prefix * plain[0], plain[1]
    raise Unknown(symbol)


def _plain(symbol: str) -> tuple[Fraction, Dimensions] | None:
    """A unit without a prefix; None when there is none, or when it is a temperature, which only stands alone."""
    table = units.load()
    if symbol in table.bases or symbol in _OWN:
        return Fraction(1), ((symbol, 1),)
    unit = table.units.get(symbol)
    if unit is None or unit.kind in _ZERO:
        return None
    if unit.kind and not (unit.unit in table.units and table.units[unit.unit].kind == unit.kind):
        return Fraction(1), ((symbol, 1),)
    factor, dimensions = _read(unit.unit)
    return unit.factor * factor, dimensions
