"""JSON as FHIR needs it: decimals kept as written, duplicate properties refused (FHIR R4 json.html)."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import orjson

from fhir_server.fhir.errors import BadRequest

MAX_DEPTH = 60
_LONGEST_INTEGER = 19  # characters; every shorter one fits into 64 bits
_SURROGATE = rb"\ud"


class WrittenDecimal(Decimal):
    """A decimal whose Python form differs from what the client wrote (`1e5`); `text` is what it wrote."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "WrittenDecimal":  # noqa: D102
        value = super().__new__(cls, text)
        value.text = text
        return value


def parse(body: bytes | str) -> Any:
    """The value of a JSON text; numbers with a point or an exponent become `Decimal`.

    Raises BadRequest for malformed JSON, a property given twice, or nesting deeper than MAX_DEPTH.
    """
    try:
        text = body if isinstance(body, str) else body.decode("utf-8-sig")
        value = _decoder.decode(text)
    except _Duplicate as error:
        raise BadRequest(
            f"The property '{error}' occurs twice in one object; give it once.", code="structure"
        ) from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (byte {error.start}).", code="structure") from error
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.", code="structure"
        ) from error
    except (RecursionError, ValueError) as error:
        raise BadRequest(
            "The body is not JSON that this server reads: it is nested too deep, or a number in it "
            "is not a JSON number.",
            code="structure",
        ) from error
    # Nothing can be nested deeper than it has brackets.
    if text.count("{") + text.count("[") > MAX_DEPTH and depth_exceeds(value, MAX_DEPTH):
        raise BadRequest(f"The body is nested deeper than {MAX_DEPTH} levels.", code="structure")
    if _SURROGATE in (body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")).lower():
        serialise(value)  # an escaped half of a pair must not get as far as an answer, which could not be sent
    return value


def parse_own(body: bytes) -> Any:
    """The value of a text that `serialise` made, which may hold deeper ones than anybody may send."""
    return _decoder.decode(body.decode())


def serialise(value: Any) -> bytes:
    """Compact UTF-8 JSON; decimals as they were written.

    Raises BadRequest for a string that is no Unicode text (a lone surrogate).
    """
    try:
        return orjson.dumps(value, default=_decimal_text)
    except TypeError as error:
        raise BadRequest("A string in the body is not valid Unicode (a lone surrogate).", code="value") from error


def serialise_pretty(value: Any) -> bytes:
    """Like `serialise`, indented for people."""
    return orjson.dumps(value, default=_decimal_text, option=orjson.OPT_INDENT_2)


def serialise_sorted(value: Any) -> bytes:
    """Like `serialise`, the same for objects that differ only in the order of their properties."""
    return orjson.dumps(value, default=_decimal_text, option=orjson.OPT_SORT_KEYS)


def copy(value: Any) -> Any:
    """A copy that shares no object or array."""
    if value.__class__ is dict:
        return {name: copy(held) if held.__class__ in (dict, list) else held for name, held in value.items()}
    if value.__class__ is list:
        return [copy(held) if held.__class__ in (dict, list) else held for held in value]
    return value


class _Duplicate(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Duplicate(next(name for name in names if names.count(name) > 1))
    return made


def _written(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:  # an exponent beyond what Decimal holds
        raise ValueError(text) from error
    return value if str(value) == text else WrittenDecimal(text)


def _integer(text: str) -> int | Decimal:
    """An integer of 64 bits; a longer number, or -0, can only be a FHIR decimal and is kept as written."""
    return int(text) if len(text) < _LONGEST_INTEGER and text != "-0" else Decimal(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_written, parse_int=_integer, parse_constant=_no_constant
)


def _decimal_text(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(getattr(value, "text", None) or str(value))
    raise TypeError(f"{type(value).__name__} is no JSON value")


def depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers are nested deeper than `limit`, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return bool(level)
