"""A PractitionerRole and its Practitioner are one person: whose time is taken is the Practitioner's (R-10.6)."""

from collections.abc import Iterable
from typing import Any

import orjson

from fhir_server.fhir import own
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository

Resource = dict[str, Any]


async def people_of(repository: Repository, references: Iterable[str]) -> tuple[str, ...]:
    """The practitioners behind the PractitionerRoles among references, such as `Practitioner/123`."""
    found = []
    for reference in references:
        target = local_reference(reference, repository.clinic.base_url)
        if target is not None and target.type == "PractitionerRole":
            practitioner = await _practitioner(repository, target)
            if practitioner is not None:
                found.append(str(practitioner))
    return tuple(dict.fromkeys(found))


async def note_occupied(repository: Repository, appointment: Resource, actors: Iterable[str]) -> None:
    """Note on an imported appointment whose time it takes beside those it names; its participants stay as they came."""
    participants = [p for p in appointment.get("participant", ()) if p.get("status") != "declined"]
    named = [str(p.get("actor", {}).get("reference", "")) for p in participants]
    taken = dict.fromkeys((*actors, *await people_of(repository, named)))
    parts = [{"url": "actor", "valueReference": {"reference": actor}} for actor in taken if actor not in named]
    own.set_extension(appointment, own.OCCUPIES, {"extension": parts} if parts else None)


async def _practitioner(repository: Repository, role: LocalReference) -> LocalReference | None:
    stored = await repository.unit.read("PractitionerRole", role.id)
    if stored is None or stored.body is None:
        return None
    reference = str(orjson.loads(stored.body).get("practitioner", {}).get("reference", ""))
    target = local_reference(reference, repository.clinic.base_url)
    return LocalReference("Practitioner", target.id) if target is not None and target.type == "Practitioner" else None
