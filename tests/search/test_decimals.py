"""Number keys sort like numbers; written precision means an interval (FHIR R4 search.html#number)."""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_server.search.decimals import GREATEST, LEAST, approximately, exact, implied, key, parse

numbers = st.builds(
    lambda sign, digits, exponent: Decimal((sign, tuple(digits), exponent)),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), min_size=1, max_size=20),
    st.one_of(st.integers(-30, 30), st.integers(-999_999, 999_999)),
)


@given(numbers, numbers)
@example(Decimal("0"), Decimal("-0.0"))
@example(Decimal("-1.2"), Decimal("-1.23"))
@example(Decimal("1e9"), Decimal("1e10"))
@example(Decimal("1e-9"), Decimal("1e-10"))
@example(Decimal("1.50"), Decimal("1.5"))
def test_keys_sort_like_numbers(one: Decimal, other: Decimal) -> None:
    assert (key(one) < key(other)) == (one < other)
    assert (key(one) == key(other)) == (one == other)


@given(numbers, numbers)
@example(Decimal("1.2"), Decimal("1.23"))
@example(Decimal("-1.2"), Decimal("-1.23"))
def test_an_exact_interval_holds_its_number_alone(one: Decimal, other: Decimal) -> None:
    lo, hi = exact(one)
    assert (lo <= key(other) < hi) == (one == other)


@given(numbers)
def test_bounds_lie_outside_all_keys(number: Decimal) -> None:
    lo, hi = exact(number)
    assert LEAST < lo < hi < GREATEST
    assert key(number).isascii()
    assert key(number).isprintable()
    assert min(key(number)) > "!"


@pytest.mark.parametrize(
    ("written", "lo", "hi"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1e2", "95", "105"),
        ("1.0e2", "95", "105"),
        ("1.00e2", "99.5", "100.5"),
        ("1e-2", "0.0095", "0.0105"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("0", "-0.5", "0.5"),
        ("-3", "-3.5", "-2.5"),
        ("1.50e10", "14950000000", "15050000000"),
    ],
)
def test_written_precision_is_an_interval(written: str, lo: str, hi: str) -> None:
    assert implied(parse(written)) == (key(Decimal(lo)), key(Decimal(hi)))


@pytest.mark.parametrize(("written", "lo", "hi"), [("100", "90", "110"), ("-100", "-110", "-90"), ("0", "0", "0")])
def test_approximately_is_a_tenth_either_way(written: str, lo: str, hi: str) -> None:
    assert approximately(parse(written)) == (key(Decimal(lo)), exact(Decimal(hi))[1])


@pytest.mark.parametrize("text", ["1", "+1", "-1.5", ".5", "1.", "1e5", "1E-5"])
def test_numbers_are_read(text: str) -> None:
    assert parse(text) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["", "-", "1,5", "NaN", "Infinity", "1e", "0x10", "1_000", "١", "1e9999999", "9" * 101]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_numbers_as_stored_in_json_have_keys() -> None:
    assert key(5) == key(Decimal("5.000"))
    assert key(10**40) > key(Decimal("9e39"))
