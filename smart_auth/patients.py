"""Patients as a person may see them, for launch contexts: the picker's list, and whether one is there for them."""

from dataclasses import dataclass, replace
from typing import Any

from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros, instant
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.access import Access, Agent
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query
from fhir_server.store.protocol import Stored, Unit
from smart_auth.accounts import Account
from smart_auth.services import Services

LISTED = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A patient in words: who, and what tells them from others of that name."""

    id: str
    name: str
    about: str


async def persons_access(services: Services, tenant: str, account: Account, surface: str, patient: str = "") -> Access:
    """What a person may see of patients at all, whatever an app asks for."""
    assert services.fhir is not None
    scopes = ("user/Patient.rs", "user/Encounter.rs")
    agent = Agent(account.role, "", account.fhir_user, account.display, patient, "", scopes)
    return await services.fhir.access(tenant, agent, surface)


async def find(services: Services, tenant: str, access: Access, text: str) -> list[Listed]:
    """At most one more than LISTED of the patients that the access lets through, by words of their name."""
    assert services.fhir is not None
    if not access.of("Patient", "s"):
        return []
    clinic = await services.fhir.clinic(tenant)
    # A comma or backslash would mean something to the search.
    words = [("name", "".join(c for c in word if c.isalnum() or c in "-'")) for word in text.split()[:5]]
    asked = [pair for pair in words if pair[1]]
    request = clinic.parser.parse("Patient", [*asked, ("_sort", "family,given")], services.clock())

    async def work(unit: Unit) -> list[Stored]:
        query = Query("Patient", request.where, request.sort, LISTED + 1)
        return list((await Repository(unit, clinic, access).search(query)).matches)

    return [_listed(stored) for stored in await services.store.run(tenant, work, write=False)]


async def peek(services: Services, tenant: str, access: Access, id_: str) -> Listed | None:
    """One patient, if the access lets it through."""
    stored = await _peek(services, tenant, access, "Patient", id_)
    return None if stored is None else _listed(stored)


async def is_visible(services: Services, tenant: str, access: Access, id_: str) -> bool:
    """Whether the access lets a patient through."""
    return await _peek(services, tenant, access, "Patient", id_) is not None


async def has_encounter(services: Services, tenant: str, access: Access, patient: str, encounter: str) -> bool:
    """Whether the access lets an encounter through, and it is the patient's."""
    stored = await _peek(services, tenant, access, "Encounter", encounter)
    return stored is not None and patient in stored.patients


async def of_proxy(services: Services, tenant: str, fhir_user: str) -> str:
    """The id of the patient for whom a RelatedPerson acts; '' when the relation is over or not there."""

    async def work(unit: Unit) -> str:
        return await acts_for(unit, fhir_user, services.clock())

    return await services.store.run(tenant, work, write=False, quick=True)


async def acts_for(unit: Unit, fhir_user: str, now: Micros) -> str:
    """The same, within a Unit."""
    who = local_reference(fhir_user)
    stored = await unit.read(who.type, who.id) if who is not None and who.type == "RelatedPerson" else None
    if stored is None or stored.body is None:
        return ""
    relation: dict[str, Any] = json.parse(stored.body)
    patient = local_reference(str(relation.get("patient", {}).get("reference", "")))
    lasts = relation.get("active") is not False and _holds(relation.get("period", {}), instant(now)[:10])
    return patient.id if patient is not None and patient.type == "Patient" and lasts else ""


async def in_relation(unit: Unit, agent: Agent, now: Micros) -> Agent:
    """The agent as it is now: a proxy without the patient, where the relation is over."""
    if agent.role != "proxy" or not agent.patient or agent.patient == await acts_for(unit, agent.fhir_user, now):
        return agent
    return replace(agent, patient="")


def _holds(period: dict[str, Any], today: str) -> bool:
    """Whether a day is in a Period; of a month or year that is named, every day is."""
    start, end = str(period.get("start", ""))[:10], str(period.get("end", ""))[:10]
    return start <= today[: len(start)] and (not end or today[: len(end)] <= end)


async def _peek(services: Services, tenant: str, access: Access, type_: str, id_: str) -> Stored | None:
    assert services.fhir is not None
    clinic = await services.fhir.clinic(tenant)

    async def work(unit: Unit) -> Stored | None:
        return await Repository(unit, clinic, access).peek(type_, id_)

    return await services.store.run(tenant, work, write=False, quick=True)


def _listed(stored: Stored) -> Listed:
    assert stored.body is not None
    patient: dict[str, Any] = json.parse(stored.body)
    name: dict[str, Any] = next(iter(patient.get("name", ())), {})
    written = name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")]).strip()
    about = [str(patient[key]) for key in ("birthDate", "gender") if key in patient]
    return Listed(stored.id, written or stored.id, ", ".join(about))
