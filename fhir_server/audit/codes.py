"""What each kind of event is called: its AuditEvent type and subtype (BALP, IUA, DICOM, FHIR restful-interaction).

`KINDS` are the events beside the interactions of the table. An event of no kind here and no interaction is shown
under this server's own code system.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.fhir.own import CODES

DCM = "http://dicom.nema.org/resources/ontology/DCM"
REST_TYPE = ("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")
REST = "http://hl7.org/fhir/restful-interaction"
OWN = f"{CODES}audit"
IHE = "urn:ihe:event-type-code"

Coding = tuple[str, str]

INTERACTIONS = frozenset(
    ("read", "vread", "create", "update", "patch", "delete", "search-type", "search-system", "history-instance",
     "history-type", "history-system", "capabilities", "operation", "batch", "transaction")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of an event, and its subtype."""

    type: Coding
    subtype: Coding


_USER_AUTHENTICATION, _SECURITY_ALERT = (DCM, "110114"), (DCM, "110113")

KINDS: Mapping[str, Kind] = {
    # The authorization server.
    "token": Kind(_USER_AUTHENTICATION, (IHE, "ITI-71")),
    "refresh": Kind(_USER_AUTHENTICATION, (IHE, "ITI-71")),
    "introspect": Kind(_USER_AUTHENTICATION, (IHE, "ITI-102")),
    "revoke": Kind(_USER_AUTHENTICATION, (OWN, "revoke")),
    "login": Kind(_USER_AUTHENTICATION, (DCM, "110122")),
    "logout": Kind(_USER_AUTHENTICATION, (DCM, "110123")),
    "authorize": Kind(_USER_AUTHENTICATION, (OWN, "authorize")),
    "launch": Kind(_USER_AUTHENTICATION, (OWN, "launch")),
    "consent": Kind(
        _SECURITY_ALERT, ("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditSubType", "AuthZ-Consent")
    ),
    "register": Kind(_SECURITY_ALERT, (DCM, "110136")),  # security roles changed
    "passkey-add": Kind(_SECURITY_ALERT, (OWN, "passkey-add")),
    "passkey-remove": Kind(_SECURITY_ALERT, (OWN, "passkey-remove")),
    "account-link": Kind(_SECURITY_ALERT, (OWN, "account-link")),
    "patient-search": Kind(REST_TYPE, (REST, "search-type")),
    "search-compartment": Kind(REST_TYPE, (REST, "search")),  # R4 has no code of its own for it
    "break-glass": Kind(_SECURITY_ALERT, (DCM, "110127")),  # emergency override started
    # The server itself, and those who run it.
    "command": Kind((DCM, "110100"), (OWN, "command")),  # application activity
    "start": Kind((DCM, "110100"), (DCM, "110120")),
    "stop": Kind((DCM, "110100"), (DCM, "110121")),
    "configure": Kind((DCM, "110100"), (OWN, "configure")),
    "denials": Kind(_SECURITY_ALERT, (OWN, "denials")),
    "unknown": Kind(_SECURITY_ALERT, (OWN, "unknown")),
    "damaged": Kind(_SECURITY_ALERT, (OWN, "damaged")),
    # What leaves the clinic.
    "export": Kind((DCM, "110106"), (OWN, "export")),
    "import": Kind((DCM, "110107"), (OWN, "import")),
    "disclose": Kind((DCM, "110106"), ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "disclose")),
    "notify": Kind((DCM, "110106"), (OWN, "notify")),
    "audit-purge": Kind((DCM, "110101"), (OWN, "audit-purge")),  # audit log used
}

# v3-ActReason: what the access of a role is for, where an event says nothing else.
PURPOSES: Mapping[str, str] = {
    "public": "PATRQT",
    "website": "PATRQT",
    "patient": "PATRQT",
    "proxy": "FAMRQT",
    "practitioner": "TREAT",
    "front-desk": "PATADMIN",
    "service": "TREAT",
    "auditor": "HCOMPL",
    "administrator": "HSYSADMIN",
}


def kind_of(subtype: str) -> Kind:
    """The type and subtype of an event."""
    if subtype in INTERACTIONS:
        return Kind(REST_TYPE, (REST, subtype))
    return KINDS.get(subtype, Kind((DCM, "110100"), (OWN, subtype)))


def is_known(subtype: str) -> bool:
    """Whether a kind of event has its codes here."""
    return subtype in INTERACTIONS or subtype in KINDS
