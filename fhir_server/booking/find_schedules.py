"""Which schedules offer what `$find` asks: by their actors, and by what these say of themselves (IHE ITI-115)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_server.booking import reasons
from fhir_server.booking.clinic_rules import ClinicRules, of_service, strictest
from fhir_server.booking.find_asked import Asked, body_of
from fhir_server.booking.wanted import is_offered
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query
from fhir_server.search.text import fold

Resource = dict[str, Any]

_MOST = 2_000


@dataclass(slots=True)
class Offering:
    """One schedule: who it is of, the rules of its services, and which kinds of what is asked it fulfils.

    `lacks` are the kinds that it says nothing of, and that another schedule may bring along.
    """

    schedule: Resource
    rules: ClinicRules
    practitioners: set[str] = field(default_factory=set)
    locations: set[str] = field(default_factory=set)
    organizations: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    codes: dict[str, set[tuple[str, str]]] = field(
        default_factory=lambda: {"type": set(), "specialty": set(), "reason": set()}
    )
    addresses: list[str] = field(default_factory=list)
    lacks: frozenset[str] = frozenset()
    people: tuple[str, ...] = ()  # the practitioners behind its roles

    @property
    def is_whole(self) -> bool:
        """Whether it fulfils all that is asked by itself."""
        return not self.lacks


async def offerings(repository: Repository, asked: Asked) -> Sequence[Offering]:
    """The schedules that fulfil all they speak of, those included that lack a kind of actor."""
    if asked.none:
        return []
    page = await repository.search(Query("Schedule", count=_MOST))
    known: dict[str, Resource | None] = {}
    found = []
    asked.schedules = len(page.matches)
    for stored in page.matches:
        schedule = body_of(stored)
        if schedule.get("active", True):
            offering = await _offering(repository, asked, schedule, known)
            if offering is not None and _fulfils(asked, offering):
                found.append(offering)
    return found


async def _offering(
    repository: Repository, asked: Asked, schedule: Resource, known: dict[str, Resource | None]
) -> Offering | None:
    """None when the schedule is of services alone that are not in use."""
    offering, services = Offering(schedule, ClinicRules()), []
    _add_codes(offering, schedule, "serviceType")
    for actor in schedule.get("actor", ()):
        target = local_reference(actor.get("reference", ""), repository.clinic.base_url)
        if target is None:
            continue
        if target.type == "Practitioner":
            offering.practitioners.add(target.id)
        elif target.type == "Location":
            offering.locations.add(target.id)
        elif target.type == "Device":
            offering.devices.add(target.id)
        if target.type in ("Practitioner", "Device"):
            continue
        if target.type != "Location" or asked.addresses or asked.organizations or asked.networks:
            resource = await _get(repository, str(target), known)
            if resource is not None and target.type == "HealthcareService":
                services.append(resource)
            if resource is not None:
                await _add(repository, asked, offering, resource, known)
    offering.rules = strictest(map(of_service, services))
    return offering if is_offered(schedule, services) else None


async def _add(
    repository: Repository, asked: Asked, offering: Offering, actor: Resource, known: dict[str, Resource | None]
) -> None:
    """What an actor says of practitioner, place, organization, services."""
    match actor["resourceType"]:
        case "PractitionerRole":
            behind = _ids(actor.get("practitioner"))
            offering.practitioners |= behind
            offering.people += tuple(f"Practitioner/{id_}" for id_ in sorted(behind))
            offering.organizations |= _ids(actor.get("organization"))
            offering.locations |= {id_ for each in actor.get("location", ()) for id_ in _ids(each)}
            _add_codes(offering, actor, "")
        case "HealthcareService":
            offering.organizations |= _ids(actor.get("providedBy"))
            offering.locations |= {id_ for each in actor.get("location", ()) for id_ in _ids(each)}
            _add_codes(offering, actor, "type")
            offering.codes["reason"] |= reasons.of_service(actor)
        case "Location":
            offering.organizations |= _ids(actor.get("managingOrganization"))
    if asked.addresses:
        for id_ in offering.locations:
            place = await _get(repository, f"Location/{id_}", known)
            offering.addresses += _texts((place or {}).get("address", {}))


def _fulfils(asked: Asked, offering: Offering) -> bool:
    """Whether nothing it says is against what is asked. What it lacks is noted."""
    lacks = set()
    for kind, wanted, has in (
        ("practitioner", asked.practitioners, offering.practitioners),
        ("location", asked.locations, offering.locations),
        ("organization", asked.organizations, offering.organizations),
        ("network", asked.networks, offering.organizations),
        ("device", asked.devices, offering.devices),
    ):
        if wanted and has.isdisjoint(wanted):
            if has:
                return False
            lacks.add(kind)
    if asked.addresses and not any(text.startswith(a) for a in asked.addresses for text in offering.addresses):
        if offering.addresses or offering.locations:
            return False
        lacks.add("location")
    for name, codes in (("type", asked.visit_types), ("specialty", asked.specialties), ("reason", asked.reasons)):
        if codes and offering.codes[name] and offering.codes[name].isdisjoint(codes):
            return False
    offering.lacks = frozenset(lacks)
    return True


def _add_codes(offering: Offering, resource: Resource, type_name: str) -> None:
    for name, element in (("type", type_name), ("specialty", "specialty")):
        for concept in resource.get(element, ()) if element else ():
            for coding in concept.get("coding", ()):
                offering.codes[name].add((coding.get("system", ""), coding.get("code", "")))


def _ids(reference: Resource | None) -> set[str]:
    target = local_reference((reference or {}).get("reference", ""))
    return {target.id} if target is not None else set()


def _texts(address: Resource) -> list[str]:
    names = ("text", "city", "district", "state", "postalCode", "country")
    lines: Iterable[str] = address.get("line", ())
    return [fold(text) for text in (*(address.get(name, "") for name in names), *lines) if text]


async def _get(repository: Repository, name: str, known: dict[str, Resource | None]) -> Resource | None:
    if name not in known:
        stored = await repository.unit.read(*name.split("/"))
        known[name] = body_of(stored) if stored is not None and stored.body is not None else None
    return known[name]
