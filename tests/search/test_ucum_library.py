"""The table and grammar of units against ucumvert, which reads UCUM's own file (docs/decisions/0024-own-ucum.md)."""

import gzip
import warnings
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest

from fhir_server.search.ucum import canonical
from profiles import compile_ucum, units

# Where pint has a definition of its own in the place of UCUM's (another unit of the name, or another value of it).
OTHERS = frozenset(
    ("'", "''", "Mx", "G", "Oe", "[cft_i]", "[cyd_i]", "[rd_br]", "[ch_br]", "[lk_br]", "[didot]", "[cicero]",
     "cal_[15]", "[Cal]", "[Btu]", "[in_i'H2O]", "[in_i'Hg]", "g%", "[LPF]")
)  # fmt: skip
# What ucumvert's grammar takes and pint has no unit for.
WITHOUT_PINT = frozenset({"[pH]"})


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ucumvert import PintUcumRegistry

        yield PintUcumRegistry()


def test_the_table_is_what_the_library_carries() -> None:
    """Byte for byte, before compression."""
    made = compile_ucum.written(compile_ucum.table(compile_ucum.essence()))
    assert gzip.decompress((compile_ucum.OUT / "units.json.gz").read_bytes()) == made


def test_every_unit_is_known() -> None:
    table = units.load()
    assert [code for code in (*table.units, *table.bases) if canonical(code) is None] == []
    metric = [code for code, unit in table.units.items() if unit.takes_prefixes and unit.kind not in ("Cel",)]
    missing = [prefix + code for code in metric for prefix in table.prefixes if canonical(prefix + code) is None]
    assert missing == []


def test_factors_are_the_librarys(library: Any) -> None:
    """Every unit of a plain scale, within what pint's constants differ from UCUM's by."""
    different = set()
    for code in (code for code, unit in units.load().units.items() if not unit.kind):
        ours = canonical(code)
        assert ours is not None
        try:
            theirs = library.from_ucum(code).to(library.from_ucum(ours.name)).magnitude
        except Exception:  # noqa: BLE001 - of pint's many, each says that it is another unit
            different.add(code)
            continue
        if abs(float(ours.factor) / float(theirs) - 1) > 1e-5:
            different.add(code)
    assert different == OTHERS


def test_the_official_examples_are_read_as_the_library_reads_them(library: Any) -> None:
    """The units that UCUM publishes as commonly used: a unit here if and only if ucumvert's grammar takes it."""
    lines = (files("ucumvert") / "vendor" / "ucum_examples.tsv").read_text(encoding="utf-8").splitlines()
    codes = [line.split("\t")[1].strip() for line in lines[1:]]
    assert len(codes) > 800
    different = [code for code in codes if (canonical(code) is None) == _is_unit(library, code)]
    assert set(different) == WITHOUT_PINT


def _is_unit(library: Any, code: str) -> bool:
    try:
        library.from_ucum(code)
    except Exception:  # noqa: BLE001 - lark's and pint's
        return False
    return True


@pytest.mark.parametrize("value", [Fraction(1), Fraction(37), Fraction(-40)])
@pytest.mark.parametrize("code", ["Cel", "[degF]", "[degRe]"])
def test_temperatures_are_the_librarys(library: Any, code: str, value: Fraction) -> None:
    ours = canonical(code)
    assert ours is not None
    quantity = library.Quantity(float(value), library.from_ucum(code).units)
    assert float(value * ours.factor + ours.offset) == pytest.approx(quantity.to("kelvin").magnitude)
