"""What `$find` is asked by a referral, an insurance plan and people who are not registered: each says of whom, where or
when, and goes into the question (IHE ITI-115).
"""

from typing import Any

from fhir_server.booking import find_times
from fhir_server.booking.find_asked import Asked, body_of
from fhir_server.booking.roles import people_of
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Query, Target, Test, Token

Resource = dict[str, Any]

_MOST = 100


async def add(repository: Repository, asked: Asked, found: dict[str, list[Any]]) -> None:
    """Take in what the parameters beside the plain ones say. Raises BadRequest, Forbidden."""
    for identifier in found["referral-identifier"]:
        await _add_referral(repository, asked, identifier)
    for person in found["patient-resource"]:
        await _add_person(repository, asked, person)
    await _add_plans(repository, asked, found["insurance-reference"])
    asked.windows, unused = [(asked.start, asked.end)], []
    for timing in (*found["timing"], *asked.timings):
        made: list[tuple[int, int]] = []
        for window in asked.windows:
            preferred = find_times.preferred(timing, window, repository.clinic.zone)
            made += preferred.windows
            asked.lasts = max(asked.lasts, preferred.lasts)
            unused += [name for name in preferred.unused if name not in unused]
        asked.windows = made
    if unused:
        text = f"Of no influence on what is offered, for it is one appointment: {', '.join(unused)}."
        asked.informed.append(Issue("informational", text, severity="information"))
    asked.none = asked.none or not asked.windows


async def _add_referral(repository: Repository, asked: Asked, identifier: Resource) -> None:
    """The request's performers, places, period and reasons, where the caller names none; and its patient."""
    test = Test("identifier", "token", Token(str(identifier.get("value", "")), identifier.get("system")))
    page = await repository.search(Query("ServiceRequest", test, count=2))
    if not page.matches:
        asked.none = True
        return
    if len(page.matches) > 1:
        raise BadRequest(
            "Several requests have this identifier; give its system too.", expression="referral-identifier"
        )
    request = body_of(page.matches[0])
    asked.based_on = f"ServiceRequest/{request['id']}"
    performers = [str(each.get("reference", "")) for each in request.get("performer", ())]
    performers += await people_of(repository, performers)
    asked.practitioners = asked.practitioners or _ids(repository, performers, "Practitioner")
    asked.organizations = asked.organizations or _ids(repository, performers, "Organization")
    places = [str(each.get("reference", "")) for each in request.get("locationReference", ())]
    asked.locations = asked.locations or _ids(repository, places, "Location")
    asked.reasons = asked.reasons or [
        (str(coding["system"]), str(coding["code"]))
        for reason in request.get("reasonCode", ())
        for coding in reason.get("coding", ())
        if "system" in coding and "code" in coding
    ]
    if "occurrencePeriod" in request:
        asked.timings.append({"repeat": {"boundsPeriod": request["occurrencePeriod"]}})
    if "occurrenceTiming" in request:
        asked.timings.append(request["occurrenceTiming"])
    known = {stored.id for stored in asked.patients}
    for id_ in _ids(repository, [str(request.get("subject", {}).get("reference", ""))], "Patient"):
        if id_ not in known:
            asked.patients.append(await repository.read("Patient", id_))


async def _add_person(repository: Repository, asked: Asked, person: Resource) -> None:
    """Who is known by an identifier, to a caller who may look, is that Patient; others come along as they are."""
    if person.get("resourceType") != "Patient":
        raise BadRequest("'patient-resource' is a Patient.", expression="patient-resource")
    known = {stored.id for stored in asked.patients}
    for identifier in person.get("identifier", ()) if repository.access.of("Patient", "s") else ():
        if "system" not in identifier or "value" not in identifier:
            continue
        test = Test("identifier", "token", Token(identifier["value"], identifier["system"]))
        matches = (await repository.search(Query("Patient", test, count=2))).matches
        if len(matches) == 1:
            if matches[0].id not in known:
                asked.patients.append(matches[0])
                asked.pairs.append(("patient-reference", f"Patient/{matches[0].id}"))
            return
    asked.people.append({**person, "id": f"patient-{len(asked.people) + 1}"})


async def _add_plans(repository: Repository, asked: Asked, references: list[Resource]) -> None:
    """The organizations in the networks of any of the plans; a plan without networks is taken everywhere."""
    networks, is_open = set[str](), False
    for reference in references:
        target = local_reference(str(reference.get("reference", "")), repository.clinic.base_url)
        if target is None or target.type != "InsurancePlan":
            raise BadRequest(
                "'insurance-reference' is a reference to an InsurancePlan of this server.",
                expression="insurance-reference",
            )
        plan = await repository.current("InsurancePlan", target.id)
        if plan is None:
            continue
        parts = (plan, *plan.get("coverage", ()), *plan.get("plan", ()))
        named = [str(each.get("reference", "")) for part in parts for each in part.get("network", ())]
        networks |= set(_ids(repository, named, "Organization"))
        is_open = is_open or not named
    if not references or is_open:
        return
    asked.networks = set(networks)
    for network in sorted(networks):
        for param in ("network", "primary-organization"):
            test = Test(param, "reference", Target(network, "Organization"))
            page = await repository.unit.search(Query("OrganizationAffiliation", test, count=_MOST))
            for affiliation in map(body_of, page.matches):
                if affiliation.get("active", True):
                    member = str(affiliation.get("participatingOrganization", {}).get("reference", ""))
                    asked.networks |= set(_ids(repository, [member], "Organization"))
    asked.none = asked.none or not asked.networks


def _ids(repository: Repository, references: list[str], type_: str) -> list[str]:
    targets = [local_reference(text, repository.clinic.base_url) for text in references]
    return list(dict.fromkeys(target.id for target in targets if target is not None and target.type == type_))
