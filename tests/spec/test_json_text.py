"""JSON in and out (FHIR R4 json.html)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.json import MAX_DEPTH, parse, serialise, serialise_pretty


@pytest.mark.parametrize(
    "text",
    ["1.50", "0.0", "1e5", "1E-7", "-0", "-0.0", "9223372036854775808", "123456789012345678901234567890", "1.0e+10",
     "9" * 400, '{"a":[1.10,{"b":-2e0}]}', '"\\u0000"', '"ü😀"', "true", "null", "[]", "{}"],
)  # fmt: skip
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert serialise(parse(text)) == text.encode()
    assert parse(serialise_pretty(parse(text))) == parse(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "{]", "[1,]", '{"a":1,}', "{a:1}", "'a'", "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1",
     "1e", '"\t"', '"a', '{"a":1} x', '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '"\\ud800"', '"\\uDFFF"',
     '{"\\ud83d":1}', "1e99999999999999999999", "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 100_000],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert caught.value.issues[0].code in ("structure", "value")


@pytest.mark.parametrize("body", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', b"\x00", "{}".encode("utf-16")])
def test_bytes_that_are_no_utf8_are_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_a_byte_order_mark_is_let_through() -> None:
    assert parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_nesting_up_to_the_limit_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert serialise(parse(text)) == text.encode()


_numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | st.text() | _numbers,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(_values)
def test_any_value_comes_back(value: object) -> None:
    text = json.dumps(value, default=str)
    assert parse(serialise(parse(text))) == parse(text)
