"""One sought value, as a client wrote it, to a plan node (FHIR R4 search.html#prefix and the sections of each type).

The sought value of a date, number or quantity is an interval v = [lo, hi): a date's by its precision; for `eq`, `ne`
and `ap` on numbers by the written precision, for other prefixes exact.

    eq  inside v                  ne  not eq, and there is a value
    gt  ends after v              ge  gt or eq
    lt  begins before v           le  lt or eq
    sa  begins at or after v ends eb  ends at or before v begins
    ap  overlaps v widened by a tenth: of the distance from now (date), of the value (number)
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.reference import is_id, local_reference
from fhir_server.search import composite, dates, decimals, near, spanned
from fhir_server.search.collected import presence
from fhir_server.search.escapes import split, unescape
from fhir_server.search.parameters import Parameter
from fhir_server.search.plan import Box, Interval, Node, Not, Shape, Target, Test, Text, Token, Uri, all_of, any_of
from fhir_server.search.spans import Scale, as_it_is, unit_of
from fhir_server.search.text import fold

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SECOND: Micros = 1_000_000
_PREFIXED = re.compile(r"([a-z]{2})?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reading:
    """How values are read: dates without a zone, URLs of this server, resource type names, and the present."""

    now: Micros
    types: frozenset[str]
    zone: tzinfo = UTC
    base_url: str = ""


# (parameter, name as written, one value with its escapes, how to read it)
Read = Callable[[Parameter, str, str, Reading], Node]


def token(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code of it)."""
    return Test(parameter.code, "token", _token(name, value), parameter.single)


def identifier(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """A reference's `identifier`, sought like a token."""
    return Test(parameter.code, "token", _token(name, value))


def of_type(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """An Identifier by `type system|type code|value`."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise BadRequest(f"'{name}' takes the identifier's type and value as system|code|value.", expression=name)
    return Test(f"{parameter.code}:of-type", "token", Token(f"{parts[1]}|{parts[2]}", parts[0]))


def token_text(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The beginning of a text or display of a code."""
    return Test(parameter.code, "string", Text(fold(unescape(value)), "starts"))


def starts(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The beginning of a string, without case and accents."""
    return Test(parameter.code, "string", Text(fold(unescape(value)), "starts"), parameter.single)


def contains(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """A part of a string, without case and accents."""
    return Test(parameter.code, "string", Text(fold(unescape(value)), "contains"), parameter.single)


def exact(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The whole string as written."""
    return Test(parameter.code, "string", Text(unescape(value), "exact"), parameter.single)


def whole(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The whole string, without case and accents."""
    return Test(parameter.code, "string", Text(fold(unescape(value)), "whole"), parameter.single)


def overlaps(parameter: Parameter, name: str, value: str, reading: Reading) -> Node:
    """A date or period that has a moment in common with a date."""
    lo, hi = _interval(name, value, reading)
    return Test(parameter.code, "date", Interval(Box(lo_below=hi, hi_above=lo)), parameter.single)


def uri(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The whole URI."""
    return Test(parameter.code, "uri", Uri(unescape(value)), parameter.single)


def uri_below(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The URI or one below it."""
    return Test(parameter.code, "uri", Uri(unescape(value), "below"), parameter.single)


def uri_above(parameter: Parameter, _name: str, value: str, _: Reading) -> Node:
    """The URI or one above it."""
    return Test(parameter.code, "uri", Uri(unescape(value), "above"), parameter.single)


def date(parameter: Parameter, name: str, value: str, reading: Reading) -> Node:
    """A date of any precision, with a prefix."""
    prefix, text = _prefix(name, value)
    lo, hi = _interval(name, text, reading)
    if prefix == "ap":
        margin = max(lo - reading.now, reading.now - hi, 0) // 10
        lo, hi = lo - margin, hi + margin
    return _compare(parameter, "date", prefix, lo, hi)


def number(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """A number, with a prefix."""
    return _compare(parameter, "number", *_number(name, value))


def quantity(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """`number`, `number|system|code` or `number||code` (a code or unit of any system), with a prefix."""
    written, *rest = split(value, "|")
    system, code = (unescape(part) for part in rest) if len(rest) == 2 else ("", "")
    if len(rest) not in (0, 2) or (system and not code):
        raise BadRequest(f"'{name}' takes a number, number|system|code or number||unit.", expression=name)
    unit, scale = unit_of(system, code) if system else (f"|{code}" if code else "", as_it_is)
    return _compare(parameter, "quantity", *_number(name, written, scale), unit=unit)


def reference(parameter: Parameter, name: str, value: str, reading: Reading) -> Node:
    """`id`, `Type/id` or an absolute URL; where canonicals are referred to, also a URL with or without |version."""
    text = unescape(value)
    found: list[Node] = []
    if "uri" in parameter.shapes:
        found.append(Test(parameter.code, "uri", Uri(text), parameter.single))
    if "reference" in parameter.shapes:
        sought = _target(parameter, text, reading)
        if sought:
            found.append(Test(parameter.code, "reference", sought, parameter.single))
        elif not found:
            raise BadRequest(f"'{name}' takes an id, Type/id or an absolute URL.", expression=name)
    return any_of(*found)


def reference_of(type_: str) -> Read:
    """A reader of references to one type, for the modifier `:[type]`."""

    def read(parameter: Parameter, name: str, value: str, reading: Reading) -> Node:
        text = unescape(value)
        local = local_reference(text, reading.base_url)
        id_ = local.id if local and local.type == type_ else text
        if not is_id(id_):
            raise BadRequest(f"'{name}' takes the id of a {type_}.", expression=name)
        return Test(parameter.code, "reference", Target(id_, type_), parameter.single)

    return read


def present(parameter: Parameter) -> Node:
    """There is a value, even one that makes no entry."""
    tests = [Test(parameter.code, shape, None, parameter.single) for shape in parameter.shapes]
    if not parameter.is_always_entered:
        tests.append(Test(presence(parameter.code), "token", None, single=True))
    return any_of(*tests)


def place(parameter: Parameter, name: str, value: str, _: Reading) -> Node:
    """`latitude|longitude|distance|units`."""
    return near.node(parameter.code, name, unescape(value))


def together(readers: Mapping[str, Mapping[str, Read]]) -> Read:
    """A reader of composites, `value$value`, whose second component is read as its own type is."""

    def read(parameter: Parameter, name: str, value: str, reading: Reading) -> Node:
        pair, parts = parameter.pair, split(value, "$")
        if parameter.span is not None:
            return _spanned(parameter, name, parts)
        if pair is None or len(parts) != 2 or not all(parts):
            raise BadRequest(f"'{name}' takes two values with a dollar sign between them.", expression=name)
        first, second = parts if pair.token_first else reversed(parts)
        under = Parameter(_under(parameter, name, first), pair.value_type, "", parameter.shapes, (), ())
        of_value = readers[pair.value_type][""]
        found = [of_value(under, name, second, reading)] if parameter.paths else []
        if parameter.whole is not None:
            by_token, by_value = parameter.whole
            whole = (token(by_token, name, first, reading), of_value(by_value, name, second, reading))
            found.insert(0, all_of(*whole))
        return any_of(*found)

    return read


def _spanned(parameter: Parameter, name: str, parts: list[str]) -> Node:
    """`code$number$number`, of one element."""
    if len(parts) != 3 or not all(parts):
        raise BadRequest(f"'{name}' takes a code and two numbers with dollar signs between them.", expression=name)
    first, second = (_number(name, part) for part in parts[1:])
    return spanned.node(_under(parameter, name, parts[0]), first, second)


def _under(parameter: Parameter, name: str, code: str) -> str:
    """The parameter under which what stands beside a code is filed."""
    token_ = _token(name, code)
    if token_.code is None:
        raise BadRequest(f"'{name}' takes a code, not a whole system.", expression=name)
    return composite.under(parameter.code, token_.code if token_.system is None else f"{token_.system}|{token_.code}")


def _token(name: str, value: str) -> Token:
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) == 1:
        return Token(parts[0], None)
    system, code = (parts[0], parts[1]) if len(parts) == 2 else ("", "")
    if not system and not code:
        raise BadRequest(
            f"'{name}' takes code, system|code, |code or system|; write a bar that belongs to a code as \\|.",
            expression=name,
        )
    return Token(code or None, system)


def _target(parameter: Parameter, text: str, reading: Reading) -> Target | None:
    local = local_reference(text, reading.base_url)
    if local:
        return Target(local.id, local.type) if local.type in reading.types else None
    if is_id(text):
        targets = parameter.targets
        return Target(text, targets[0] if len(targets) == 1 and targets[0] in reading.types else None)
    return Target(text.partition("/_history/")[0], "") if ":" in text else None


def _interval(name: str, text: str, reading: Reading) -> tuple[Micros, Micros]:
    """The half-open interval of a written date."""
    try:
        return dates.interval(text, reading.zone)
    except ValueError as error:
        hint = " A plus sign in a URL is written %2B." if " " in text else ""
        raise BadRequest(
            f"'{name}' takes a date as YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or +hh:mm, "
            f"after one of the prefixes {', '.join(PREFIXES)} or none.{hint}",
            expression=name,
        ) from error


def _prefix(name: str, value: str) -> tuple[str, str]:
    match = _PREFIXED.fullmatch(value)
    prefix, rest = match.groups() if match else (None, value)
    if prefix is not None and prefix not in PREFIXES:
        raise BadRequest(
            f"'{name}' has the prefix '{prefix}'; the prefixes are {', '.join(PREFIXES)}.", expression=name
        )
    return prefix or "eq", rest


def _number(name: str, value: str, scale: Scale = as_it_is) -> tuple[str, str, str]:
    """(prefix, lo, hi) of a written number."""
    prefix, text = _prefix(name, value)
    try:
        parsed = decimals.parse(text)
    except ValueError as error:
        raise BadRequest(
            f"'{name}' takes a number such as 5.40, -3 or 1e2, after one of the prefixes {', '.join(PREFIXES)} "
            "or none.",
            expression=name,
        ) from error
    if prefix in ("eq", "ne"):
        return prefix, *decimals.implied(parsed, scale)
    if prefix == "ap":
        return prefix, *decimals.approximately(parsed, scale)
    return prefix, *decimals.exact(scale(parsed))


def _compare(parameter: Parameter, shape: Shape, prefix: str, lo: Any, hi: Any, unit: str | None = None) -> Node:
    def test(box: Box) -> Node:
        return Test(parameter.code, shape, Interval(box, unit, parameter.brief), parameter.single)

    # No instant is longer than a second, so none of them reaches over both ends of what is at least as long.
    covers = parameter.brief and hi - lo >= _SECOND
    inside = Box(lo_from=lo, hi_to=hi)
    match prefix:
        case "ne":
            if parameter.single:
                return any_of(test(Box(lo_below=lo)), test(Box(hi_above=hi)))
            return all_of(test(Box()), Not(test(inside)))
        case "gt":
            return test(Box(hi_above=hi))
        case "lt":
            return test(Box(lo_below=lo))
        case "ge":
            return test(Box(lo_from=lo)) if covers else any_of(test(Box(hi_above=hi)), test(inside))
        case "le":
            return test(Box(hi_to=hi)) if covers else any_of(test(Box(lo_below=lo)), test(inside))
        case "sa":
            return test(Box(lo_from=hi))
        case "eb":
            return test(Box(hi_to=lo))
        case "ap":
            return test(Box(lo_below=hi, hi_above=lo))
    return test(inside)
