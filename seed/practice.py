"""The practice of the demo clinic: organisation and brand, places, people who treat, services with their booking rules.

Pure data, made up for this project. National Provider Identifiers are valid by their check digit and belong to nobody
on purpose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from fhir_server.fhir.own import BOOKING_RULES, CODES, INTAKE, PREPARATION

Resource = dict[str, Any]
ZONE = "America/New_York"
SERVICES_SYSTEM = f"{CODES}demo-services"
NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"
_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
_NUCC = "http://nucc.org/provider-taxonomy"
ORGANIZATION = "harbour-clinic"
FORM = "before-your-visit"


@dataclass(frozen=True, slots=True)
class Service:
    """A bookable service: the length of its slots, where it is given, and the clinic's rules for it."""

    id: str
    name: str
    minutes: int
    location: str
    comment: str
    rules: Mapping[str, bool | int | str]
    preparation: str


@dataclass(frozen=True, slots=True)
class Practitioner:
    """One who treats, and the hours of each working day for each service; hours of different services are apart."""

    id: str
    prefix: str
    given: str
    family: str
    gender: str
    npi: str
    specialty: tuple[str, str]
    hours: Mapping[str, tuple[time, time]]


SERVICES = (
    Service("flu-shot", "Flu vaccination", 15, "main-street", "A quick visit; your booking is confirmed at once.",
            {"auto-confirm": True, "risk": "low", "withdrawal": True, "cancellation-window-hours": 2},
            "Wear short sleeves, and tell us of any allergies in the form."),
    Service("consultation", "Consultation", 30, "main-street", "A doctor looks at your request before it is confirmed.",
            {"clinical-review": True, "minimum-notice-minutes": 60, "cancellation-window-hours": 24,
             "review-hours": 24}, "Bring a list of the medicines that you take."),
    Service("diabetes-class", "Diabetes group class", 60, "riverside", "Up to three people learn together.",
            {"capacity": 3, "cancellation-window-hours": 48}, "Bring your glucose meter."),
    Service("physiotherapy", "Physiotherapy", 30, "riverside", "Your time is held for you while the clinic decides.",
            {"hold-minutes": 15, "withdrawal": True, "cancellation-window-hours": 24},
            "Wear clothes that you can move in."),
)  # fmt: skip


def npi(nine: str) -> str:
    """The identifier with its check digit: Luhn over the prefix 80840 and the number (45 CFR 162.406)."""
    digits = [int(digit) for digit in f"80840{nine}"]
    doubled = [sum(divmod(2 * digit, 10)) if n % 2 == 0 else digit for n, digit in enumerate(reversed(digits))]
    return nine + str(-sum(doubled) % 10)


PRACTITIONERS = (
    Practitioner("dr-lee", "Dr.", "Grace", "Lee", "female", npi("100000001"), ("207Q00000X", "Family Medicine"),
                 {"consultation": (time(9), time(12)), "flu-shot": (time(13), time(15))}),
    Practitioner("dr-kim", "Dr.", "Daniel", "Kim", "male", npi("100000002"), ("207R00000X", "Internal Medicine"),
                 {"diabetes-class": (time(10), time(12)), "consultation": (time(13), time(17))}),
    Practitioner("dr-osei", "Dr.", "Ama", "Osei", "female", npi("100000003"),
                 ("208100000X", "Physical Medicine & Rehabilitation"),
                 {"physiotherapy": (time(9), time(12)), "flu-shot": (time(13), time(14)),
                  "consultation": (time(14), time(17))}),
)  # fmt: skip


def further(number: int) -> Practitioner:
    """The synthetic practitioner of a number, from 4 on, for larger practices."""
    base = PRACTITIONERS[number % len(PRACTITIONERS)]
    return Practitioner(
        f"dr-{number:04d}", "Dr.", f"Given{number}", f"Synthetic{number}", base.gender, npi(f"{100_000_000 + number}"),
        base.specialty, base.hours,
    )  # fmt: skip


def configuration(practitioners: tuple[Practitioner, ...] = PRACTITIONERS) -> list[Resource]:
    """Everything but slots: what is referred to comes before what refers to it."""
    return [
        _organization(),
        _location("main-street", "Harbour Clinic, Main Street", "100 Main Street", "10001", "212-555-0100"),
        _location("riverside", "Harbour Clinic, Riverside", "8 Riverside Walk", "10002", "212-555-0180"),
        _form(),
        *(_service(service) for service in SERVICES),
        *(resource for one in practitioners for resource in _practitioner(one)),
        *(_schedule(one, service) for one in practitioners for service in SERVICES if service.id in one.hours),
    ]


def concept(service: Service) -> Resource:
    """The code of a service."""
    return {
        "coding": [{"system": SERVICES_SYSTEM, "code": service.id, "display": service.name}],
        "text": service.name,
    }


def schedule_id(practitioner: Practitioner, service: Service) -> str:
    """The id of a practitioner's schedule for a service."""
    return f"{practitioner.id}-{service.id}"


def _organization() -> Resource:
    brand = {
        "url": "http://hl7.org/fhir/StructureDefinition/organization-brand",
        "extension": [
            {"url": "brandLogo", "valueUrl": "https://harbour-clinic.example/logo.svg"},
        ],
    }
    portal = {
        "url": "http://hl7.org/fhir/StructureDefinition/organization-portal",
        "extension": [
            {"url": "portalName", "valueString": "My Harbour Clinic"},
            {"url": "portalURL", "valueUrl": "https://harbour-clinic.example/portal"},
        ],
    }
    return {
        "resourceType": "Organization",
        "id": ORGANIZATION,
        "meta": {"profile": [f"{_CORE}/us-core-organization"]},
        "extension": [brand, portal],
        "identifier": [{"system": NPI_SYSTEM, "value": npi("100000009")}],
        "active": True,
        "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov",
                              "display": "Healthcare Provider"}]}],
        "name": "Harbour Clinic",
        "alias": ["Harbour"],
        "telecom": [_phone("212-555-0100"), {"system": "url", "value": "https://harbour-clinic.example"}],
        "address": [_address("100 Main Street", "10001")],
    }  # fmt: skip


def _location(id_: str, name: str, street: str, code: str, phone: str) -> Resource:
    return {
        "resourceType": "Location",
        "id": id_,
        "meta": {"profile": [f"{_CORE}/us-core-location"]},
        "status": "active",
        "name": name,
        "mode": "instance",
        "telecom": [_phone(phone)],
        "address": _address(street, code),
        # A building, not a room: many appointments may be there at once.
        "physicalType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/location-physical-type",
                                     "code": "bu", "display": "Building"}]},
        "managingOrganization": {"reference": f"Organization/{ORGANIZATION}", "display": "Harbour Clinic"},
    }  # fmt: skip


def _form() -> Resource:
    questions = (("allergies", "Do you have any allergies?"), ("medicines", "Do you take any medicines?"))
    return {
        "resourceType": "Questionnaire",
        "id": FORM,
        "url": f"https://harbour-clinic.example/forms/{FORM}",
        "version": "1",
        "title": "Before your visit",
        "status": "active",
        "subjectType": ["Patient"],
        "item": [{"linkId": id_, "text": text, "type": "boolean", "required": True} for id_, text in questions],
    }


def _service(service: Service) -> Resource:
    return {
        "resourceType": "HealthcareService",
        "id": service.id,
        "extension": [
            {"url": BOOKING_RULES, "extension": [_rule(name, value) for name, value in service.rules.items()]},
            {"url": INTAKE, "valueReference": {"reference": f"Questionnaire/{FORM}"}},
            {"url": PREPARATION, "valueString": service.preparation},
        ],
        "active": True,
        "providedBy": {"reference": f"Organization/{ORGANIZATION}"},
        "category": [_category()],
        "type": [concept(service)],
        "location": [{"reference": f"Location/{service.location}"}],
        "name": service.name,
        "comment": service.comment,
        "telecom": [_phone("212-555-0100")],
        "appointmentRequired": True,
    }


def _rule(name: str, value: bool | int | str) -> Resource:
    match value:
        case bool():
            return {"url": name, "valueBoolean": value}
        case int():
            return {"url": name, "valueInteger": value}
        case _:
            return {"url": name, "valueCode": value}


def _category() -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/service-category"
    return {"coding": [{"system": system, "code": "17", "display": "General Practice"}]}


def _practitioner(one: Practitioner) -> list[Resource]:
    name = {"use": "official", "family": one.family, "given": [one.given], "prefix": [one.prefix]}
    services = [service for service in SERVICES if service.id in one.hours]
    locations = dict.fromkeys(service.location for service in services)
    code, display = one.specialty
    reference = {"reference": f"Practitioner/{one.id}", "display": f"{one.prefix} {one.given} {one.family}"}
    practitioner = {
        "resourceType": "Practitioner",
        "id": one.id,
        "meta": {"profile": [f"{_CORE}/us-core-practitioner"]},
        "identifier": [{"system": NPI_SYSTEM, "value": one.npi}],
        "active": True,
        "name": [name],
        "telecom": [_phone("212-555-0100")],
        "address": [_address("100 Main Street", "10001")],
        "gender": one.gender,
    }
    role = {
        "resourceType": "PractitionerRole",
        "id": one.id,
        "meta": {"profile": [f"{_CORE}/us-core-practitionerrole"]},
        "active": True,
        "practitioner": reference,
        "organization": {"reference": f"Organization/{ORGANIZATION}", "display": "Harbour Clinic"},
        "code": [{"coding": [{"system": _NUCC, "code": code, "display": display}]}],
        "specialty": [{"coding": [{"system": _NUCC, "code": code, "display": display}], "text": display}],
        "location": [{"reference": f"Location/{location}"} for location in locations],
        "healthcareService": [{"reference": f"HealthcareService/{service.id}"} for service in services],
        "telecom": [_phone("212-555-0100")],
    }
    return [practitioner, role]


def _schedule(one: Practitioner, service: Service) -> Resource:
    return {
        "resourceType": "Schedule",
        "id": schedule_id(one, service),
        "active": True,
        "serviceCategory": [_category()],
        "serviceType": [concept(service)],
        "actor": [
            {"reference": f"Practitioner/{one.id}", "display": f"{one.prefix} {one.given} {one.family}"},
            {"reference": f"Location/{service.location}"},
            {"reference": f"HealthcareService/{service.id}", "display": service.name},
        ],
    }


def _phone(number: str) -> Resource:
    return {"system": "phone", "value": number, "use": "work"}


def _address(street: str, code: str) -> Resource:
    return {"use": "work", "line": [street], "city": "New York", "state": "NY", "postalCode": code, "country": "US"}
