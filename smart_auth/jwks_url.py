"""Clients' keys by URL, fetched without becoming a tool against other hosts (OWASP SSRF prevention, RFC 7517 §5).

https only; every address of the host must be public, and the connection goes to the address that was checked; no
redirects, 64 KiB and five seconds at most. A set is kept no longer than its Cache-Control says, and five minutes.
"""

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from fhir_server.fhir.clock import Clock, Micros
from smart_auth.assertions import FAILED
from smart_auth.clients import import_jwks
from smart_auth.errors import InvalidClient

MAX_BYTES = 65_536
TIMEOUT_IN_SECONDS = 5.0
LONGEST_KEPT_IN_SECONDS = 300
MAX_KEPT = 1_000
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class JwksFetcher:
    """Fetches JWK Sets; `allow_loopback` also from this machine and by http, for development."""

    def __init__(self, clock: Clock, *, allow_loopback: bool = False, resolve: Resolve = resolve) -> None:
        self._clock = clock
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._kept: dict[str, tuple[Micros, Mapping[str, Any]]] = {}

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """The JWK Set at a URL. Raises InvalidClient for whatever goes wrong, without telling what."""
        kept = self._kept.get(url)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        try:
            async with asyncio.timeout(TIMEOUT_IN_SECONDS):
                seconds, jwks = await self._fetch(url)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError, RecursionError) as error:
            raise InvalidClient(FAILED) from error
        while len(self._kept) >= MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[url] = (self._clock() + seconds * 1_000_000, jwks)
        return jwks

    async def _fetch(self, url: str) -> tuple[int, Mapping[str, Any]]:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if not host:
            raise ValueError("a URL without a host")
        address = await self._address(parts.scheme, host, port)
        # The name stays in Host and in the check of the certificate; only the way there is fixed.
        pinned = httpx.URL(url).copy_with(host=address)
        headers = {"Host": parts.netloc.rpartition("@")[2], "Accept": "application/json"}
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_IN_SECONDS, trust_env=False) as http,
            http.stream("GET", pinned, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError("not there")
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("too long")
        return _seconds(answer.headers.get("cache-control", "")), import_jwks(json.loads(body))

    async def _address(self, scheme: str, host: str, port: int) -> str:
        """The address to connect to. Raises ValueError when any address of the host is not to be called."""
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        is_loopback = bool(addresses) and all(address.is_loopback for address in addresses)
        if is_loopback and self._allow_loopback and scheme in ("https", "http"):
            return str(addresses[0])
        if scheme != "https" or not addresses or not all(_is_public(address) for address in addresses):
            raise ValueError("not a public https URL")
        return str(addresses[0])


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return _is_public(inner)
    # NAT64 (RFC 6052) leads to any IPv4 address, private ones too.
    is_nat64 = address in ipaddress.ip_network("64:ff9b::/96") if address.version == 6 else False
    return address.is_global and not address.is_multicast and not is_nat64


def _seconds(cache_control: str) -> int:
    if "no-store" in cache_control or "no-cache" in cache_control:
        return 0
    match = _MAX_AGE.search(cache_control)
    return min(int(match.group(1)), LONGEST_KEPT_IN_SECONDS) if match else 60
