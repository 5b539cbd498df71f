"""A synthetic patient history as a transaction Bundle, for tests and measurements."""

from typing import Any

Resource = dict[str, Any]


def history(entries: int = 300) -> Resource:
    """A Bundle of one patient with encounters, conditions, observations and the like, linked by urn:uuid."""
    patient = _urn(0)
    made = [_entry(0, _patient())]
    encounter = patient
    for n in range(1, entries):
        kind = n % 10
        if kind == 1:
            encounter = _urn(n)
            resource = _encounter(patient, n)
        elif kind == 2:
            resource = _condition(patient, encounter, n)
        elif kind == 3:
            resource = _medication_request(patient, encounter, n)
        else:
            resource = _observation(patient, encounter, n)
        made.append(_entry(n, resource))
    return {"resourceType": "Bundle", "type": "transaction", "entry": made}


def _urn(n: int) -> str:
    return f"urn:uuid:00000000-0000-4000-8000-{n:012d}"


def _entry(n: int, resource: Resource) -> Resource:
    return {"fullUrl": _urn(n), "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}


def _concept(system: str, code: str, text: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def _patient() -> Resource:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:mrn", "value": "4711"}],
        "name": [{"use": "official", "family": "Muster", "given": ["Erika", "Anna"]}],
        "telecom": [{"system": "phone", "value": "555-1234", "use": "home"}],
        "gender": "female",
        "birthDate": "1970-01-01",
        "address": [{"line": ["Street 1"], "city": "Springfield", "state": "MA", "postalCode": "01101"}],
    }


def _encounter(patient: str, n: int) -> Resource:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [_concept("http://snomed.info/sct", "185349003", "Encounter for check up")],
        "subject": {"reference": patient, "display": "Erika Muster"},
        "period": {"start": f"20{n % 20 + 10}-02-03T09:00:00+01:00", "end": f"20{n % 20 + 10}-02-03T09:30:00+01:00"},
    }


def _condition(patient: str, encounter: str, n: int) -> Resource:
    base = "http://terminology.hl7.org/CodeSystem/condition-"
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": f"{base}clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{base}ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": f"{base}category", "code": "encounter-diagnosis"}]}],
        "code": _concept("http://snomed.info/sct", f"{38341003 + n}", "Hypertension"),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "onsetDateTime": "2015-03-04T10:00:00+01:00",
        "recordedDate": "2015-03-04T10:00:00+01:00",
    }


def _medication_request(patient: str, encounter: str, n: int) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _concept("http://www.nlm.nih.gov/research/umls/rxnorm", f"{314076 + n}", "Drug"),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "authoredOn": "2015-03-04T10:00:00+01:00",
        "dosageInstruction": [{"sequence": 1, "text": "once a day", "asNeededBoolean": False}],
    }


def _observation(patient: str, encounter: str, n: int) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
                ]
            }
        ],
        "code": _concept("http://loinc.org", f"{8302 + n}-2", "Body Height"),
        "subject": {"reference": patient},
        "encounter": {"reference": encounter},
        "effectiveDateTime": "2015-03-04T10:00:00+01:00",
        "issued": "2015-03-04T10:00:00.123+01:00",
        "valueQuantity": {
            "value": 170 + n / 10,
            "unit": "cm",
            "system": "http://unitsofmeasure.org",
            "code": "cm",
        },
    }
