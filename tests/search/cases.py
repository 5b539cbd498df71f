"""Resources and tables of (type, query, expected ids), for every interpreter of plans and for HTTP.

The clinic's zone is ZONE and its base URL BASE_URL. `CASES` expects a set of ids, `ORDERED` a list in order (resources
are created in the order of RESOURCES). Each table begins with a positive control.
Source: FHIR R4 search.html.
"""

from typing import Any, NamedTuple

ZONE = "Europe/Berlin"
BASE_URL = "https://clinic.example/fhir"
NOW = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z

UCUM = "http://unitsofmeasure.org"


class Case(NamedTuple):
    type: str
    query: str
    ids: str  # blank-separated

    @property
    def expected(self) -> list[str]:
        return self.ids.split()


def _patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, **more}


def _slot(id_: str, start: str, end: str, **more: Any) -> dict[str, Any]:
    schedule = {"reference": "Schedule/sch-1"}
    return {
        "resourceType": "Slot",
        "id": id_,
        "schedule": schedule,
        "status": "free",
        "start": start,
        "end": end,
        **more,
    }


def _observation(id_: str, **more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": code, **more}


def _weight(id_: str, value: Any, **more: Any) -> dict[str, Any]:
    return _observation(id_, valueQuantity={"value": value, "unit": "kilogram", "system": UCUM, "code": "kg", **more})


CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def _clinical(id_: str, code: str) -> dict[str, Any]:
    status = {"coding": [{"system": CLINICAL, "code": code}]}
    return {
        "resourceType": "Condition", "id": id_, "clinicalStatus": status, "subject": {"reference": "Patient/pat-9"}
    }  # fmt: skip


def _sequence(id_: str, chromosome: str, *variants: tuple[int, int | None]) -> dict[str, Any]:
    """A sequence whose window is that of its first variant; an end of None is left out."""
    made = [{"start": start} | ({"end": end} if end is not None else {}) for start, end in variants]
    window = {"windowStart": variants[0][0], "windowEnd": variants[0][1]}
    coding = [{"system": "urn:chromosomes", "code": chromosome}]
    reference = {"chromosome": {"coding": coding}, "referenceSeqId": {"coding": [{"code": f"NC_{chromosome}"}]}}
    return {
        "resourceType": "MolecularSequence", "id": id_, "coordinateSystem": 0, "referenceSeq": reference | window,
        "variant": made,
    }  # fmt: skip


RESOURCES: tuple[dict[str, Any], ...] = (
    {
        "resourceType": "Practitioner",
        "id": "dr-1",
        "name": [{"family": "Lang", "given": ["Ada"]}],
        "identifier": [{"system": "urn:npi", "value": "1"}],
    },
    {"resourceType": "Practitioner", "id": "dr-2", "name": [{"family": "Kurz"}]},
    _patient(
        "pat-1",
        meta={
            "tag": [{"system": "urn:tags", "code": "vip"}],
            "security": [{"system": "urn:sec", "code": "R"}],
            "profile": ["http://example.org/profile/a|1.0"],
        },
        identifier=[
            {
                "type": {"coding": [{"system": "urn:types", "code": "MR"}]},
                "system": "urn:mrn",
                "value": "4711",
            }
        ],
        active=True,
        name=[{"family": "Müller", "given": ["José", "Karl"]}],
        gender="male",
        birthDate="1980-05-17",
        telecom=[{"system": "phone", "value": "+49 30 1"}, {"system": "email", "value": "jm@example.org"}],
        address=[{"line": ["Hauptstraße 1"], "city": "Köln", "postalCode": "50667"}],
        generalPractitioner=[{"reference": "Practitioner/dr-1"}],
    ),
    _patient(
        "pat-2",
        identifier=[{"system": "urn:mrn", "value": "4712"}, {"value": "4711"}],
        name=[{"text": "Anna O'Neil, MD"}],
        gender="female",
        birthDate="1980-05",
        deceasedBoolean=False,
        generalPractitioner=[{"reference": "https://clinic.example/fhir/Practitioner/dr-2"}],
    ),
    _patient(
        "pat-3",
        name=[{"family": "MULLER-LÜDENSCHEIDT"}],
        birthDate="1980",
        deceasedDateTime="2020-01-01",
        generalPractitioner=[{"reference": "https://other.example/Practitioner/dr-1"}],
    ),
    _patient("pat-4"),
    {
        "resourceType": "Schedule",
        "id": "sch-1",
        "actor": [{"reference": "Practitioner/dr-1"}],
        "planningHorizon": {"start": "2026-01-01"},
    },
    # In Berlin, 2026-03-29 has 23 hours.
    _slot("slot-1", "2026-03-28T23:00:00Z", "2026-03-28T23:30:00Z"),
    _slot("slot-2", "2026-03-29T00:30:00+01:00", "2026-03-29T01:00:00+01:00", status="busy"),
    _slot("slot-3", "2026-03-29T21:59:59.999Z", "2026-03-29T22:30:00Z", comment="last of the day"),
    _slot(
        "slot-4",
        "2026-03-29T22:00:00Z",
        "2026-03-29T22:30:00Z",
        serviceType=[{"coding": [{"system": "urn:a|b", "code": "x,y"}]}, {"text": "only text"}],
    ),
    {
        "resourceType": "Appointment",
        "id": "app-1",
        "status": "booked",
        "start": "2026-03-28T23:00:00Z",
        "end": "2026-03-28T23:30:00Z",
        "slot": [{"reference": "Slot/slot-1"}],
        "participant": [
            {"actor": {"reference": "Patient/pat-1"}, "status": "accepted"},
            {"actor": {"reference": "Practitioner/dr-1"}, "status": "accepted"},
        ],
    },
    {
        "resourceType": "Appointment",
        "id": "app-2",
        "status": "proposed",
        "participant": [
            {"actor": {"reference": "Patient/pat-2"}, "status": "needs-action"},
            {
                "actor": {"identifier": {"system": "urn:npi", "value": "1"}, "type": "Practitioner"},
                "status": "accepted",
            },
        ],
    },
    _weight("obs-1", 100),
    _weight("obs-2", 99.5),
    _weight("obs-3", 100.5),
    _weight("obs-4", 104),
    _weight("obs-5", 100, system="urn:other"),
    _weight("obs-6", 100, comparator=">="),
    _observation("obs-7", valueString="Grün", subject={"reference": "Patient/pat-1"}),
    _observation(
        "obs-8",
        subject={"reference": "Patient/pat-2"},
        effectivePeriod={"start": "2026-01-10", "end": "2026-01-20"},
    ),
    _observation("obs-9", subject={"reference": "Patient/pat-1"}, effectivePeriod={"start": "2026-01-15"}),
    _observation(
        "obs-10",
        subject={"display": "someone"},
        effectiveTiming={"event": ["2026-01-11", "2026-01-13"]},
    ),
    {
        "resourceType": "RiskAssessment",
        "id": "risk-1",
        "status": "final",
        "subject": {"reference": "Patient/pat-1"},
        "prediction": [{"probabilityDecimal": 0.5}, {"probabilityDecimal": -1.25}],
    },
    {
        "resourceType": "RiskAssessment",
        "id": "risk-2",
        "status": "final",
        "subject": {"reference": "Patient/pat-2"},
        "prediction": [{"probabilityRange": {"low": {"value": 10}, "high": {"value": 20}}}],
    },
    {
        "resourceType": "Questionnaire",
        "id": "q-1",
        "status": "active",
        "url": "http://example.org/q/1",
    },
    {"resourceType": "Questionnaire", "id": "q-2", "status": "draft", "url": "http://example.org/q"},
    {"resourceType": "Questionnaire", "id": "q-3", "status": "draft", "url": "http://example.org/quiz"},
    {
        "resourceType": "QuestionnaireResponse",
        "id": "qr-1",
        "status": "completed",
        "questionnaire": "http://example.org/q/1|2.0",
    },
    {
        "resourceType": "Observation",
        "id": "bp-1",
        "status": "final",
        "code": {"text": "blood pressure"},
        "component": [
            {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": 120}},
            {"code": {"coding": [{"code": "dia"}]}, "valueQuantity": {"value": 80}},
        ],
    },
    {
        "resourceType": "Observation",
        "id": "bp-2",
        "status": "final",
        "code": {"text": "mean pressure"},
        "valueQuantity": {"value": 120, "system": UCUM, "code": "mm[Hg]"},
    },
    {
        "resourceType": "Group",
        "id": "group-1",
        "type": "person",
        "actual": True,
        "characteristic": [
            {
                "code": {"coding": [{"code": "gender"}]},
                "valueCodeableConcept": {"coding": [{"code": "male"}]},
                "exclude": False,
            },
            {"code": {"coding": [{"code": "smoker"}]}, "valueBoolean": False, "exclude": False},
        ],
    },
    {
        "resourceType": "DocumentReference",
        "id": "doc-1",
        "status": "current",
        "content": [{"attachment": {"url": "http://example.org/x"}}],
        "relatesTo": [
            {"code": "replaces", "target": {"reference": "DocumentReference/doc-0"}},
            {"code": "appends", "target": {"reference": "DocumentReference/doc-9"}},
        ],
    },
    {"resourceType": "Location", "id": "mitte", "position": {"latitude": 52.5208, "longitude": 13.4094}},
    {"resourceType": "Location", "id": "potsdam", "position": {"latitude": 52.3906, "longitude": 13.0645}},
    {"resourceType": "Location", "id": "fiji", "position": {"latitude": -17.0, "longitude": 180.0}},
    {"resourceType": "Location", "id": "nowhere"},
    {
        "resourceType": "Condition",
        "id": "con-1",
        "subject": {"reference": "Patient/pat-9"},
        "code": {"coding": [{"display": "Pyrexia of unknown origin"}]},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">High <b>fever</b></div>'},
    },
    {
        "resourceType": "Condition",
        "id": "con-2",
        "subject": {"reference": "Patient/pat-9"},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">low fever</div>'},
    },
    {
        "resourceType": "List",
        "id": "list-1",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/pat-4"}}, {"item": {"reference": "Patient/pat-2"}}],
    },
    _clinical("con-3", "recurrence"),
    _clinical("con-4", "active"),
    _clinical("con-5", "resolved"),
    _sequence("seq-1", "1", (128, 128), (300, 400)),
    _sequence("seq-2", "2", (100, 500), (600, None)),
)

STRINGS = (
    Case("Patient", "family=müller", "pat-1 pat-3"),
    Case("Patient", "family=Muller", "pat-1 pat-3"),
    Case("Patient", "family=uller", ""),
    Case("Patient", "family:contains=ULLER", "pat-1 pat-3"),
    Case("Patient", "family:exact=Müller", "pat-1"),
    Case("Patient", "family:exact=müller", ""),
    Case("Patient", "family:exact=Mülle", ""),
    Case("Patient", "name=jose", "pat-1"),
    Case("Patient", "name=karl,anna", "pat-1 pat-2"),
    Case("Patient", "given=jose&given=karl", "pat-1"),
    Case("Patient", "given=jose&given=anna", ""),
    Case("Patient", "name=Anna%20O%27Neil%5C%2C%20MD", "pat-2"),
    Case("Patient", "address=hauptstrasse", "pat-1"),
    Case("Patient", "address-city=koln", "pat-1"),
    Case("Patient", "name:missing=true", "pat-4"),
    Case("Patient", "name:missing=false", "pat-1 pat-2 pat-3"),
    Case("Patient", "name=&family=muller", "pat-1 pat-3"),
    Case("Patient", "family=", "pat-1 pat-2 pat-3 pat-4"),
    Case("Observation", "value-string=grun", "obs-7"),
)

TOKENS = (
    Case("Patient", "identifier=4711", "pat-1 pat-2"),
    Case("Patient", "identifier=urn:mrn|4711", "pat-1"),
    Case("Patient", "identifier=|4711", "pat-2"),
    Case("Patient", "identifier=urn:mrn|", "pat-1 pat-2"),
    Case("Patient", "identifier=urn:mrn|4712,urn:mrn|4711", "pat-1 pat-2"),
    Case("Patient", "identifier:of-type=urn:types|MR|4711", "pat-1"),
    Case("Patient", "identifier:of-type=urn:types|MC|4711", ""),
    Case("Patient", "gender=male", "pat-1"),
    Case("Patient", "gender=http://hl7.org/fhir/administrative-gender|male", "pat-1"),
    Case("Patient", "gender=urn:wrong|male", ""),
    Case("Patient", "gender=MALE", ""),
    Case("Patient", "gender:not=male", "pat-2 pat-3 pat-4"),
    Case("Patient", "gender:not=male,female", "pat-3 pat-4"),
    Case("Patient", "gender:missing=true", "pat-3 pat-4"),
    Case("Patient", "active=true", "pat-1"),
    Case("Patient", "deceased=true", "pat-3"),
    Case("Patient", "deceased=false", "pat-1 pat-2 pat-4"),
    Case("Patient", "email=jm@example.org", "pat-1"),
    Case("Patient", "phone=jm@example.org", ""),
    Case("Patient", "telecom=jm@example.org", "pat-1"),
    Case("Patient", "_id=pat-1,pat-4,nobody", "pat-1 pat-4"),
    Case("Patient", "_tag=urn:tags|vip", "pat-1"),
    Case("Patient", "_security=R", "pat-1"),
    Case("Patient", "_tag:not=vip", "pat-2 pat-3 pat-4"),
    Case("Slot", "service-type=urn:a%5C|b|x%5C,y", "slot-4"),
    Case("Slot", "service-type=x,y", ""),
    Case("Slot", "service-type:missing=false", "slot-4"),
    Case("Appointment", "part-status=accepted", "app-1 app-2"),
)

REFERENCES = (
    Case("Patient", "general-practitioner=Practitioner/dr-1", "pat-1"),
    Case("Patient", "general-practitioner=dr-1", "pat-1"),
    Case("Patient", "general-practitioner=dr-2", "pat-2"),
    Case("Patient", "general-practitioner:Practitioner=dr-2", "pat-2"),
    Case("Patient", "general-practitioner:Organization=dr-2", ""),
    Case("Patient", "general-practitioner=https://clinic.example/fhir/Practitioner/dr-1", "pat-1"),
    Case("Patient", "general-practitioner=https://other.example/Practitioner/dr-1", "pat-3"),
    Case("Patient", "general-practitioner=Practitioner/dr-1/_history/3", "pat-1"),
    Case("Patient", "general-practitioner:missing=true", "pat-4"),
    Case("Appointment", "patient=pat-1", "app-1"),
    Case("Appointment", "patient=Patient/pat-1,Patient/pat-2", "app-1 app-2"),
    Case("Appointment", "practitioner=dr-1", "app-1"),
    Case("Appointment", "actor=Practitioner/dr-1", "app-1"),
    Case("Appointment", "actor=Patient/dr-1", ""),
    Case("Appointment", "actor:identifier=urn:npi|1", "app-2"),
    Case("Appointment", "practitioner:identifier=urn:npi|1", "app-2"),
    Case("Appointment", "patient:identifier=urn:npi|1", ""),
    Case("Observation", "subject:missing=true", "obs-1 obs-2 obs-3 obs-4 obs-5 obs-6 bp-1 bp-2"),
    Case("Observation", "subject:missing=false", "obs-7 obs-8 obs-9 obs-10"),
    Case("QuestionnaireResponse", "questionnaire=http://example.org/q/1", "qr-1"),
    Case("QuestionnaireResponse", "questionnaire=http://example.org/q/1|2.0", "qr-1"),
    Case("QuestionnaireResponse", "questionnaire=http://example.org/q/1|3.0", ""),
)

URIS = (
    Case("Questionnaire", "url=http://example.org/q", "q-2"),
    Case("Questionnaire", "url:below=http://example.org/q", "q-1 q-2"),
    Case("Questionnaire", "url:below=http://example.org/q/", "q-1"),
    Case("Questionnaire", "url:above=http://example.org/q/1", "q-1 q-2"),
    Case("Questionnaire", "url:below=http://example.org/", "q-1 q-2 q-3"),
    Case("Patient", "_profile=http://example.org/profile/a", "pat-1"),
    Case("Patient", "_profile=http://example.org/profile/a|1.0", "pat-1"),
    Case("Patient", "_profile=http://example.org/profile/a|2.0", ""),
)

DATES = (
    Case("Slot", "start=2026-03-29", "slot-1 slot-2 slot-3"),
    Case("Slot", "start=ge2026-03-29&start=lt2026-03-30", "slot-1 slot-2 slot-3"),
    Case("Slot", "start=2026-03-30", "slot-4"),
    Case("Slot", "start=2026-03-29T00:30", "slot-2"),
    Case("Slot", "start=2026-03-28T23:30:00Z", "slot-2"),
    Case("Slot", "start=ne2026-03-29", "slot-4"),
    Case("Slot", "start=gt2026-03-29", "slot-4"),
    Case("Slot", "start=sa2026-03-29", "slot-4"),
    Case("Slot", "start=lt2026-03-29T00:30:00%2B01:00", "slot-1"),
    Case("Slot", "start=2026-03-29,2026-03-30", "slot-1 slot-2 slot-3 slot-4"),
    Case("Slot", "start=ge2026-03-29T01:00&start=le2026-03-29T23:00", ""),
    Case("Patient", "birthdate=1980", "pat-1 pat-2 pat-3"),
    Case("Patient", "birthdate=1980-05", "pat-1 pat-2"),
    Case("Patient", "birthdate=1980-05-17", "pat-1"),
    Case("Patient", "birthdate=ne1980-05", "pat-3"),
    Case("Patient", "birthdate=lt1980-05-17", "pat-2 pat-3"),
    Case("Patient", "birthdate=gt1980-05-17", "pat-2 pat-3"),
    Case("Patient", "birthdate=ge1980-05", "pat-1 pat-2 pat-3"),
    Case("Patient", "birthdate=le1980-04", "pat-3"),
    Case("Patient", "birthdate=eb1981", "pat-1 pat-2 pat-3"),
    Case("Patient", "birthdate=ap1984", "pat-1 pat-2 pat-3"),
    Case("Patient", "birthdate=ap2000", ""),
    Case("Observation", "date=2026-01", "obs-8 obs-10"),
    Case("Observation", "date=ge2026-01-16", "obs-8 obs-9"),
    Case("Observation", "date=sa2026-01-12", "obs-9"),
    Case("Observation", "date=eb2026-01-14", "obs-10"),
    Case("Observation", "date=gt2030", "obs-9"),
    Case("Observation", "date=lt2026-01-11", "obs-8"),
    Case("Schedule", "date=2026", ""),
    Case("Schedule", "date=gt2050", "sch-1"),
)

NUMBERS = (
    Case("RiskAssessment", "probability=0.5", "risk-1"),
    Case("RiskAssessment", "probability=0.50", "risk-1"),
    Case("RiskAssessment", "probability=5e-1", "risk-1"),
    Case("RiskAssessment", "probability=-1.25", "risk-1"),
    Case("RiskAssessment", "probability=-1.2", "risk-1"),
    Case("RiskAssessment", "probability=-1.20", ""),
    Case("RiskAssessment", "probability=lt-1.2", "risk-1"),
    Case("RiskAssessment", "probability=gt15", "risk-2"),
    Case("RiskAssessment", "probability=lt15", "risk-1 risk-2"),
    Case("RiskAssessment", "probability=sa5", "risk-2"),
    Case("RiskAssessment", "probability=eb10", "risk-1"),
    Case("RiskAssessment", "probability=gt0&probability=lt0", "risk-1"),
)

_KILOGRAMS = f"|{UCUM}|kg"
QUANTITIES = (
    Case("Observation", "value-quantity=100", "obs-1 obs-2 obs-5"),
    Case("Observation", "value-quantity=100" + _KILOGRAMS, "obs-1 obs-2"),
    Case("Observation", "value-quantity=100.0" + _KILOGRAMS, "obs-1"),
    Case("Observation", "value-quantity=1e2" + _KILOGRAMS, "obs-1 obs-2 obs-3 obs-4"),
    Case("Observation", "value-quantity=100||kg", "obs-1 obs-2 obs-5"),
    Case("Observation", "value-quantity=100||kilogram", "obs-1 obs-2 obs-5"),
    Case("Observation", "value-quantity=100||g", ""),
    Case("Observation", "value-quantity=gt100" + _KILOGRAMS, "obs-3 obs-4 obs-6"),
    Case("Observation", "value-quantity=ge100" + _KILOGRAMS, "obs-1 obs-3 obs-4 obs-6"),
    Case("Observation", "value-quantity=lt100" + _KILOGRAMS, "obs-2"),
    Case("Observation", "value-quantity=le100" + _KILOGRAMS, "obs-1 obs-2"),
    Case("Observation", "value-quantity=ne100" + _KILOGRAMS, "obs-3 obs-4 obs-6"),
    Case("Observation", "value-quantity=ap95" + _KILOGRAMS, "obs-1 obs-2 obs-3 obs-4 obs-6"),
    Case("Observation", "value-quantity=sa100" + _KILOGRAMS, "obs-3 obs-4"),
    Case("Observation", f"value-quantity=ge100{_KILOGRAMS}&value-quantity=lt100.5{_KILOGRAMS}", "obs-1 obs-6"),
)

CHAINS = (
    Case("Appointment", "patient.name=jose", "app-1"),
    Case("Appointment", "patient:Patient.name=anna", "app-2"),
    Case("Appointment", "actor:Practitioner.family=lang", "app-1"),
    Case("Appointment", "patient.general-practitioner.name=kurz", "app-2"),
    Case("Appointment", "patient.gender:not=male", "app-2"),
    Case("Slot", "schedule.actor:Practitioner.identifier=1", "slot-1 slot-2 slot-3 slot-4"),
    Case("Patient", "_has:Appointment:patient:status=booked", "pat-1"),
    Case("Patient", "_has:Observation:patient:code=1234-5", "pat-1 pat-2"),
    Case("Patient", "_has:Appointment:patient:practitioner.name=lang", "pat-1"),
    Case("Practitioner", "_has:Patient:general-practitioner:_has:Appointment:patient:status=proposed", "dr-2"),
    Case("Observation", "patient._has:Appointment:patient:status=booked", "obs-7 obs-9"),
)

COMPOSITES = (
    Case("Observation", "code-value-quantity=1234-5$100" + _KILOGRAMS, "obs-1 obs-2"),
    Case("Observation", "code-value-quantity=http://loinc.org|1234-5$gt100" + _KILOGRAMS, "obs-3 obs-4 obs-6"),
    Case("Observation", "code-value-quantity=|1234-5$100", ""),
    Case("Observation", "code-value-quantity=1234-6$100,1234-5$104", "obs-4"),
    Case("Observation", "code-value-string=1234-5$gru", "obs-7"),
    Case("Observation", "component-code-value-quantity=sys$120", "bp-1"),
    Case("Observation", "component-code-value-quantity=sys$80", ""),
    Case("Observation", "component-code-value-quantity=dia$80", "bp-1"),
    Case("Observation", "component-code-value-quantity=sys$ge120&component-code-value-quantity=dia$lt90", "bp-1"),
    Case("Observation", "combo-code-value-quantity=sys$120,1234-5$104", "bp-1 obs-4"),
    Case("Observation", "combo-code-value-quantity=sys$80", ""),
    Case("Group", "characteristic-value=gender$male", "group-1"),
    Case("Group", "characteristic-value=gender$false", ""),
    Case("Group", "characteristic-value=smoker$false", "group-1"),
    Case("DocumentReference", "relationship=DocumentReference/doc-0$replaces", "doc-1"),
    Case("DocumentReference", "relationship=DocumentReference/doc-0$appends", ""),
)

UNITS = (
    Case("Observation", f"value-quantity=100000|{UCUM}|g", "obs-1"),
    Case("Observation", f"value-quantity=1e5|{UCUM}|g", "obs-1 obs-2 obs-3 obs-4"),
    Case("Observation", f"value-quantity=gt100500000|{UCUM}|mg", "obs-4 obs-6"),
    Case("Observation", f"value-quantity=ap210|{UCUM}|[lb_av]", "obs-1 obs-2 obs-3 obs-4 obs-6"),
    Case("Observation", f"value-quantity=16.0|{UCUM}|kPa", "bp-2"),
    Case("Observation", f"value-quantity=100|{UCUM}|cm", ""),
    Case("Observation", f"value-quantity=100|{UCUM}|kilograms", ""),
)

PLACES = (
    Case("Location", "near=52.52|13.405|1|km", "mitte"),
    Case("Location", "near=52.52|13.405|30|km", "mitte potsdam"),
    Case("Location", "near=52.52|13.405|30000|m", "mitte potsdam"),
    Case("Location", "near=52.52|13.405|18|[mi_i]", "mitte potsdam"),
    Case("Location", "near=52.52|13.405|25", "mitte"),
    Case("Location", "near=-17|179.9|50|km", "fiji"),
    Case("Location", "near=-17|-179.9|50|km", "fiji"),
    Case("Location", "near=89.9|0|100|km", ""),
)

WORDS = (
    Case("Condition", "_text=fever", "con-1 con-2"),
    Case("Condition", "_text=high FÉVER", "con-1"),
    Case("Condition", "_text=fev", ""),
    Case("Condition", "_text=div", ""),
    Case("Condition", "_text=high,low", "con-1 con-2"),
    Case("Condition", "code:text=pyrexia", "con-1"),
    Case("Condition", "code:text=yrexia", ""),
    Case("Patient", "gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", "pat-1 pat-2"),
    Case("Patient", "gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender", "pat-3 pat-4"),
    Case("Patient", "_list=list-1", "pat-2 pat-4"),
    Case("Patient", "_list=list-2", ""),
)

CONCEPTS = (
    Case("Condition", f"clinical-status:below={CLINICAL}|active", "con-3 con-4"),
    Case("Condition", f"clinical-status:below={CLINICAL}|inactive", "con-5"),
    Case("Condition", f"clinical-status:below={CLINICAL}|recurrence", "con-3"),
    Case("Condition", f"clinical-status:above={CLINICAL}|recurrence", "con-3 con-4"),
    Case("Condition", f"clinical-status:above={CLINICAL}|active", "con-4"),
    Case("Condition", f"clinical-status:above={CLINICAL}|remission,{CLINICAL}|relapse", "con-4"),
    Case("Condition", f"clinical-status:below={CLINICAL}|unknown", ""),
    Case("Patient", "gender:below=http://hl7.org/fhir/administrative-gender|male", "pat-1"),
    Case("Encounter", "class:below=http://terminology.hl7.org/CodeSystem/v3-ActCode|_ActEncounterCode", ""),
)
SPANNED = (
    Case("MolecularSequence", "chromosome-variant-coordinate=1$gt100$lt500", "seq-1"),
    Case("MolecularSequence", "chromosome-variant-coordinate=1$128$128", "seq-1"),
    Case("MolecularSequence", "chromosome-variant-coordinate=1$128$400", ""),
    Case("MolecularSequence", "chromosome-variant-coordinate=urn:chromosomes|2$ge100$le500", "seq-2"),
    Case("MolecularSequence", "chromosome-variant-coordinate=urn:others|2$ge100$le500", ""),
    Case("MolecularSequence", "chromosome-variant-coordinate=2$gt100$le500", ""),
    Case("MolecularSequence", "chromosome-variant-coordinate=2$ge600$ge600", ""),
    Case("MolecularSequence", "chromosome-variant-coordinate=1$ne128$ne128,2$le100$ge500", "seq-1 seq-2"),
    Case("MolecularSequence", "chromosome-window-coordinate=2$le100$ge500", "seq-2"),
    Case("MolecularSequence", "referenceseqid-variant-coordinate=NC_1$sa200$eb401", "seq-1"),
    Case("MolecularSequence", "referenceseqid-window-coordinate=NC_1$ap130$ap130", "seq-1"),
)
FILTERS = (
    Case("Patient", '_filter=family eq "müller"', "pat-1"),
    Case("Patient", "_filter=family eq MULLER", "pat-1"),
    Case("Patient", "_filter=family sw muller", "pat-1 pat-3"),
    Case("Patient", "_filter=family co LLER", "pat-1 pat-3"),
    Case("Patient", '_filter=name eq "Anna O\'Neil, MD"', "pat-2"),
    Case("Patient", "_filter=gender eq male or gender eq female", "pat-1 pat-2"),
    Case("Patient", "_filter=gender ne male", "pat-2"),
    Case("Patient", "_filter=not (gender eq male)", "pat-2 pat-3 pat-4"),
    Case("Patient", "_filter=not(gender eq male) and birthdate pr true", "pat-2 pat-3"),
    Case("Patient", "_filter=gender pr false", "pat-3 pat-4"),
    # `and` goes before `or`.
    Case("Patient", "_filter=_id eq pat-4 or gender eq male and family sw x", "pat-4"),
    Case("Patient", "_filter=(_id eq pat-4 or gender eq male) and family sw m", "pat-1"),
    Case("Patient", "_filter=identifier eq urn:mrn|4711", "pat-1"),
    Case("Patient", "_filter=identifier eq |4711", "pat-2"),
    Case("Patient", "_filter=birthdate ge 1980-05-17", "pat-1 pat-2 pat-3"),
    Case("Patient", "_filter=birthdate po 1980-05-17", "pat-1 pat-2 pat-3"),
    Case("Patient", "_filter=birthdate eq 1980-05", "pat-1 pat-2"),
    Case("Patient", "_filter=general-practitioner.family sw lang", "pat-1"),
    Case("Patient", "_filter=general-practitioner:Practitioner.identifier eq 1", "pat-1"),
    Case("Patient", "_filter=general-practitioner re Practitioner/dr-2", "pat-2"),
    Case("Patient", "_filter=gender in http://hl7.org/fhir/ValueSet/administrative-gender", "pat-1 pat-2"),
    Case("Patient", "_filter=gender ni http://hl7.org/fhir/ValueSet/administrative-gender", "pat-3 pat-4"),
    Case("Condition", f"_filter=clinical-status ss {CLINICAL}|active", "con-3 con-4"),
    Case("Condition", f"_filter=clinical-status sb {CLINICAL}|recurrence", "con-3 con-4"),
    Case("Condition", "_filter=clinical-status pr false", "con-1 con-2"),
    Case("RiskAssessment", "_filter=probability gt 0.4", "risk-1 risk-2"),
    Case("RiskAssessment", "_filter=probability eq 0.5", "risk-1"),
    Case("Questionnaire", "_filter=url eq http://example.org/q and status eq draft", "q-2"),
    Case("Patient", "_filter=gender eq male&_filter=family sw x", ""),
    Case("Patient", "_filter=", "pat-1 pat-2 pat-3 pat-4"),
    Case("Patient", "_contained=false&gender=male", "pat-1"),
)

CASES = (
    *COMPOSITES,
    *UNITS,
    *PLACES,
    *WORDS,
    *STRINGS,
    *TOKENS,
    *REFERENCES,
    *URIS,
    *DATES,
    *NUMBERS,
    *QUANTITIES,
    *CHAINS,
    *CONCEPTS,
    *SPANNED,
    *FILTERS,
)

ORDERED = (
    Case("Patient", "_sort=_id", "pat-1 pat-2 pat-3 pat-4"),
    Case("Patient", "_sort=-_id", "pat-4 pat-3 pat-2 pat-1"),
    Case("Patient", "_sort=family", "pat-1 pat-3 pat-2 pat-4"),
    Case("Patient", "_sort=-family", "pat-3 pat-1 pat-2 pat-4"),
    Case("Patient", "_sort=birthdate,-_id", "pat-3 pat-2 pat-1 pat-4"),
    Case("Patient", "_sort=-birthdate", "pat-1 pat-2 pat-3 pat-4"),
    Case("Patient", "_sort=gender&_sort=-_id", "pat-2 pat-1 pat-4 pat-3"),
    Case("Slot", "_sort=-start", "slot-4 slot-3 slot-2 slot-1"),
    Case("Slot", "_sort=status,start", "slot-2 slot-1 slot-3 slot-4"),
    Case("Slot", "_sort=schedule", "slot-1 slot-2 slot-3 slot-4"),
    Case("RiskAssessment", "_sort=probability", "risk-1 risk-2"),
    Case("RiskAssessment", "_sort=-probability", "risk-2 risk-1"),
    Case("Questionnaire", "_sort=-url", "q-3 q-1 q-2"),
    Case(
        "Observation",
        "value-quantity:missing=false&_sort=value-quantity,_id",
        "obs-2 obs-1 obs-5 obs-6 obs-3 obs-4 bp-2",
    ),
)

# What a client may not ask: answered with 400 and an issue that names the parameter.
REFUSED: tuple[tuple[str, str], ...] = (
    ("Slot", "colour=red"),
    ("Slot", "start=2026-13"),
    ("Slot", "start=2026-02-30"),
    ("Slot", "start=tomorrow"),
    ("Slot", "start=zz2026"),
    ("Slot", "start=2026-01-01T10:00:00 01:00"),
    ("Slot", "start:exact=2026"),
    ("Slot", "start:missing=maybe"),
    ("Slot", "status:contains=fr"),
    ("Slot", "status:=free"),
    ("Slot", "_count:=5"),
    ("Slot", "status:in=http://example.org/vs"),
    ("Slot", "status=|"),
    ("Slot", "schedule=a b"),
    ("Slot", "schedule=Colour/1"),
    ("Slot", "schedule:Patient=1"),
    ("Slot", "schedule.colour=red"),
    ("Slot", "status.name=x"),
    ("Slot", "schedule:Colour.name=x"),
    ("Slot", "schedule:Patient.name=x"),
    ("Slot", "_has:Appointment:slot=x"),
    ("Slot", "_has:Appointment:status:date=2026"),
    ("Slot", "_has:Colour:slot:date=2026"),
    ("Patient", "_has:Appointment:slot:status=booked"),
    ("Observation", "value-quantity=abc"),
    ("Observation", "value-quantity=5|mg"),
    ("Observation", "value-quantity=5|http://unitsofmeasure.org|"),
    ("Observation", "value-quantity=zz5"),
    ("Observation", "code-value-quantity=1234-5"),
    ("Observation", "code-value-quantity=1234-5$"),
    ("Observation", "code-value-quantity=http://loinc.org|$5"),
    ("Observation", "code-value-quantity=1234-5$many"),
    ("Observation", "code-value-quantity:missing=true"),
    ("Observation", "_sort=code-value-quantity"),
    ("RiskAssessment", "probability=1.2.3"),
    ("RiskAssessment", "probability=NaN"),
    ("Location", "near=1"),
    ("Location", "near=91|0"),
    ("Location", "near=1|2|3|parsecs"),
    ("Location", "near=1|2|-3"),
    ("Location", "near:missing=true"),
    ("Patient", "_text=..."),
    ("Patient", "_list=a b"),
    ("Patient", "gender:in=http://example.org/unknown"),
    ("Observation", "code:not-in=http://hl7.org/fhir/ValueSet/observation-codes"),
    ("Patient", "_content=fever"),
    ("Patient", "_filter=name"),
    ("Patient", "_filter=name eq"),
    ("Patient", "_filter=name eq x and"),
    ("Patient", "_filter=name eq x y"),
    ("Patient", "_filter=(name eq x"),
    ("Patient", "_filter=name eq x)"),
    ("Patient", "_filter=name is x"),
    ("Patient", "_filter=name ew x"),
    ("Patient", "_filter=name ne x"),
    ("Patient", "_filter=name gt x"),
    ("Patient", '_filter=name eq "x'),
    ("Patient", '_filter=name eq ""'),
    ("Patient", "_filter=colour eq red"),
    ("Patient", "_filter=gender pr maybe"),
    ("Patient", "_filter=birthdate eq never"),
    ("Patient", "_filter=name[use eq official].family eq x"),
    ("Patient", "_filter=not gender eq male"),
    ("Patient", "_filter=" + "(" * 30 + "gender eq male" + ")" * 30),
    ("Location", "_filter=near eq 1"),
    ("Patient", "_filter=_text eq x"),
    ("Patient", "_query=current-high-risk"),
    ("Patient", "_contained=yes"),
    ("Patient", "_contained:not=true"),
    ("Patient", "_contained=true&_contained=both"),
    ("Patient", "_containedType=both"),
    ("Patient", "_contained=true&_include=Patient:organization"),
    ("Patient", "_contained=both&_revinclude=Observation:subject"),
    ("Condition", "code:below=http://snomed.info/sct|1"),
    ("Condition", "clinical-status:below=active"),
    ("Condition", f"clinical-status:above={CLINICAL}|"),
    ("MolecularSequence", "chromosome-variant-coordinate=1$2"),
    ("MolecularSequence", "chromosome-variant-coordinate=1$2$x"),
    ("MolecularSequence", "chromosome-variant-coordinate=urn:x|$2$3"),
    ("Patient", "identifier:of-type=urn:mrn|4711"),
    ("Patient", "name:colour=x"),
    ("Slot", "_count=-1"),
    ("Slot", "_count=many"),
    ("Slot", "_count=5&_count=6"),
    ("Slot", "_sort=colour"),
    ("Slot", "_sort=-"),
    ("Slot", "_total=some"),
    ("Slot", "_summary=yes"),
    ("Slot", "_summary:exact=true"),
    ("Slot", "_elements=colour"),
    ("Slot", "_include=Slot:status"),
    ("Slot", "_include=Slot"),
    ("Slot", "_include=Slot:schedule:Colour"),
    ("Slot", "_include=Schedule:actor"),
    ("Slot", "_include:colour=Slot:schedule"),
    ("Slot", "_revinclude=Observation:subject"),
    ("QuestionnaireResponse", "_include=QuestionnaireResponse:questionnaire"),
    ("Questionnaire", "_revinclude=QuestionnaireResponse:questionnaire"),
    ("Slot", "_revinclude=Colour:slot"),
)
