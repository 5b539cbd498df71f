"""Requests to URLs that others named, without becoming a tool against other hosts (OWASP SSRF prevention).

https only; every address of the host must be public, and the connection goes to the address that was checked; no
redirects, no proxies, 64 KiB and five seconds at most.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_BYTES = 65_536
TIMEOUT_IN_SECONDS = 5.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# A clinic's own network (RFC 1918, RFC 4193).
_INSIDE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


class Unreachable(Exception):
    """There was no answer, or the URL is none that may be called."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Outbound:
    """Sends requests; `allow_loopback` also to this machine and by http, for development."""

    def __init__(self, *, allow_loopback: bool = False, resolve: Resolve = resolve) -> None:
        self._allow_loopback = allow_loopback
        self._resolve = resolve

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: str = "", *, inside: bool = False
    ) -> Answer:
        """The answer, whatever its status. `inside`: to a clinic's own network too. Raises Unreachable."""
        import httpx  # here, since it takes a tenth of a second to load, and most servers call nobody

        try:
            async with asyncio.timeout(TIMEOUT_IN_SECONDS):
                return await self._send(method, url, headers, body, inside)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TimeoutError) as error:
            raise Unreachable from error

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: str, inside: bool) -> Answer:
        import httpx

        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if not host:
            raise ValueError("a URL without a host")
        address = await self._address(parts.scheme, host, port, inside)
        # The name stays in Host and in the check of the certificate; only the way there is fixed.
        pinned = httpx.URL(url).copy_with(host=address)
        sent = {**headers, "Host": parts.netloc.rpartition("@")[2]}
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_IN_SECONDS, trust_env=False) as http,
            http.stream(
                method, pinned, headers=sent, content=body.encode() or None, extensions={"sni_hostname": host}
            ) as answer,
        ):
            read = bytearray()
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) > MAX_BYTES:
                    raise ValueError("too long")
        return Answer(answer.status_code, answer.headers, bytes(read))

    async def _address(self, scheme: str, host: str, port: int, inside: bool) -> str:
        """The address to connect to. Raises ValueError when any address of the host is not to be called."""
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        is_loopback = bool(addresses) and all(address.is_loopback for address in addresses)
        if is_loopback and self._allow_loopback and scheme in ("https", "http"):
            return str(addresses[0])
        may_be = all(_is_public(each) or (inside and _is_inside(each)) for each in addresses)
        if scheme != "https" or not addresses or not may_be:
            raise ValueError("not a public https URL")
        return str(addresses[0])


def _is_inside(address: Address) -> bool:
    return any(address in network for network in _INSIDE)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return _is_public(inner)
    # NAT64 (RFC 6052) leads to any IPv4 address, private ones too.
    is_nat64 = address in ipaddress.ip_network("64:ff9b::/96") if address.version == 6 else False
    return address.is_global and not address.is_multicast and not is_nat64
