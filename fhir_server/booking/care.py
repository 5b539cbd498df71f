"""Care: what puts a patient under a practitioner's care, and who stands behind it (R-6.2, R-7.9, R-7.12).

An appointment that is booked or later, an encounter that began and an active care team tie the patients that they
name to the practitioners that they name. A tie counts only when somebody other than that practitioner stands behind
it: on every write the server tags the resource with the practitioners whose tie such a writer made or confirmed. The
tags are the server's own, so nobody can forge one, and they fall when the practitioner alone names another patient.
General practitioners count by `Patient.generalPractitioner`, which providers cannot write (R-5.1).

A proposal without a login makes its patient itself, so it opens nothing that was there before; when that person is
found to be another patient, whoever merges the two stands behind the tie from then on, or nobody does.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any

from fhir_server.booking import index
from fhir_server.booking.states import OCCUPYING
from fhir_server.fhir import own
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.access import Agent, Role
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import interval
from fhir_server.search.plan import Entries

Resource = dict[str, Any]
Found = Mapping[Any, list[tuple[Any, ...]]]

# Codes of index entries that no search parameter has, so that no query can name them.
PRACTITIONER, PATIENT = "-care-by", "-care-of"
GLASS_PRACTITIONER, GLASS_PATIENT, GLASS_TIME = "-glass-by", "-glass-of", "-glass-time"
TIE, GLASS = (PRACTITIONER, PATIENT), (GLASS_PRACTITIONER, GLASS_PATIENT)

# Type -> the statuses in which it counts.
COUNTS: Mapping[str, frozenset[str]] = {
    "Appointment": OCCUPYING,
    "Encounter": frozenset({"arrived", "triaged", "in-progress", "onleave", "finished"}),
    "CareTeam": frozenset({"active"}),
}
# Who may stand behind a tie that is not their own; patients and proxies behind those of their own patient only.
_WITNESSES: tuple[Role, ...] = ("practitioner", "front-desk", "administrator", "service")
_PATIENTS: tuple[Role, ...] = ("patient", "proxy")
_INTAKE: tuple[Role, ...] = ("public", "website")


async def stamp(repository: Repository, before: Resource | None, after: Resource) -> None:
    """Tag a resource of a type that may count with the practitioners whose tie somebody else stands behind."""
    base_url = repository.clinic.base_url
    patients, named = _patients(after, base_url), await _practitioners(repository, after)
    agent = repository.access.agent
    behind = set(await _stood_behind(repository, agent, before, patients, named))
    if before is not None:
        tagged = set(_tagged(before, own.CARE))
        if patients <= _patients(before, base_url):
            behind |= tagged
        elif named == await _practitioners(repository, before):
            behind &= tagged  # moved to another patient, as by a merge: that alone vouches for nobody
    others = [tag for tag in own.own_tags(after) if tag.get("system") != own.CARE]
    own.set_tags(after, others + [{"system": own.CARE, "code": code} for code in sorted(behind & named)])


async def _stood_behind(
    repository: Repository, agent: Agent, before: Resource | None, patients: set[str], named: set[str]
) -> Iterable[str]:
    """The practitioners whose tie the writer stands behind: any but their own."""
    if agent.role in _WITNESSES:
        return named - {await _practitioner(repository, agent.fhir_user)}
    if agent.role in _PATIENTS and patients == {_own_patient(agent)}:
        return named
    return named if agent.role in _INTAKE and before is None else ()


def _own_patient(agent: Agent) -> str:
    who = local_reference(agent.fhir_user)
    return who.id if who is not None and who.type == "Patient" else agent.patient


def _patients(resource: Resource, base_url: str) -> set[str]:
    """The ids of the patients that a resource ties."""
    if resource["resourceType"] == "Appointment":
        texts = [_actor(each, "actor") for each in resource.get("participant", ())]
    else:
        texts = [str(resource.get("subject", {}).get("reference", ""))]
    targets = [local_reference(text, base_url) for text in texts]
    return {target.id for target in targets if target is not None and target.type == "Patient"}


async def _practitioners(repository: Repository, resource: Resource) -> set[str]:
    """The ids of the practitioners that a resource ties, those behind a PractitionerRole too."""
    member = {"Appointment": "actor", "Encounter": "individual", "CareTeam": "member"}[resource["resourceType"]]
    found = {await _practitioner(repository, _actor(each, member)) for each in resource.get("participant", ())}
    return found - {""}


async def _practitioner(repository: Repository, reference: str) -> str:
    """The id of the practitioner that a reference means; '' for none."""
    target = local_reference(reference, repository.clinic.base_url)
    if target is not None and target.type == "PractitionerRole":
        target = local_reference(await _of_role(repository, target.id), repository.clinic.base_url)
    return target.id if target is not None and target.type == "Practitioner" else ""


async def _of_role(repository: Repository, id_: str) -> str:
    role = await repository.current("PractitionerRole", id_)
    return str((role or {}).get("practitioner", {}).get("reference", ""))


def _actor(participant: Resource, member: str) -> str:
    return str(participant.get(member, {}).get("reference", ""))


def _tagged(resource: Resource, system: str) -> list[str]:
    return [str(tag.get("code")) for tag in own.own_tags(resource) if tag.get("system") == system]


def _ties(resource: Resource, _: tzinfo, base_url: str) -> Found:
    """Who is tied to whom, while the resource counts."""
    codes = _tagged(resource, own.CARE)
    if not codes or resource.get("status") not in COUNTS[resource["resourceType"]]:
        return {}
    by = [(PRACTITIONER, "Practitioner", code) for code in codes]
    return {"reference": [*by, *((PATIENT, "Patient", id_) for id_ in sorted(_patients(resource, base_url)))]}


def _glass(flag: Resource, zone: tzinfo, base_url: str) -> Found:
    """Who broke the glass for whom, and when."""
    codes, period = _tagged(flag, own.BREAK_GLASS), flag.get("period", {})
    if not codes or flag.get("status") != "active":
        return {}
    by = [(GLASS_PRACTITIONER, "Practitioner", code) for code in codes]
    of = [(GLASS_PATIENT, "Patient", id_) for id_ in sorted(_patients(flag, base_url))]
    time = (GLASS_TIME, interval(period["start"], zone)[0], interval(period["end"], zone)[0])
    return {"reference": [*by, *of], "date": [time]}


def _appointment(appointment: Resource, zone: tzinfo, base_url: str) -> Entries:
    entries: dict[Any, list[tuple[Any, ...]]] = {
        shape: list(rows) for shape, rows in index.appointment_entries(appointment, zone, base_url).items()
    }
    for shape, rows in _ties(appointment, zone, base_url).items():
        entries.setdefault(shape, []).extend(rows)
    return entries


OWN_ENTRIES: Mapping[str, Callable[[Resource, tzinfo, str], Entries]] = {
    **index.OWN_ENTRIES,
    "Appointment": _appointment,
    "Encounter": _ties,
    "CareTeam": _ties,
    "Flag": _glass,
}
STAMPS = dict.fromkeys(COUNTS, stamp)
