"""UCUM units by their canonical form (UCUM 2.1)."""

from decimal import Decimal

import pytest

from fhir_server.search.ucum import canonical

# (value, unit) and (value, unit) that are the same.
SAME = (
    ("5.4", "mg", "5400", "ug"),
    ("1", "mg/dL", "10", "mg/L"),
    ("120", "mm[Hg]", "15.99864", "kPa"),
    ("60", "/min", "1", "Hz"),
    ("1", "10*9/L", "1000", "10*6/L"),
    ("1", "10*3/uL", "1", "10^9/L"),
    ("37", "Cel", "98.6", "[degF]"),
    ("1", "[lb_av]", "453.59237", "g"),
    ("1", "[in_i]", "2.54", "cm"),
    ("1", "mmol/L", "1000", "umol/L"),
    ("50", "%", "0.5", "1"),
    ("1", "m[IU]/L", "1", "u[iU]/mL"),
    ("2", "mL/min/{1.73_m2}", "120", "mL/h"),
    ("1", "d", "86400", "s"),
    ("1", "kcal", "4.184", "kJ"),
    ("3", "{score}", "3", "1"),
    ("24", "mg/(kg.d)", "1", "mg/kg/h"),
    ("1", "mosm/kg", "1", "mmol/kg"),
    ("1", "J/(K.mol)", "1", "kg.m2.s-2.K-1.mol-1"),
    ("9", "mg/g{feces}", "9", "g/kg"),
    ("80", "Cel", "64", "[degRe]"),
)
DIFFERENT = (
    ("mg", "mL"),
    ("[iU]", "mg"),
    ("mol", "g"),
    ("[pH]", "1"),
    ("m2", "m"),
    ("[CFU]", "1"),
    ("[iU]", "[arb'U]"),
    ("B", "Np"),
)
UNKNOWN = (
    "",
    "bad",
    "mgg",
    "kilogram",
    "m" * 100,
    "m999",
    "/",
    "{",
    "mg//",
    "10*9999999",
    "(mg",
    "mg)",
    "()",
    "Cel/s",
    "mCel",
    "mg.",
    ".mg",
    "mg..g",
    "Torr",
)


@pytest.mark.parametrize(("one", "unit", "other", "other_unit"), SAME)
def test_units_are_the_same(one: str, unit: str, other: str, other_unit: str) -> None:
    left, right = canonical(unit), canonical(other_unit)
    assert left is not None
    assert right is not None
    assert left.name == right.name
    assert left.scale(Decimal(one)) == right.scale(Decimal(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_units_are_not_mixed(one: str, other: str) -> None:
    left, right = canonical(one), canonical(other)
    assert left is not None
    assert right is not None
    assert left.name != right.name


@pytest.mark.parametrize("code", UNKNOWN)
def test_what_is_not_known_is_told(code: str) -> None:
    assert canonical(code) is None
