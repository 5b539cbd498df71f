"""What `fhir-server doctor` asks of a store: a list of checks, which each store has of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


class Broken(Exception):
    """A check that failed: what is wrong, and the mend."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `run` tells what it found, or raises Broken, FhirError or OSError.

    `is_needed`: when it fails, the checks after it are not tried.
    """

    name: str
    run: Callable[[], Awaitable[str]]
    is_needed: bool = False
