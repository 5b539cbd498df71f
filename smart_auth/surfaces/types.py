"""Groups of resource types, elements and statuses that the access policy speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass

_EVERY = frozenset({"resourceType", "id", "meta"})


def _only(elements: str) -> frozenset[str]:
    return _EVERY | frozenset(elements.split())


# Public parts: type -> the elements that anybody sees. No comment, narrative, extension or contained
# resource; of a practitioner no contact, address, birth date or identifier, which may be private or a tax number.
PUBLIC: Mapping[str, frozenset[str]] = {
    "Organization": _only("identifier active type name alias telecom address partOf"),
    "Location": _only(
        "identifier status operationalStatus name alias description mode type telecom address physicalType position "
        "managingOrganization partOf hoursOfOperation availabilityExceptions"
    ),
    "HealthcareService": _only(
        "identifier active providedBy category type specialty location name comment extraDetails photo telecom "
        "coverageArea serviceProvisionCode eligibility program characteristic communication referralMethod "
        "appointmentRequired availableTime notAvailable availabilityExceptions"
    ),
    "Practitioner": _only("active name photo qualification communication"),
    "PractitionerRole": _only(
        "active period practitioner organization code specialty location healthcareService availableTime notAvailable "
        "availabilityExceptions"
    ),
    "Schedule": _only("identifier active serviceCategory serviceType specialty actor planningHorizon"),
    "Slot": _only(
        "identifier serviceCategory serviceType specialty appointmentType schedule status start end overbooked"
    ),
}

# What the website sees of a proposal: no person, reason or note.
PROPOSAL = _only(
    "status serviceCategory serviceType specialty appointmentType start end minutesDuration slot created "
    "requestedPeriod"
)

# What it sees of the person of a proposal, while nobody has verified who that is.
PERSON = {"Patient": _only("name telecom gender birthDate address communication")}

CONFIGURATION = ("Organization", "Location", "HealthcareService", "Practitioner", "PractitionerRole", "Endpoint")
FORMS = ("Questionnaire", "PlanDefinition", "ActivityDefinition")
AVAILABILITY = ("Schedule", "Slot")
SCHEDULING = ("Appointment", "AppointmentResponse")
IDENTITY = ("Patient", "RelatedPerson", "Person")
CLINICAL = (
    "AdverseEvent", "AllergyIntolerance", "BodyStructure", "CarePlan", "CareTeam", "ClinicalImpression",
    "Communication", "CommunicationRequest", "Composition", "Condition", "Consent", "DetectedIssue", "Device",
    "DeviceRequest", "DeviceUseStatement", "DiagnosticReport", "DocumentManifest", "DocumentReference", "Encounter",
    "EpisodeOfCare", "FamilyMemberHistory", "Flag", "Goal", "GuidanceResponse", "ImagingStudy", "Immunization",
    "ImmunizationEvaluation", "ImmunizationRecommendation", "List", "Media", "Medication", "MedicationAdministration",
    "MedicationDispense", "MedicationRequest", "MedicationStatement", "MolecularSequence", "NutritionOrder",
    "Observation", "Procedure", "Provenance", "QuestionnaireResponse", "RequestGroup", "RiskAssessment",
    "ServiceRequest", "Specimen", "SupplyDelivery", "SupplyRequest", "Task", "VisionPrescription",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limited:
    """Of a clinical type, what a patient sees: `param` is one of `codes` or absent ('' param: any status)."""

    param: str
    codes: tuple[str, ...]


_RESULT = ("final", "amended", "corrected", "appended")
_ORDER = ("active", "on-hold", "completed", "revoked", "stopped", "cancelled")

# A patient's "limited" clinical records: named types in statuses that a clinician stands behind.
# AuditEvent and Group are never among them.
LIMITED: Mapping[str, Limited] = {
    "AllergyIntolerance": Limited("verification-status", ("confirmed", "unconfirmed")),
    "CarePlan": Limited("status", ("active", "on-hold", "completed", "revoked")),
    "CareTeam": Limited("status", ("active", "suspended", "inactive")),
    "Communication": Limited("status", ("completed",)),
    "Condition": Limited("verification-status", ("confirmed",)),
    "DiagnosticReport": Limited("status", _RESULT),
    "DocumentReference": Limited("status", ("current", "superseded")),
    "Encounter": Limited("status", ("finished",)),
    "Goal": Limited("lifecycle-status", ("accepted", "active", "on-hold", "completed", "cancelled")),
    "Immunization": Limited("status", ("completed", "not-done")),
    "MedicationDispense": Limited("status", ("completed", "declined", "stopped")),
    "MedicationRequest": Limited("status", _ORDER),
    "Observation": Limited("status", _RESULT),
    "Procedure": Limited("status", ("completed", "not-done", "stopped")),
    "Provenance": Limited("", ()),
    "ServiceRequest": Limited("status", _ORDER),
}

# Of these, what a Provenance is about is followed to its patient.
LIMITED_WITH_PATIENT = tuple(type_ for type_ in LIMITED if type_ != "Provenance")

# Whom a resource is about, for care: the search parameter of its patient where that is not `patient`.
ABOUT: Mapping[str, str] = {"AdverseEvent": "subject", "SupplyRequest": "subject"}
# Types that have no patient, and those that need not have one; about nobody, they are the clinic's own.
ABOUT_NOBODY = ("Medication",)
MAY_BE_ABOUT_NOBODY = (
    "Communication", "CommunicationRequest", "Device", "DeviceRequest", "List", "SupplyDelivery", "SupplyRequest",
    "Task",
)  # fmt: skip

# What a patient changes of their own Patient: contact details, communication preferences, emergency contact.
CONTACT: Mapping[str, frozenset[str]] = {"Patient": frozenset({"telecom", "address", "communication", "contact"})}

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RESTRICTED = ("R", "V")  # restricted, very restricted
