"""Synthetic patients with some history: made up from short lists, the same ones on every run but for the dates."""

import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

Resource = dict[str, Any]

_SNOMED = "http://snomed.info/sct"
_LOINC = "http://loinc.org"
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_MRN = "https://harbour-clinic.example/mrn"

_GIVEN = {
    "female": ("Clara", "Dora", "Edith", "Fiona", "Gwen", "Hana", "Ines", "Julia", "Kira", "Lena"),
    "male": ("Carl", "David", "Emil", "Felix", "Georg", "Hugo", "Ivan", "Jonas", "Karim", "Leon"),
}
_FAMILY = ("Abbott", "Brooks", "Castillo", "Dimitrov", "Eriksen", "Fontaine", "Grant", "Haddad", "Ito", "Jensen")
_CONDITIONS = (
    ("38341003", "Hypertensive disorder", ("314076", "lisinopril 10 MG Oral Tablet")),
    ("44054006", "Type 2 diabetes mellitus", ("860975", "metformin hydrochloride 500 MG Extended Release Oral Tablet")),
    ("195967001", "Asthma", None),
    ("37796009", "Migraine", None),
)
_ALLERGIES = (("91936005", "Allergy to penicillin"), ("300913006", "Allergy to shellfish"))


def patients(count: int, today: date, zone: tzinfo, doctors: tuple[str, ...], *, named: bool) -> Iterator[Resource]:
    """Patients and what is known of each, a patient before its history; `named`: anna and ben come first."""
    names = ["anna", "ben"] if named else []
    for n in range(count):
        id_ = names[n] if n < len(names) else f"patient-{n + 1:05d}"
        source = random.Random(f"patient {n}")
        patient = _patient(id_, n, source, today, doctors[n % len(doctors)])
        yield patient
        yield from _history(patient, source, today, zone, n, doctors[n % len(doctors)])


def _patient(id_: str, n: int, source: random.Random, today: date, doctor: str) -> Resource:
    gender = "female" if n % 2 == 0 else "male"
    given = id_.capitalize() if id_ in ("anna", "ben") else source.choice(_GIVEN[gender])
    family = {"anna": "Avery", "ben": "Bennett"}.get(id_) or source.choice(_FAMILY)
    born = today - timedelta(days=source.randrange(20 * 365, 80 * 365))
    return {
        "resourceType": "Patient",
        "id": id_,
        "identifier": [{"use": "usual", "system": _MRN, "value": f"H{n + 1:06d}"}],
        "active": True,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [
            {"system": "phone", "value": f"212-555-{n % 10_000:04d}", "use": "home"},
            {"system": "email", "value": f"{id_}@patients.example"},
        ],
        "gender": gender,
        "birthDate": born.isoformat(),
        "address": [
            {"use": "home", "line": [f"{n + 1} Harbour Road"], "city": "New York", "state": "NY", "postalCode": "10001"}
        ],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}, "preferred": True}],
        "generalPractitioner": [{"reference": f"Practitioner/{doctor}"}],
    }


def _history(
    patient: Resource, source: random.Random, today: date, zone: tzinfo, n: int, doctor: str
) -> Iterator[Resource]:
    id_, subject = patient["id"], {"reference": f"Patient/{patient['id']}"}
    # A past visit each: days and hours are shared out so that no doctor sees two people at once.
    day = today - timedelta(days=30 + 7 * (n // 24))
    start = datetime.combine(day, time(8), zone) + timedelta(minutes=30 * (n % 24))
    yield _appointment(id_, doctor, start)
    yield _encounter(id_, doctor, start)
    code, text, medication = source.choice(_CONDITIONS)
    yield {
        "resourceType": "Condition",
        "id": f"{id_}-condition",
        "clinicalStatus": _coded(f"{_TERMINOLOGY}/condition-clinical", "active"),
        "verificationStatus": _coded(f"{_TERMINOLOGY}/condition-ver-status", "confirmed"),
        "category": [_coded(f"{_TERMINOLOGY}/condition-category", "problem-list-item")],
        "code": _coded(_SNOMED, code, text),
        "subject": subject,
        "recordedDate": day.isoformat(),
    }
    if medication is not None:
        yield {
            "resourceType": "MedicationRequest",
            "id": f"{id_}-medication",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": _coded(_RXNORM, *medication),
            "subject": subject,
            "encounter": {"reference": f"Encounter/{id_}-visit"},
            "authoredOn": day.isoformat(),
            "requester": {"reference": f"Practitioner/{doctor}"},
            "dosageInstruction": [{"text": "One tablet daily"}],
        }
    if n % 3 == 0:
        yield {
            "resourceType": "AllergyIntolerance",
            "id": f"{id_}-allergy",
            "clinicalStatus": _coded(f"{_TERMINOLOGY}/allergyintolerance-clinical", "active"),
            "verificationStatus": _coded(f"{_TERMINOLOGY}/allergyintolerance-verification", "confirmed"),
            "code": _coded(_SNOMED, *source.choice(_ALLERGIES)),
            "patient": subject,
        }
    yield _blood_pressure(id_, doctor, start, source)


def _appointment(id_: str, doctor: str, start: datetime) -> Resource:
    return {
        "resourceType": "Appointment",
        "id": f"{id_}-visit",
        "status": "fulfilled",
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "participant": [
            {"actor": {"reference": f"Patient/{id_}"}, "status": "accepted"},
            {"actor": {"reference": f"Practitioner/{doctor}"}, "status": "accepted"},
        ],
    }


def _encounter(id_: str, doctor: str, start: datetime) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": f"{id_}-visit",
        "status": "finished",
        "class": {"system": f"{_TERMINOLOGY}/v3-ActCode", "code": "AMB", "display": "ambulatory"},
        "type": [_coded(_SNOMED, "185349003", "Encounter for check up")],
        "subject": {"reference": f"Patient/{id_}"},
        "participant": [{"individual": {"reference": f"Practitioner/{doctor}"}}],
        "appointment": [{"reference": f"Appointment/{id_}-visit"}],
        "period": {"start": start.isoformat(), "end": (start + timedelta(minutes=30)).isoformat()},
    }


def _blood_pressure(id_: str, doctor: str, start: datetime, source: random.Random) -> Resource:
    def component(code: str, text: str, value: int) -> Resource:
        quantity = {"value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
        return {"code": _coded(_LOINC, code, text), "valueQuantity": quantity}

    return {
        "resourceType": "Observation",
        "id": f"{id_}-blood-pressure",
        "status": "final",
        "category": [_coded(f"{_TERMINOLOGY}/observation-category", "vital-signs")],
        "code": _coded(_LOINC, "85354-9", "Blood pressure panel with all children optional"),
        "subject": {"reference": f"Patient/{id_}"},
        "encounter": {"reference": f"Encounter/{id_}-visit"},
        "effectiveDateTime": start.isoformat(),
        "performer": [{"reference": f"Practitioner/{doctor}"}],
        "component": [
            component("8480-6", "Systolic blood pressure", source.randrange(105, 150)),
            component("8462-4", "Diastolic blood pressure", source.randrange(65, 95)),
        ],
    }


def _coded(system: str, code: str, text: str = "") -> Resource:
    coding = {"system": system, "code": code}
    return {"coding": [coding | {"display": text}], "text": text} if text else {"coding": [coding]}
