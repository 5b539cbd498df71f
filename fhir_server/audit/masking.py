"""What callers put into URLs, forms and headers where it does not belong: tokens, passwords and secrets.

The log keeps what was asked for years, and nobody can take it out again. So what has the name or the shape of a
credential is left out before it is recorded.
"""

import re
from functools import lru_cache
from urllib.parse import unquote_plus

LEFT_OUT = "(left out)"
# Longer ones are not remembered.
_SHORT = 500
# No search parameter of R4 has one of these in its name.
_NAMES = re.compile(r"(?i)token|secret|passw|assertion|verifier|api[-_]?key|authorization|credential|receipt")
# JWTs (or what is left of one), receipts of proposals, and the values of Authorization headers.
_SHAPES = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*|\bpr\.[A-Za-z0-9_-]{16,}|(?i:\b(?:bearer|basic)(?:\s|\+|%20)+[^\s&]+)"
)
# No string of FHIR has these (R4 datatypes.html#string), nor has a URL.
_CONTROLS = {code: f"%{code:02X}" for code in (*range(32), 127)}


def visible(given: str) -> str:
    """A text with its control characters as a URL has them."""
    return given if given.isprintable() else given.translate(_CONTROLS)


def text(given: str) -> str:
    """A path or a header's value without what has the shape of a credential."""
    return _SHAPES.sub(LEFT_OUT, given)


def pairs(given: str) -> str:
    """A query string or form, as it was sent, without the values that are credentials by name or shape."""
    return _known(given) if len(given) <= _SHORT else _pairs(given)


def _pairs(given: str) -> str:
    return "&".join(map(_pair, given.split("&")))


_known = lru_cache(maxsize=1_024)(_pairs)  # callers ask the same again and again


def _pair(given: str) -> str:
    name, is_pair, value = given.partition("=")
    if not is_pair:  # no parameter: whatever it is
        return LEFT_OUT if given else ""
    decoded = unquote_plus(given)  # a name or shape may show only then
    if _NAMES.search(decoded.partition("=")[0]) or (decoded != given and _SHAPES.search(decoded)):
        return f"{text(name)}={LEFT_OUT}"
    return f"{text(name)}={text(value)}"
