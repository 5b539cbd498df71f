"""What an appointment asks for, looked up: its slots, their schedules and services, and the clinic's rules for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from fhir_server.booking import roles
from fhir_server.booking.clinic_rules import ClinicRules, of_service, strictest
from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import Unprocessable
from fhir_server.fhir.reference import LocalReference, local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WantedSlot:
    """One slot, as stored, with the rules of the services that its schedule offers."""

    stored: Stored
    resource: Resource
    schedule: Resource
    rules: ClinicRules
    at: str  # the FHIRPath of the appointment's reference
    services: tuple[Resource, ...] = ()
    people: tuple[str, ...] = ()  # the practitioners behind the schedule's PractitionerRoles

    @property
    def actors(self) -> tuple[str, ...]:
        """The references of its schedule's actors, each once; a role brings its practitioner along."""
        named = (actor["reference"] for actor in self.schedule["actor"] if "reference" in actor)
        return tuple(dict.fromkeys((*named, *self.people)))

    @property
    def start(self) -> Micros:
        """When it begins."""
        return interval(self.resource["start"])[0]

    @property
    def end(self) -> Micros:
        """When it ends."""
        return interval(self.resource["end"])[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that an appointment takes together."""

    slots: tuple[WantedSlot, ...]
    rules: ClinicRules = field(default_factory=ClinicRules)

    @property
    def actors(self) -> tuple[str, ...]:
        """The references of all that the slots bring, each once."""
        return tuple(dict.fromkeys(actor for slot in self.slots for actor in slot.actors))

    @property
    def services(self) -> tuple[Resource, ...]:
        """The HealthcareServices of the slots' schedules."""
        return tuple(service for slot in self.slots for service in slot.services)

    @property
    def phone(self) -> str:
        """Whom to call about it; '' where the services give no telephone number."""
        telecoms = [telecom for service in self.services for telecom in service.get("telecom", ())]
        return next((str(each["value"]) for each in telecoms if each.get("system") == "phone" and "value" in each), "")


async def look_up(repository: Repository, appointment: Resource, *, lenient: bool = False) -> Wanted:
    """The slots of an appointment. Raises Unprocessable for a reference that leads to none, unless `lenient`; an
    import leaves it out, for what it points at may come later.
    """
    slots = []
    for n, reference in enumerate(appointment.get("slot", ())):
        at = f"Appointment.slot[{n}]"
        target = local_reference(reference.get("reference", ""), repository.clinic.base_url)
        stored, slot = await _get(repository, target, "Slot")
        if stored is None or slot is None:
            if repository.is_import or lenient:
                continue
            raise Unprocessable("There is no such slot; search Slot for the free ones.", expression=at)
        slots.append(await _slot(repository, stored, slot, at))
    return of_slots(slots)


def of_slots(slots: Iterable[WantedSlot]) -> Wanted:
    """All that the slots ask for together."""
    slots = tuple(slots)
    return Wanted(slots, strictest(slot.rules for slot in slots))


def is_offered(schedule: Resource, services: Sequence[Resource]) -> bool:
    """Whether a schedule offers times to people from outside: it is in use, and so is one of its services, if any."""
    in_use = not services or any(service.get("active", True) for service in services)
    return in_use and bool(schedule.get("active", True))


async def slot_by_id(repository: Repository, id_: str) -> WantedSlot | None:
    """One slot; None when it is not there."""
    stored, slot = await _get(repository, LocalReference("Slot", id_), "Slot")
    return await _slot(repository, stored, slot, "Slot") if stored is not None and slot is not None else None


async def _slot(repository: Repository, stored: Stored, slot: Resource, at: str) -> WantedSlot:
    target = local_reference(slot["schedule"].get("reference", ""), repository.clinic.base_url)
    schedule = await _look_at(repository, target, "Schedule") or {"actor": []}
    services = []
    for actor in schedule["actor"]:
        actor_at = local_reference(str(actor.get("reference", "")), repository.clinic.base_url)
        if actor_at is not None:
            actor["reference"] = str(actor_at)  # by the one name that appointments have for it, too
        service = await _look_at(repository, actor_at, "HealthcareService")
        if service is not None:
            services.append(service)
    people = await roles.people_of(repository, (str(actor.get("reference", "")) for actor in schedule["actor"]))
    return WantedSlot(stored, slot, schedule, strictest(map(of_service, services)), at, tuple(services), people)


async def _look_at(repository: Repository, target: LocalReference | None, type_: str) -> Resource | None:
    """What nobody here stores again, so that its decimals need not be as they were written."""
    if target is None or target.type != type_:
        return None
    stored = await repository.unit.read(type_, target.id)
    if stored is None or stored.body is None:
        return None
    resource: Resource = orjson.loads(stored.body)
    return resource


async def _get(
    repository: Repository, target: LocalReference | None, type_: str
) -> tuple[Stored | None, Resource | None]:
    if target is None or target.type != type_:
        return None, None
    stored = await repository.unit.read(type_, target.id)
    if stored is None or stored.body is None:
        return None, None
    return stored, json.parse(stored.body)
