"""Time and ids as values that are handed in, so that tests can fix them."""

import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

# Microseconds since 1970-01-01T00:00:00Z: the one unit of time inside the server.
Micros = int
Clock = Callable[[], Micros]

_LOWEST_62 = (1 << 62) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def system_clock() -> Micros:
    """Now."""
    return time.time_ns() // 1_000


def instant(micros: Micros) -> str:
    """A FHIR instant in UTC with milliseconds: `2026-11-22T18:51:00.123Z`."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest // 1_000:03d}Z"


@lru_cache(maxsize=64)  # what happens in one second is told many times
def _to_the_second(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def http_date(micros: Micros) -> str:
    """An HTTP date (RFC 9110 §5.6.7): `Sun, 22 Nov 2026 18:51:00 GMT`."""
    return _http_date(micros // 1_000_000)


@lru_cache(maxsize=4_096)
def _http_date(seconds: int) -> str:
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


def key_at(micros: Micros) -> int:
    """The least creation key of a moment: 2020-01-01 as origin leaves room until 2091 in 63 bits."""
    return (micros - 1_577_836_800_000_000) << 12


class Ids:
    """The source of logical ids and of creation keys; thread-safe.

    A logical id is a UUID of version 7 (RFC 9562 §5.7): it cannot be guessed, and ids made later sort later.
    A creation key is a 63-bit number that grows with time; it orders resources alike on every store.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last_key = 0
        self._lock = threading.Lock()

    def resource_id(self) -> str:
        """A new logical id."""
        milliseconds, random = self._clock() // 1_000, self._random_bits(74)
        number = (milliseconds << 80) | (7 << 76) | (random >> 62 << 64) | (2 << 62) | (random & _LOWEST_62)
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def creation_key(self) -> int:
        """A new creation key, above every earlier one of this source."""
        with self._lock:
            # 12 random bits keep processes apart.
            key = key_at(self._clock()) | self._random_bits(12)
            self._last_key = max(key, self._last_key + 1)
            return self._last_key
