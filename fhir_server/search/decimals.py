"""Numbers as text keys that sort like the numbers, so that no store's idea of a number enters an answer.

A key is `0` and the complemented body (negative), `1` (zero) or `2` and the body (positive). The body is the
exponent's length (one character around `M`), the exponent and the digits without trailing zeros. Every character of a
key sorts above `!`, so a stored exact value x is the half-open interval [key(x), key(x) + "!").

Source: FHIR R4 search.html#number, search.html#quantity.
"""

import re
from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

from profiles.primitives import MAX_EXPONENT

# Below and above every key.
LEAST = ""
GREATEST = "~"
Scale = Callable[[Decimal | int], Decimal | int]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_MIDDLE = ord("M")
_FLIP_DIGITS = str.maketrans("0123456789", "9876543210")
_EXACT = Context(prec=4000, Emax=10_000_000, Emin=-10_000_000)


@lru_cache(maxsize=8_192)
def key(value: Decimal | int) -> str:
    """The order-preserving key of a finite number; equal numbers (1.5 and 1.50) have one key."""
    sign, digits, exponent = Decimal(value).as_tuple()
    text = "".join(map(str, digits))
    written = text.lstrip("0")
    if not written:
        return "1"
    body = _exponent_key(int(exponent) + len(written) - 1) + written.rstrip("0")
    return "2" + body if not sign else "0" + _complement(body)


def exact(value: Decimal | int) -> tuple[str, str]:
    """The interval of an exact value."""
    lo = key(value)
    return lo, lo + "!"


def parse(text: str) -> Decimal:
    """The number that a client wrote; a single figure with an exponent as if a zero came after it, for `implied`.

    Raises ValueError, also for one that no resource can have.
    """
    if len(text) > 100 or not _NUMBER.fullmatch(text):
        raise ValueError(text)
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error
    if abs(value.adjusted()) > MAX_EXPONENT:
        raise ValueError(text)
    sign, digits, exponent = value.as_tuple()
    if len(digits) == 1 and "e" in text.lower():
        return Decimal((sign, (*digits, 0), int(exponent) - 1))
    return value


def implied(value: Decimal, scale: Scale | None = None) -> tuple[str, str]:
    """The interval that a number means by its precision: 100 is [99.5, 100.5), 1e2 is [95, 105), as R4 has it."""
    half = Decimal((0, (5,), int(value.as_tuple().exponent) - 1))
    lo, hi = _EXACT.subtract(value, half), _EXACT.add(value, half)
    return (key(lo), key(hi)) if scale is None else (key(scale(lo)), key(scale(hi)))


def approximately(value: Decimal, scale: Scale | None = None) -> tuple[str, str]:
    """The interval from 10 % below to 10 % above a number, both included."""
    tenth = _EXACT.divide(abs(value), Decimal(10))
    lo, hi = _EXACT.subtract(value, tenth), _EXACT.add(value, tenth)
    return (key(lo), key(hi) + "!") if scale is None else (key(scale(lo)), key(scale(hi)) + "!")


def _exponent_key(exponent: int) -> str:
    digits = str(abs(exponent))
    if exponent >= 0:
        return chr(_MIDDLE + len(digits)) + digits
    return chr(_MIDDLE - len(digits)) + digits.translate(_FLIP_DIGITS)


def _complement(body: str) -> str:
    # "~" ends it, so that of two negatives the one with more digits sorts first.
    return chr(2 * _MIDDLE - ord(body[0])) + body[1:].translate(_FLIP_DIGITS) + "~"
