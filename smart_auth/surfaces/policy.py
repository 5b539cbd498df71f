"""The policy: role × types × letters × rows × elements, one rule a line (requirements §7, R-6.2 to R-6.4).

Letters are those of SMART scopes: c create, r read and instance history, u update and patch, d delete, s search.
The cells of §7 are numbered row by row: R-7.1 is (booking proposals, Website Builder), R-7.18 (clinic configuration,
Provider Portal). What no rule names is refused. Nobody updates or deletes an
AuditEvent; surfaces record their own (IHE ITI-20). Booking rules narrow writes of Appointment further
(`fhir_server.booking`), among them what needs a human (R-10.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fhir_server.interactions.access import Role
from smart_auth.surfaces import rows
from smart_auth.surfaces.rows import RowFilter
from smart_auth.surfaces.types import (
    AVAILABILITY,
    CLINICAL,
    CONFIGURATION,
    CONTACT,
    FORMS,
    IDENTITY,
    LIMITED,
    PERSON,
    PROPOSAL,
    PUBLIC,
    SCHEDULING,
)

# A role; a patient or proxy who signed in through the clinic's website sees less than through the portal.
Who = Role | Literal["website-patient"]
ALL_TYPES = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Whoever is in `who` may do `letters` on `types` ('*': all but `but`), on the rows that `rows` lets through.

    `elements` None: whole resources; else type by type the elements that are shown. `purpose` is a code of
    v3-ActReason where it is not that of the role. `is_shared`: other patients whom it names are not shown.
    """

    name: str
    who: tuple[Who, ...]
    types: tuple[str, ...]
    letters: str
    rows: RowFilter = rows.everything
    elements: Mapping[str, frozenset[str]] | None = None
    but: tuple[str, ...] = ()
    purpose: str = ""
    is_shared: bool = False


_OUTSIDE: tuple[Who, ...] = ("public", "website", "website-patient", "patient", "proxy")
_PORTAL: tuple[Who, ...] = ("patient", "proxy")
_PROPOSAL = {"Appointment": PROPOSAL}
_SETTINGS = tuple(type_ for type_ in PUBLIC if type_ not in AVAILABILITY)

POLICY: tuple[Rule, ...] = (
    # The Website Builder, and everybody without a login.
    Rule("R-7.1 anybody proposes", ("public", "website"), ("Appointment",), "c", rows.proposed, _PROPOSAL),
    Rule("R-7.1 website reads proposals it submitted", ("website",), ("Appointment",), "rs", rows.submitted, _PROPOSAL),
    Rule("R-7.7 website reads the provisional identities it made", ("website",), ("Patient",), "r", rows.made_person,
         PERSON),
    Rule("R-7.13 public reads free times", _OUTSIDE, ("Slot",), "rs", rows.not_mistaken, PUBLIC),
    Rule("R-7.13 public reads schedules", _OUTSIDE, ("Schedule",), "rs", rows.in_use, PUBLIC),
    Rule("R-7.16 public reads configuration", _OUTSIDE, _SETTINGS, "rs", rows.in_use, PUBLIC),
    Rule("R-4.3 patient proposes on the website", ("website-patient",), ("Appointment",), "c", rows.own_proposed),
    Rule("R-7.2 patient reads own open proposals", ("website-patient",), ("Appointment",), "rs",
         rows.own_open_proposals, is_shared=True),
    # The Patient Portal.
    Rule("R-7.2 patient proposes", _PORTAL, ("Appointment",), "c", rows.own_proposed),
    Rule("R-7.5 patient reads own appointments", _PORTAL, ("Appointment",), "rs", rows.own,
         is_shared=True),
    Rule("R-10.4 patient cancels own appointments", _PORTAL, ("Appointment",), "u", rows.own, is_shared=True),
    Rule("R-7.20 patient answers an offered time", _PORTAL, ("AppointmentResponse",), "crs", rows.own),
    Rule("R-7.20 patient fills in own forms", _PORTAL, ("QuestionnaireResponse",), "crs", rows.own_unrestricted),
    Rule("R-7.20 patient changes own answers", _PORTAL, ("QuestionnaireResponse",), "u", rows.own_answers),
    Rule("R-4.7 patient reads forms", _PORTAL, ("Questionnaire",), "rs", rows.published),
    Rule("R-7.8 patient reads own identity", (*_PORTAL, "website-patient"), ("Patient",), "rs", rows.own_self),
    Rule("R-7.20 patient changes own contact details", _PORTAL, ("Patient",), "u", rows.own_self, CONTACT),
    Rule("R-7.11 patient reads own records, limited", _PORTAL, tuple(LIMITED), "rs", rows.own_limited,
         but=("Communication",)),
    Rule("R-7.11 patient reads own messages, limited", _PORTAL, ("Communication",), "rs", rows.own_limited,
         is_shared=True),
    # The Provider Portal.
    Rule("R-7.6 provider manages appointments", ("practitioner",), SCHEDULING, "crus"),
    Rule("R-7.9 provider reads patients under care", ("practitioner",), IDENTITY, "rs", rows.under_care),
    Rule("R-4.5 provider sees who proposes", ("practitioner",), ("Patient",), "rs", rows.intake),
    Rule("R-7.12 provider reads and writes records under care", ("practitioner",), CLINICAL, "cruds", rows.under_care),
    Rule("R-6.3 provider breaks the glass", ("practitioner",), (*IDENTITY, *CLINICAL), "rs", rows.under_glass,
         purpose="BTG"),
    Rule("R-7.15 provider manages availability", ("practitioner",), AVAILABILITY, "cruds"),
    Rule("R-7.18 provider reads configuration", ("practitioner",), (*CONFIGURATION, *FORMS), "rs"),
    Rule("R-6.4 front desk manages appointments", ("front-desk",), SCHEDULING, "crus"),
    Rule("R-6.4 front desk reads demographics", ("front-desk",), IDENTITY, "rs"),
    Rule("R-6.4 front desk manages availability", ("front-desk",), AVAILABILITY, "cruds"),
    Rule("R-6.4 front desk reads configuration", ("front-desk",), CONFIGURATION, "rs"),
    # Auditors, administrators, other systems of the clinic.
    Rule("R-C.3 auditor reads the audit log", ("auditor",), ("AuditEvent",), "rs"),
    Rule("R-6.5 surface records its own events", ("website", "service"), ("AuditEvent",), "c"),
    Rule("R-6.4 administrator", ("administrator",), (ALL_TYPES,), "cruds", but=("AuditEvent",)),
    Rule("R-6.4 administrator reads the audit log", ("administrator",), ("AuditEvent",), "rs"),
    Rule("R-7.6 service manages appointments", ("service",), SCHEDULING, "crus"),
    Rule("R-7.9 service reads patients", ("service",), IDENTITY, "rs"),
    Rule("R-7.12 service reads and writes records", ("service",), CLINICAL, "cruds"),
    Rule("R-7.15 service manages availability", ("service",), AVAILABILITY, "cruds"),
    Rule("R-7.18 service reads configuration", ("service",), (*CONFIGURATION, *FORMS), "rs"),
)  # fmt: skip
