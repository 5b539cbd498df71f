"""The primitive types: which JSON values are theirs (FHIR R4 datatypes.html#primitive, json.html#primitive).

Each test takes any JSON value and says whether it is a value of the type. The grammars are the published ones; where
a regex alone is too weak (days of a month, ranges, base64) or too slow (strings), code does the rest.
"""

import binascii
import re
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Test = Callable[[Any], bool]

MAX_STRING = 1024 * 1024
# FHIR sets no bound; one request must not be able to ask for a number that takes seconds to reckon with.
MAX_DIGITS = 1_000
MAX_EXPONENT = 1_000

# What XML has no way to write (XML 1.0 §2.2, Char).
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CODE = re.compile(r"[^\s]+(\s[^\s]+)*", re.ASCII)
_NO_BLANK = re.compile(r"\S+", re.ASCII)
_BLANKS = str.maketrans("", "", " \t\r\n")

_YEAR = r"(?!0000)[0-9]{4}"
_DAY = r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_is_id = re.compile(r"[A-Za-z0-9\-.]{1,64}").fullmatch
_is_date = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_DAY})?").fullmatch
_is_date_time = re.compile(rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_DAY}(T{_TIME}{_ZONE})?)?").fullmatch
_is_instant = re.compile(rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}").fullmatch
_is_time = re.compile(_TIME).fullmatch
_is_oid = re.compile(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+").fullmatch
_is_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def is_string(value: Any) -> bool:
    """Not empty, at most 1 MiB of characters, no control characters but tab, line feed and carriage return."""
    return (
        type(value) is str
        and value != ""
        and (value.isprintable() or _CONTROL.search(value) is None)
        and len(value) <= MAX_STRING
    )


def is_code(value: Any) -> bool:
    """No blanks at the ends, and single ones inside."""
    return is_uri(value) or (is_string(value) and _CODE.fullmatch(value) is not None)


def is_uri(value: Any) -> bool:
    """No blanks. Also canonical and url, which differ in meaning alone."""
    if type(value) is str and value != "" and " " not in value and value.isprintable():
        return len(value) <= MAX_STRING
    return is_string(value) and _NO_BLANK.fullmatch(value) is not None


def is_id(value: Any) -> bool:
    """Up to 64 letters, digits, hyphens and points."""
    return type(value) is str and _is_id(value) is not None


def is_oid(value: Any) -> bool:
    """`urn:oid:` and numbers."""
    return type(value) is str and _is_oid(value) is not None


def is_uuid(value: Any) -> bool:
    """`urn:uuid:` and lower-case hexadecimal digits."""
    return type(value) is str and _is_uuid(value) is not None


def is_date(value: Any) -> bool:
    """A year, a month or a day that exists."""
    return type(value) is str and _is_date(value) is not None and (value[8:10] < "29" or _day_exists(value))


def is_date_time(value: Any) -> bool:
    """A date, or a time of a day to the second with its zone."""
    return type(value) is str and _is_date_time(value) is not None and (value[8:10] < "29" or _day_exists(value))


def is_instant(value: Any) -> bool:
    """A time of a day to the second at least, with its zone."""
    return type(value) is str and _is_instant(value) is not None and (value[8:10] < "29" or _day_exists(value))


def is_time(value: Any) -> bool:
    """A time of day to the second, without a zone."""
    return type(value) is str and _is_time(value) is not None


def is_boolean(value: Any) -> bool:
    """JSON true or false."""
    return value is True or value is False


def is_integer(value: Any) -> bool:
    """A JSON number without point or exponent, of 32 bits with sign."""
    return type(value) is int and -2_147_483_648 <= value <= 2_147_483_647


def is_unsigned_int(value: Any) -> bool:
    """An integer from 0."""
    return type(value) is int and 0 <= value <= 2_147_483_647


def is_positive_int(value: Any) -> bool:
    """An integer from 1."""
    return type(value) is int and 1 <= value <= 2_147_483_647


def is_decimal(value: Any) -> bool:
    """A JSON number within bounds; parsed to int or Decimal, for a float has lost the written precision."""
    return type(value) is int or (isinstance(value, Decimal) and value.is_finite() and is_bounded(value))


def is_bounded(value: Decimal) -> bool:
    """Whether a finite number has no more digits, and no larger exponent either way, than a resource's may have."""
    return abs(value.adjusted()) <= MAX_EXPONENT and len(value.as_tuple().digits) <= MAX_DIGITS


def is_base64_binary(value: Any) -> bool:
    """Whole groups of four; blanks are ignored."""
    if type(value) is not str or not value or not value.isascii():
        return False
    return _is_base64(value) or _is_base64(value.translate(_BLANKS))


def _is_base64(text: str) -> bool:
    try:
        return bool(binascii.a2b_base64(text, strict_mode=True))
    except binascii.Error:
        return False


def _day_exists(text: str) -> bool:
    return int(text[8:10]) <= monthrange(int(text[:4]), int(text[5:7]))[1]


# Type -> (test, what a value looks like). xhtml is in `narrative`.
PRIMITIVES: dict[str, tuple[Test, str]] = {
    "base64Binary": (is_base64_binary, "base64 text in whole groups of four characters"),
    "boolean": (is_boolean, "true or false, without quotes"),
    "canonical": (is_uri, "a URL without blanks"),
    "code": (is_code, "a code without blanks at its ends or two in a row"),
    "date": (is_date, "an existing YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": (is_date_time, "an existing YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or +hh:mm"),
    "decimal": (
        is_decimal,
        f"a number without quotes, of at most {MAX_DIGITS} digits and exponent {MAX_EXPONENT}",
    ),
    "id": (is_id, "1 to 64 letters, digits, '-' and '.'"),
    "instant": (is_instant, "an existing YYYY-MM-DDThh:mm:ss with Z or +hh:mm"),
    "integer": (is_integer, "a whole number of 32 bits, without quotes"),
    "markdown": (is_string, "text that is not empty, without control characters"),
    "oid": (is_oid, "an OID such as urn:oid:1.2.3"),
    "positiveInt": (is_positive_int, "a whole number from 1, without quotes"),
    "string": (is_string, "text that is not empty, without control characters"),
    "time": (is_time, "hh:mm:ss"),
    "unsignedInt": (is_unsigned_int, "a whole number from 0, without quotes"),
    "uri": (is_uri, "a URI without blanks"),
    "url": (is_uri, "a URL without blanks"),
    "uuid": (is_uuid, "a UUID such as urn:uuid: and 36 characters in lower case"),
}

_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})


def has_json_type(type_: str, value: Any) -> bool:
    """Whether the value is of the JSON type that carries the primitive, whatever its content."""
    if type_ == "boolean":
        return isinstance(value, bool)
    if type_ in _NUMBERS:
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return isinstance(value, str)
