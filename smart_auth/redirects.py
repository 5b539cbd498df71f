"""Redirect URIs: which may be registered, and how an answer is joined to one.

Source: RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1.
They are compared as whole strings, never by prefix or pattern.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode, urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_LENGTH = 2_000  # characters
# A private-use scheme is a domain name turned round (RFC 8252 §7.1), so it has a dot; javascript: and data: have none.
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_ALLOWED = re.compile(r"[!-~]+")


def check(uri: str) -> None:
    """Raises ValueError for a URI that nobody may register."""
    if len(uri) > MAX_LENGTH or _ALLOWED.fullmatch(uri) is None or "#" in uri or "\\" in uri:
        raise ValueError("A redirect URI is at most 2,000 printable ASCII characters, without a fragment or backslash.")
    parts = urlsplit(uri)
    if parts.scheme in ("https", "http"):
        if not parts.hostname or parts.username is not None or "*" in parts.netloc:
            raise ValueError("A redirect URI names a host, and neither user nor wildcard.")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("A redirect URI begins with https; http is for loopback addresses.")
    elif _PRIVATE_SCHEME.fullmatch(parts.scheme) is None:
        raise ValueError("A redirect URI is https, http on a loopback address, or a private-use scheme with a dot.")


def join(uri: str, answer: Mapping[str, str]) -> str:
    """The redirect URI with the answer's parameters added to those that it has."""
    separator = "&" if urlsplit(uri).query else "" if uri.endswith("?") else "?"
    return f"{uri}{separator}{urlencode(answer)}"


def source(uri: str) -> str:
    """What a Content-Security-Policy names to let a form lead there: its origin, or its private scheme."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def origins(uris: Iterable[str]) -> list[str]:
    """The web origins of redirect URIs, each once: where browsers' apps call from."""
    return sorted({source(uri) for uri in uris if urlsplit(uri).scheme in ("https", "http")})
