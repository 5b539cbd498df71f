"""What a handler is given and what it gives back, apart from the Repository."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.fhir.outcome import Issue
from fhir_server.interactions.access import Access
from fhir_server.interactions.clinic import Clinic
from fhir_server.store.protocol import Stored


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one interaction.

    `query` are the decoded pairs of the URL, and of the form of a POST search; `headers` have lower-case names;
    `body` is the parsed JSON (a resource, or the operations of a patch), None where there is none.
    """

    clinic: Clinic
    access: Access
    type: str = ""
    id: str = ""
    version: str = ""
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass(slots=True)
class Answer:
    """An HTTP answer in the making, and what it shows, for the audit.

    `stored` is the version that the answer is about, for ETag and Last-Modified. `shown` are the resources in it.
    """

    status: int = 200
    body: bytes = b""
    stored: Stored | None = None
    headers: dict[str, str] = field(default_factory=dict)
    shown: Sequence[Stored] = ()
    informed: Sequence[Issue] = ()
