"""One patient who is complete in the terms of US Core 6.1.0, with Provenance: every element that a server must support.

Source: US Core 6.1.0 us-core-patient, us-core-provenance, and the USCDI elements of its "Additional USCDI" list.
"""

from datetime import date, timedelta
from typing import Any

from seed.practice import ORGANIZATION

Resource = dict[str, Any]
ID = "margaret"
_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
_RACE = "urn:oid:2.16.840.1.113883.6.238"
_SNOMED = "http://snomed.info/sct"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def patient(today: date) -> list[Resource]:
    """The patient, a condition, an allergy, and the Provenance of all of them."""
    recorded = f"{today - timedelta(days=20)}T15:00:00Z"
    resources = [_patient(today), _condition(today), _allergy(today)]
    provenance: Resource = {
        "resourceType": "Provenance",
        "id": f"{ID}-provenance",
        "meta": {"profile": [f"{_CORE}/us-core-provenance"]},
        "target": [{"reference": f"{resource['resourceType']}/{resource['id']}"} for resource in resources],
        "recorded": recorded,
        "agent": [_author("author", "Author"), _author("transmitter", "Transmitter")],
    }
    return [*resources, provenance]


def _author(code: str, display: str) -> Resource:
    systems = {"author": f"{_TERMINOLOGY}/provenance-participant-type", "transmitter":
               "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type"}  # fmt: skip
    who = {"reference": "Practitioner/dr-kim"} if code == "author" else {"reference": f"Organization/{ORGANIZATION}"}
    return {
        "type": {"coding": [{"system": systems[code], "code": code, "display": display}]},
        "who": who,
        "onBehalfOf": {"reference": f"Organization/{ORGANIZATION}"},
    }


def _patient(today: date) -> Resource:
    return {
        "resourceType": "Patient",
        "id": ID,
        "meta": {"profile": [f"{_CORE}/us-core-patient"]},
        "extension": [_race(), _ethnicity(), _tribe(), *_sexes()],
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": f"{_TERMINOLOGY}/v2-0203", "code": "MR"}]},
                "system": "https://harbour-clinic.example/mrn",
                "value": "H900001",
            }
        ],
        "active": True,
        "name": [
            {"use": "official", "family": "Okafor", "given": ["Margaret", "Ann"], "suffix": ["MD"],
             "period": {"start": "1975-06-01"}},
            {"use": "old", "family": "Whitfield", "given": ["Margaret", "Ann"],
             "period": {"start": "1948-03-09", "end": "1975-05-31"}},
        ],
        "telecom": [
            {"system": "phone", "value": "212-555-0147", "use": "home"},
            {"system": "email", "value": "margaret@patients.example", "use": "home"},
        ],
        "gender": "female",
        "birthDate": "1948-03-09",
        "deceasedDateTime": f"{today - timedelta(days=14)}T08:30:00Z",
        "address": [
            {"use": "home", "line": ["21 Ferry Lane", "Flat 2"], "city": "New York", "state": "NY",
             "postalCode": "10004", "country": "US", "period": {"start": "2001-01-15"}},
            {"use": "old", "line": ["4 Orchard Street"], "city": "Albany", "state": "NY", "postalCode": "12207",
             "country": "US", "period": {"start": "1975-06-01", "end": "2001-01-14"}},
        ],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en", "display": "English"}],
                                        "text": "English"}, "preferred": True}],
        "generalPractitioner": [{"reference": "Practitioner/dr-kim"}],
        "managingOrganization": {"reference": f"Organization/{ORGANIZATION}"},
    }  # fmt: skip


def _race() -> Resource:
    return {
        "url": f"{_CORE}/us-core-race",
        "extension": [
            {"url": "ombCategory", "valueCoding": {"system": _RACE, "code": "2054-5",
                                                   "display": "Black or African American"}},
            {"url": "detailed", "valueCoding": {"system": _RACE, "code": "2060-2", "display": "African"}},
            {"url": "text", "valueString": "Black or African American"},
        ],
    }  # fmt: skip


def _ethnicity() -> Resource:
    return {
        "url": f"{_CORE}/us-core-ethnicity",
        "extension": [
            {"url": "ombCategory", "valueCoding": {"system": _RACE, "code": "2186-5",
                                                   "display": "Not Hispanic or Latino"}},
            {"url": "text", "valueString": "Not Hispanic or Latino"},
        ],
    }  # fmt: skip


def _tribe() -> Resource:
    affiliation = {"coding": [{"system": f"{_TERMINOLOGY}/v3-TribalEntityUS", "code": "170",
                               "display": "Village of Afognak"}], "text": "Village of Afognak"}  # fmt: skip
    return {
        "url": f"{_CORE}/us-core-tribal-affiliation",
        "extension": [
            {"url": "tribalAffiliation", "valueCodeableConcept": affiliation},
            {"url": "isEnrolled", "valueBoolean": False},
        ],
    }


def _sexes() -> list[Resource]:
    identity = {"coding": [{"system": _SNOMED, "code": "446141000124107", "display": "Identifies as female gender"}]}
    return [
        {"url": f"{_CORE}/us-core-sex", "valueCode": "248152002"},
        {"url": f"{_CORE}/us-core-birthsex", "valueCode": "F"},
        {"url": f"{_CORE}/us-core-genderIdentity", "valueCodeableConcept": identity},
    ]


def _condition(today: date) -> Resource:
    return {
        "resourceType": "Condition",
        "id": f"{ID}-condition",
        "meta": {"profile": [f"{_CORE}/us-core-condition-problems-health-concerns"]},
        "clinicalStatus": {"coding": [{"system": f"{_TERMINOLOGY}/condition-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{_TERMINOLOGY}/condition-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": f"{_TERMINOLOGY}/condition-category", "code": "problem-list-item"}]}],
        "code": {"coding": [{"system": _SNOMED, "code": "84114007", "display": "Heart failure"}],
                 "text": "Heart failure"},
        "subject": {"reference": f"Patient/{ID}"},
        "onsetDateTime": "2019-04",
        "recordedDate": (today - timedelta(days=400)).isoformat(),
    }  # fmt: skip


def _allergy(today: date) -> Resource:
    return {
        "resourceType": "AllergyIntolerance",
        "id": f"{ID}-allergy",
        "meta": {"profile": [f"{_CORE}/us-core-allergyintolerance"]},
        "clinicalStatus": {"coding": [{"system": f"{_TERMINOLOGY}/allergyintolerance-clinical", "code": "active"}]},
        "verificationStatus": {
            "coding": [{"system": f"{_TERMINOLOGY}/allergyintolerance-verification", "code": "confirmed"}]
        },
        "code": {"coding": [{"system": _SNOMED, "code": "91936005", "display": "Allergy to penicillin"}],
                 "text": "Allergy to penicillin"},
        "patient": {"reference": f"Patient/{ID}"},
        "recordedDate": (today - timedelta(days=400)).isoformat(),
        "reaction": [{"manifestation": [{"coding": [{"system": _SNOMED, "code": "247472004", "display": "Hives"}],
                                         "text": "Hives"}]}],
    }  # fmt: skip
