"""Location.near: places around a point (FHIR R4 location.html#positional).

A place is filed by latitude and longitude. A circle is sought as strips of latitude, each with the longitudes that it
covers there, so that every store answers it by two ordered indexes: a place up to 2 % of the distance inside or
outside of the circle's edge may be taken for the other (docs/decisions/0022-near.md).
"""

from decimal import Decimal
from itertools import pairwise
from math import acos, asin, cos, degrees, radians, sin
from typing import Any

from fhir_server.fhir.errors import BadRequest
from fhir_server.search import decimals
from fhir_server.search.collected import Collected
from fhir_server.search.plan import Box, Interval, Node, Test, all_of, any_of

EARTH_KILOMETRES = 6_371.0088
STRIPS = 48
_KILOMETRES = {"km": 1.0, "m": 0.001, "[mi_i]": 1.609344, "mi_i": 1.609344, "mi": 1.609344, "[mi_us]": 1.609347219}
DEFAULT_KILOMETRES = 50.0


def convert(value: dict[str, Any], param: str, _: Any, out: Collected) -> None:
    """The entries of a Location's position."""
    if value.get("latitude") is not None and value.get("longitude") is not None:
        out.number[(f"{param}:latitude", *decimals.exact(value["latitude"]))] = None
        out.number[(f"{param}:longitude", *decimals.exact(value["longitude"]))] = None


def node(param: str, name: str, text: str) -> Node:
    """The condition of `latitude|longitude|distance|units`. Raises BadRequest."""
    latitude, longitude, kilometres = _read(name, text)
    angle = kilometres / EARTH_KILOMETRES
    low, high = latitude - degrees(angle), latitude + degrees(angle)
    if low <= -90 or high >= 90:  # over a pole every longitude is near
        return _between(param, "latitude", max(low, -90.0), min(high, 90.0))
    step = (high - low) / STRIPS
    edges = [low + n * step for n in range(STRIPS + 1)]
    return any_of(*(_strip(param, pair, latitude, longitude, angle) for pair in pairwise(edges)))


def _read(name: str, text: str) -> tuple[float, float, float]:
    parts = text.split("|")
    wrong = BadRequest(
        f"'{name}' takes latitude|longitude|distance|units, with units of {', '.join(_KILOMETRES)}.", expression=name
    )
    if not 2 <= len(parts) <= 4:
        raise wrong
    try:
        numbers = [float(decimals.parse(part)) for part in parts[:3] if part]
    except ValueError:
        raise wrong from None
    unit = _KILOMETRES.get(parts[3] if len(parts) == 4 and parts[3] else "km")
    if len(numbers) < 2 or unit is None or abs(numbers[0]) > 90 or abs(numbers[1]) > 180:
        raise wrong
    distance = numbers[2] * unit if len(numbers) == 3 else DEFAULT_KILOMETRES
    if not 0 < distance <= EARTH_KILOMETRES:
        raise wrong
    return numbers[0], numbers[1], distance


def _strip(param: str, edges: tuple[float, float], latitude: float, longitude: float, angle: float) -> Node:
    low, high = edges
    half = _half_width((low + high) / 2, latitude, angle)
    west, east = longitude - half, longitude + half
    parts = [(west, east)]
    if half >= 180:
        parts = [(-180.0, 180.0)]
    elif west < -180:
        parts = [(-180.0, east), (west + 360, 180.0)]
    elif east > 180:
        parts = [(west, 180.0), (-180.0, east - 360)]
    across = any_of(*(_between(param, "longitude", start, end) for start, end in parts))
    return all_of(_between(param, "latitude", low, high), across)


def _half_width(at: float, latitude: float, angle: float) -> float:
    """Degrees of longitude from the centre to the circle's edge at a latitude (haversine, solved for longitude)."""
    square = sin(angle / 2) ** 2 - sin(radians(at - latitude) / 2) ** 2
    part = square / (cos(radians(latitude)) * cos(radians(at)))
    if part <= 0:
        return 0.0
    return degrees(2 * asin(part**0.5)) if part < 1 else degrees(acos(-1))


def _between(param: str, which: str, low: float, high: float) -> Node:
    # The upper edge is included; a place on the edge of two strips is in both.
    lo, hi = decimals.key(_decimal(low)), decimals.exact(_decimal(high))[1]
    return Test(f"{param}:{which}", "number", Interval(Box(lo_from=lo, hi_to=hi)), single=True)


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.9f}")
