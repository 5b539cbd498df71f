"""Dates, numbers and quantities as index entries (FHIR R4 search.html#date, #number, #quantity)."""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhir_server.search import dates, decimals, ucum
from fhir_server.search.collected import Collected
from profiles.primitives import is_bounded

Scale = Callable[[Decimal | int], Decimal | int]
ISO_CURRENCY = "urn:iso:std:iso:4217"


def _interval(text: Any, out: Collected) -> dates.Interval | None:
    """The interval of a stored date; None for what has the form of a date and is none (2026-02-30)."""
    try:
        return dates.interval(text, out.zone)
    except ValueError:
        return None


def date(value: str, param: str, _: Any, out: Collected) -> None:
    """A date, dateTime or instant."""
    span = _interval(value, out)
    if span:
        out.date[(param, *span)] = None
    else:
        out.unentered[param] = None


def _period_interval(value: dict[str, Any], out: Collected) -> dates.Interval | None:
    start = _interval(value["start"], out) if "start" in value else None
    end = _interval(value["end"], out) if "end" in value else None
    if start is None and end is None:
        return None
    lo = start[0] if start else dates.EARLIEST
    return lo, max(end[1] if end else dates.LATEST, lo + 1)


def period(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Period; an end that is left out is open."""
    span = _period_interval(value, out)
    if span:
        out.date[(param, *span)] = None
    else:
        out.unentered[param] = None


def timing(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Timing's outline."""
    spans = [_interval(event, out) for event in value.get("event", ()) if event is not None]
    bounds = value.get("repeat", {}).get("boundsPeriod")
    if bounds:
        spans.append(_period_interval(bounds, out))
    span = dates.hull([span for span in spans if span])
    if span:
        out.date[(param, *span)] = None
    else:
        out.unentered[param] = None


def number(value: Decimal | int, param: str, _: Any, out: Collected) -> None:
    """An exact number."""
    out.number[(param, *decimals.exact(value))] = None


def number_range(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Range as a number."""
    span = _range_interval(value)
    if span:
        out.number[(param, *span)] = None
    else:
        out.unentered[param] = None


def quantity(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A quantity for each way that its unit may be sought."""
    number = value.get("value")
    if number is not None:
        parts = (value.get("comparator"), value.get("system", ""), value.get("code"), value.get("unit"))
        for filed in _filed(number, *parts):
            out.quantity[(param, *filed)] = None
    else:
        out.unentered[param] = None


@lru_cache(maxsize=2_048)  # a value is entered under several parameters, and a clinic's values repeat
def _filed(
    value: Decimal | int, comparator: str | None, system: str, code: str | None, unit: str | None
) -> tuple[tuple[str, str, str], ...]:
    """(unit, lo, hi) for each way that the unit may be sought."""
    units = _units({"system": system, "code": code, "unit": unit}, value)
    return tuple((name, *_compared(scale(value), comparator)) for name, scale in units.items())


def quantity_range(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Range for each way that its unit may be sought."""
    ends = [value.get(end, {}).get("value") for end in ("low", "high")]
    for unit, scale in _units({**value.get("high", {}), **value.get("low", {})}, *ends).items():
        span = _range_interval(value, scale)
        if span:
            out.quantity[(param, unit, *span)] = None
        else:
            out.unentered[param] = None


def money(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """An amount, its currency as the unit."""
    if value.get("value") is not None:
        lo, hi = decimals.exact(value["value"])
        currency = {"system": ISO_CURRENCY, "code": value["currency"]} if "currency" in value else {}
        for unit in _units(currency):
            out.quantity[(param, unit, lo, hi)] = None
    else:
        out.unentered[param] = None


def unit_of(system: str, code: str) -> tuple[str, Scale]:
    """The unit under which values of a system's code are filed, and how a value becomes one of it."""
    canonical = ucum.canonical(code) if system == ucum.SYSTEM else None
    if canonical is None:
        return f"{system}|{code}", as_it_is
    return f"{system}|={canonical.name}", canonical.scale


def as_it_is(value: Decimal | int) -> Decimal | int:
    """The value."""
    return value


def _compared(value: Decimal | int, comparator: str | None) -> tuple[str, str]:
    lo, hi = decimals.exact(value)
    match comparator:
        case "<":
            return decimals.LEAST, lo
        case "<=":
            return decimals.LEAST, hi
        case ">":
            return hi, decimals.GREATEST
        case ">=":
            return lo, decimals.GREATEST
    return lo, hi


def _range_interval(value: dict[str, Any], scale: Scale = as_it_is) -> tuple[str, str] | None:
    low, high = (value.get(end, {}).get("value") for end in ("low", "high"))
    if low is None and high is None:
        return None
    lo = decimals.LEAST if low is None else decimals.key(scale(low))
    return lo, decimals.GREATEST if high is None else max(decimals.exact(scale(high))[1], lo + "!")


def _units(value: dict[str, Any], *numbers: Decimal | int | None) -> dict[str, Scale]:
    """The units of a quantity with these numbers; what is beyond the bounds, stored before they were, is not scaled."""
    units: dict[str, Scale] = {"": as_it_is}
    code = value.get("code")
    if code:
        unit, scale = unit_of(value.get("system", ""), code)
        if scale is as_it_is or all(number is None or is_bounded(Decimal(number)) for number in numbers):
            units[unit] = scale
        units[f"|{code}"] = as_it_is
    if value.get("unit"):
        units[f"|{value['unit']}"] = as_it_is
    return units
