"""The table of UCUM's units that `compile_ucum` wrote; it is read at first use."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import orjson

_TABLE = Path(__file__).parent / "ucum" / "units.json.gz"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a number of another. `kind`: '', `arbitrary`, or the function that a special unit's scale is."""

    factor: Fraction
    unit: str
    takes_prefixes: bool
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Units:
    """The base units, the others and the prefixes by their case-sensitive codes."""

    bases: frozenset[str]
    units: Mapping[str, Unit]
    prefixes: Mapping[str, Fraction]


@lru_cache(maxsize=1)
def load() -> Units:
    """The table, read once."""
    found = orjson.loads(gzip.decompress(_TABLE.read_bytes()))
    units = {code: Unit(Fraction(number), *rest) for code, (number, *rest) in found["units"].items()}
    prefixes = {code: Fraction(number) for code, number in found["prefixes"].items()}
    return Units(frozenset(found["bases"]), units, prefixes)
