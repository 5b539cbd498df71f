"""AuditEvents that clients record of their own acts (IHE ATNA ITI-20): taken as they are, and marked as theirs.

They are resources beside the log's own events, never changed either. The log has an event for each, with the SHA-256 of
what was said, so that nobody can say otherwise later.
"""

from typing import Any

from fhir_server.fhir import own
from fhir_server.interactions.repository import Repository


async def mark(repository: Repository, _: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any] | None:
    """The write rule of AuditEvent: whose event it is."""
    if after is not None and not repository.is_import:
        client = repository.access.agent.client_id
        own.set_tags(after, [{"system": own.ORIGIN, "code": "surface"}, {"system": own.SUBMITTER, "code": client}])
    return after
