"""read: the current version of a resource, or 304 where the caller has it already (FHIR R4 http.html#read)."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from fhir_server.fhir.clock import Micros
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.if_match import version_of
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored


async def handle(call: Call, repository: Repository) -> Answer:
    """The resource with ETag and Last-Modified."""
    stored = await repository.read(call.type, call.id)
    if is_unchanged(call, stored):
        return Answer(304, stored=stored, shown=(stored,))
    return Answer(200, repository.shown(stored), stored, shown=(stored,))


def is_unchanged(call: Call, stored: Stored) -> bool:
    """Whether the caller's copy is current, by If-None-Match or else If-Modified-Since (RFC 9110 §13.1.2, §13.1.3)."""
    tags = call.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or any(version_of(tag) == str(stored.version) for tag in tags.split(","))
    since = call.headers.get("if-modified-since")
    moment = _http_date(since) if since is not None else None
    # HTTP dates are whole seconds.
    return moment is not None and stored.updated // 1_000_000 * 1_000_000 <= moment


def _http_date(text: str) -> Micros | None:
    """The moment; None for what is no HTTP date, which is to be ignored (RFC 9110 §13.1.3)."""
    try:
        moment = parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000
    except (ValueError, OverflowError):
        return None
