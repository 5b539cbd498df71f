"""A request as it came over HTTP, and the answer as it goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, unsafe_hash=True)  # made for every request: frozen ones take long to make
class Request:
    """Method, tenant, path below the FHIR base, and the rest. Header names are in lower case."""

    method: str
    tenant: str
    segments: tuple[str, ...]
    query: str
    headers: Mapping[str, str]
    body: bytes
    address: str
    request_id: str


@dataclass(slots=True)
class Response:
    """Status, headers and body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
