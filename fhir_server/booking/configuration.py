"""The write rule of HealthcareService: its booking rules are ones that there are, each of its kind (docs/booking.md).

Who last changed the rules is kept beside the service, for the audit of what they decide (R-10.2).
"""

from typing import Any

from fhir_server.booking import preparation, reasons, resizing
from fhir_server.booking.clinic_rules import faults, of_service
from fhir_server.fhir import own
from fhir_server.fhir.errors import Unprocessable
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

KIND = "rules-author"


async def service(repository: Repository, before: Resource | None, after: Resource | None) -> Resource | None:
    """The rule of HealthcareService. Raises Unprocessable that names every unknown or malformed part."""
    if after is None:
        return None
    issues = [*faults(after), *reasons.faults(after), *await preparation.faults(repository, after)]
    if issues:
        raise Unprocessable(issues=issues)
    if before is not None and _capacity(before) != _capacity(after | {name: before[name] for name in ("id", "meta")}):
        repository.then(lambda stored: resizing.settle(repository, stored.id))
    rules = own.extension(after, own.BOOKING_RULES)
    if rules is not None and rules != own.extension(before or {}, own.BOOKING_RULES):
        agent = repository.access.agent
        who = agent.fhir_user or " ".join(part for part in (agent.client_id, agent.name) if part)

        async def keep(stored: Stored) -> None:
            await repository.unit.keep(KIND, stored.id, who.encode())

        repository.then(keep)
    return after


def _capacity(of: Resource) -> int:
    return of_service(of).capacity


async def author(repository: Repository, services: str) -> str:
    """Who set the rules of services, given as versioned references with spaces between."""
    found = []
    for reference in services.split():
        kept = await repository.unit.peek(KIND, reference.split("/")[1])
        if kept is not None:
            found.append(kept.decode())
    return " ".join(dict.fromkeys(found)) or "unknown"
