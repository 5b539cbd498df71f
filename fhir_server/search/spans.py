"""Dates, numbers and quantities as index entries (FHIR R4 search.html#date, #number, #quantity)."""

from decimal import Decimal
from typing import Any

from fhir_server.search import dates, decimals
from fhir_server.search.collected import Collected

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


def timing(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Timing's outline."""
    spans = [_interval(event, out) for event in value.get("event", ()) if event is not None]
    bounds = value.get("repeat", {}).get("boundsPeriod")
    if bounds:
        spans.append(_period_interval(bounds, out))
    span = dates.hull([span for span in spans if span])
    if span:
        out.date[(param, *span)] = None


def number(value: Decimal | int, param: str, _: Any, out: Collected) -> None:
    """An exact number."""
    out.number[(param, *decimals.exact(value))] = None


def number_range(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Range as a number."""
    span = _range_interval(value)
    if span:
        out.number[(param, *span)] = None


def quantity(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A quantity for each way that its unit may be sought."""
    if value.get("value") is not None:
        lo, hi = _compared(value["value"], value.get("comparator"))
        for unit in _units(value):
            out.quantity[(param, unit, lo, hi)] = None


def quantity_range(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """A Range for each way that its unit may be sought."""
    span = _range_interval(value)
    if span:
        for unit in _units({**value.get("high", {}), **value.get("low", {})}):
            out.quantity[(param, unit, *span)] = None


def money(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """An amount, its currency as the unit."""
    if value.get("value") is not None:
        lo, hi = decimals.exact(value["value"])
        currency = {"system": ISO_CURRENCY, "code": value["currency"]} if "currency" in value else {}
        for unit in _units(currency):
            out.quantity[(param, unit, lo, hi)] = None


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


def _range_interval(value: dict[str, Any]) -> tuple[str, str] | None:
    low, high = (value.get(end, {}).get("value") for end in ("low", "high"))
    if low is None and high is None:
        return None
    lo = decimals.LEAST if low is None else decimals.key(low)
    return lo, decimals.GREATEST if high is None else max(decimals.exact(high)[1], lo + "!")


def _units(value: dict[str, Any]) -> dict[str, None]:
    units = {"": None}
    code = value.get("code")
    if code:
        units[f"{value['system']}|{code}" if "system" in value else f"|{code}"] = None
        units[f"|{code}"] = None
    if value.get("unit"):
        units[f"|{value['unit']}"] = None
    return units
