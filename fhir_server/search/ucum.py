"""UCUM units by their canonical form, in exact arithmetic: `mg` and `ug` are the same unit times a number.

The units of health care, with every prefix, product, quotient, power and annotation of the grammar. A unit that is not
here is compared by its own code alone. An amount of substance stays `mol`, and each arbitrary unit its own dimension.
Source: The Unified Code for Units of Measure, version 2.1, §2 and §4.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

SYSTEM = "http://unitsofmeasure.org"

_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3,
    "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_BASES = ("m", "s", "g", "rad", "K", "C", "cd", "mol")
_ARBITRARY = (
    "[iU]", "[arb'U]", "[USP'U]", "[GPL'U]", "[MPL'U]", "[APL'U]", "[CFU]", "[PFU]", "[pH]", "osm", "[HPF]", "[LPF]",
    "[drp]", "[PNU]", "[ELU]", "[EU]", "[bdsk'U]", "[AU]", "[Amb'a'1'U]", "[D'ag'U]", "B",
)  # fmt: skip
# Atom -> (number, unit in other atoms). Those that take prefixes, then those that do not.
_METRIC = {
    "sr": ("1", "rad2"), "Hz": ("1", "s-1"), "N": ("1", "kg.m.s-2"), "Pa": ("1", "N.m-2"), "J": ("1", "N.m"),
    "W": ("1", "J.s-1"), "A": ("1", "C.s-1"), "V": ("1", "J.C-1"), "F": ("1", "C.V-1"), "Ohm": ("1", "V.A-1"),
    "S": ("1", "Ohm-1"), "Wb": ("1", "V.s"), "T": ("1", "Wb.m-2"), "H": ("1", "Wb.A-1"), "lm": ("1", "cd.sr"),
    "lx": ("1", "lm.m-2"), "Bq": ("1", "s-1"), "Gy": ("1", "J.kg-1"), "Sv": ("1", "J.kg-1"), "l": ("1", "dm3"),
    "L": ("1", "dm3"), "ar": ("100", "m2"), "t": ("1000", "kg"), "bar": ("100000", "Pa"), "eq": ("1", "mol"),
    "kat": ("1", "mol.s-1"), "U": ("1", "umol.min-1"), "cal": ("4.184", "J"), "m[Hg]": ("133.3220", "kPa"),
    "m[H2O]": ("9.80665", "kPa"), "dyn": ("1", "g.cm.s-2"), "erg": ("1", "dyn.cm"), "Ci": ("37000000000", "Bq"),
    "eV": ("0.0000000000000000001602176634", "J"), "u": ("0.000000000000000000000001660539", "g"),
    "[IU]": ("1", "[iU]"), "g%": ("1", "g.dl-1"),
    "P": ("1", "dyn.s.cm-2"), "St": ("1", "cm2.s-1"), "RAD": ("0.01", "Gy"),
    "REM": ("1", "RAD"),
}  # fmt: skip
_OTHER = {
    "10*": ("10", ""), "10^": ("10", ""), "%": ("0.01", ""), "[ppth]": ("0.001", ""), "[ppm]": ("0.000001", ""),
    "[ppb]": ("0.000000001", ""), "min": ("60", "s"), "h": ("60", "min"), "d": ("24", "h"), "wk": ("7", "d"),
    "a": ("365.25", "d"), "a_j": ("365.25", "d"), "mo": ("30.4375", "d"), "mo_j": ("30.4375", "d"),
    "[in_i]": ("2.54", "cm"), "[ft_i]": ("12", "[in_i]"), "[yd_i]": ("3", "[ft_i]"), "[mi_i]": ("5280", "[ft_i]"),
    "[nmi_i]": ("1852", "m"), "[gr]": ("64.79891", "mg"), "[lb_av]": ("7000", "[gr]"), "[oz_av]": ("437.5", "[gr]"),
    "[stone_av]": ("14", "[lb_av]"), "[gal_us]": ("231", "[cin_i]"), "[cin_i]": ("1", "[in_i]3"),
    "[qt_us]": ("0.25", "[gal_us]"), "[pt_us]": ("0.125", "[gal_us]"), "[foz_us]": ("0.0078125", "[gal_us]"),
    "[tbs_us]": ("0.5", "[foz_us]"), "[cup_us]": ("8", "[foz_us]"), "[sft_i]": ("1", "[ft_i]2"),
    "[sin_i]": ("1", "[in_i]2"), "[lbf_av]": ("4.4482216152605", "N"), "[psi]": ("1", "[lbf_av].[sin_i]-1"),
    "atm": ("101325", "Pa"), "[Cal]": ("1", "kcal"), "[mesh_i]": ("1", "[in_i]-1"), "[diop]": ("1", "m-1"),
}  # fmt: skip
# Temperatures: kelvins = value * factor + offset.
_AFFINE = {"Cel": (Fraction(1), Fraction("273.15")), "[degF]": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9))}
_TERM = re.compile(r"(10[*^]|(?:[A-Za-z%]+\d*(?=\[)|[A-Za-z%_]*)(?:\[[^\]]+\])?)([+-]?\d+)?")
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
    if code in _AFFINE:
        return Canonical("K", *_AFFINE[code])
    try:
        factor, dimensions = _unit(code)
    except Unknown:
        return None
    return Canonical(
        ".".join(f"{name}{power}" for name, power in dimensions) or "1", factor, multiplier=_decimal(factor)
    )


def _decimal(factor: Fraction) -> Decimal | None:
    """The factor as a decimal of at most 34 digits; None when it is none."""
    made = _ROUNDED.divide(Decimal(factor.numerator), Decimal(factor.denominator))
    return made if Fraction(made) == factor else None


def _unit(code: str) -> tuple[Fraction, Dimensions]:
    # An annotation alone is 1; after a unit it says nothing (UCUM §12).
    text = re.sub(r"\{[^{}]*\}", "", re.sub(r"(^|[./])\{[^{}]*\}", r"\g<1>1", code))
    if len(text) > 64 or not text or re.search(r"[(]|[./]$|[./][./]|^\.", text):
        raise Unknown(code)
    factor, powers, divide = Fraction(1), dict[str, int](), False
    for part in re.split(r"([./])", text):
        if part in (".", "/"):
            divide = part == "/"
        elif part:
            value, dimensions = _power(part)
            factor = factor / value if divide else factor * value
            for name, power in dimensions:
                powers[name] = powers.get(name, 0) + (-power if divide else power)
    return factor, tuple(sorted((name, power) for name, power in powers.items() if power))


def _power(part: str) -> tuple[Fraction, Dimensions]:
    if part.isdigit():
        return Fraction(int(part)), ()
    match = _TERM.fullmatch(part)
    if match is None or not match[1]:
        raise Unknown(part)
    factor, dimensions = _atom(match[1])
    power = int(match[2] or 1)
    if not 0 < abs(power) < 40:
        raise Unknown(part)
    return factor**power, tuple((name, each * power) for name, each in dimensions)


@lru_cache(maxsize=1_024)
def _atom(name: str) -> tuple[Fraction, Dimensions]:
    found = _plain(name)
    if found is not None:
        return found
    for length in (2, 1):
        if name[:length] in _PREFIXES and (name[length:] in _BASES or name[length:] in _METRIC):
            factor, dimensions = _atom(name[length:])
            return factor * Fraction(10) ** _PREFIXES[name[:length]], dimensions
        if name[:length] in _PREFIXES and name[length:] in ("osm", "[iU]", "[IU]"):
            return Fraction(10) ** _PREFIXES[name[:length]], ((name[length:].replace("IU", "iU"), 1),)
    raise Unknown(name)


def _plain(name: str) -> tuple[Fraction, Dimensions] | None:
    if name in _BASES or name in _ARBITRARY:
        return Fraction(1), ((name, 1),)
    number, unit = _METRIC.get(name) or _OTHER.get(name) or ("", "")
    if not number:
        return None
    factor, dimensions = _unit(unit) if unit else (Fraction(1), ())
    return Fraction(number) * factor, dimensions
