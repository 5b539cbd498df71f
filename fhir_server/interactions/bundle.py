"""Bundles of search results and of versions, written around the stored bytes (FHIR R4 bundle.html)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.outcome import Issue, operation_outcome
from fhir_server.store.protocol import Stored

_REQUEST_STATUS = {"POST": "201 Created", "DELETE": "204 No Content"}


def match_entries(base_url: str, type_: str, found: Iterable[Stored], mode: str) -> list[bytes]:
    """Entries of a searchset: resources of one type, shown whole."""
    head, tail = f'{{"fullUrl":"{base_url}/{type_}/'.encode(), f',"search":{{"mode":"{mode}"}}}}'.encode()
    return [
        b'%b%b","resource":%b%b' % (head, stored.id.encode(), body, tail)
        for stored in found
        if (body := stored.body) is not None
    ]


def match_entry(base_url: str, stored: Stored, body: bytes, mode: str = "match") -> bytes:
    """One entry of a searchset."""
    url = f'{{"fullUrl":"{base_url}/{stored.type}/{stored.id}","resource":'.encode()
    return url + body + b',"search":{"mode":"' + mode.encode() + b'"}}'


def outcome_entry(issues: Iterable[Issue]) -> bytes:
    """The entry that tells what was dropped or limited."""
    return b'{"resource":' + json.serialise(operation_outcome(issues)) + b',"search":{"mode":"outcome"}}'


def version_entry(base_url: str, stored: Stored, body: bytes | None) -> bytes:
    """One entry of a history; a deletion has no resource."""
    target = f"{stored.type}/{stored.id}"
    request: dict[str, Any] = {"method": stored.method, "url": stored.type if stored.method == "POST" else target}
    status = _REQUEST_STATUS.get(stored.method, "201 Created" if stored.version == 1 else "200 OK")
    response = {"status": status, "etag": f'W/"{stored.version}"', "lastModified": instant(stored.updated)}
    entry = f'{{"fullUrl":"{base_url}/{target}",'.encode()
    if body is not None:
        entry += b'"resource":' + body + b","
    return entry + b'"request":' + json.serialise(request) + b',"response":' + json.serialise(response) + b"}"


def bundle(
    type_: str, id_: str, now: Micros, links: Sequence[tuple[str, str]], entries: Sequence[bytes], total: int | None
) -> bytes:
    """A Bundle; without entries it has no `entry`, as FHIR has no empty arrays."""
    head: dict[str, Any] = {
        "resourceType": "Bundle",
        "id": id_,
        "meta": {"lastUpdated": instant(now)},
        "type": type_,
    }
    if total is not None:
        head["total"] = total
    head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    made = json.serialise(head)
    return made[:-1] + b',"entry":[' + b",".join(entries) + b"]}" if entries else made


def link(base_url: str, path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A URL below the base with its query, readable where that is allowed."""
    query = "&".join(map(_pair, pairs))
    return f"{base_url}/{path}".rstrip("/") + (f"?{query}" if query else "")


@lru_cache(maxsize=4_096)
def _pair(pair: tuple[str, str]) -> str:
    name, value = (text if text.isascii() and text.isalnum() else quote(text, safe=":/|,$") for text in map(str, pair))
    return f"{name}={value}"
