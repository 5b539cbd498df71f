"""Clients' keys by URL (RFC 7517 §5), fetched as `outbound` says.

A set is kept no longer than its Cache-Control says, and five minutes.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from fhir_server.fhir.clock import Clock, Micros
from smart_auth.assertions import FAILED
from smart_auth.clients import import_jwks
from smart_auth.errors import InvalidClient
from smart_auth.outbound import Outbound, Unreachable

LONGEST_KEPT_IN_SECONDS = 300
MAX_KEPT = 1_000
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")


class JwksFetcher:
    """Fetches JWK Sets."""

    def __init__(self, clock: Clock, outbound: Outbound) -> None:
        self._clock = clock
        self._outbound = outbound
        self._kept: dict[str, tuple[Micros, Mapping[str, Any]]] = {}

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """The JWK Set at a URL. Raises InvalidClient for whatever goes wrong, without telling what."""
        kept = self._kept.get(url)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        try:
            answer = await self._outbound.send("GET", url, {"Accept": "application/json"})
            if answer.status != 200:
                raise ValueError("not there")
            jwks = import_jwks(json.loads(answer.body))
        except (Unreachable, ValueError, RecursionError) as error:
            raise InvalidClient(FAILED) from error
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        seconds = kept_in_seconds(answer.headers.get("cache-control", ""))
        self._kept[url] = (self._clock() + seconds * 1_000_000, jwks)
        return jwks


def kept_in_seconds(cache_control: str) -> int:
    """How long something may be kept, by its Cache-Control."""
    if "no-store" in cache_control or "no-cache" in cache_control:
        return 0
    match = _MAX_AGE.search(cache_control)
    return min(int(match.group(1)), LONGEST_KEPT_IN_SECONDS) if match else 60
