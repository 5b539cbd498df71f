"""The search parameter of this server's own on AuditEvent: `correlation`, what ties a journey together (R-10.9)."""

from fhir_server.fhir.own import ROOT
from profiles.definitions import SearchParameter

CORRELATION = SearchParameter(
    f"{ROOT}/SearchParameter/AuditEvent-correlation",
    "correlation",
    ("AuditEvent",),
    "token",
    "AuditEvent.entity.where(type.code = 'correlation').what.identifier",
)
OWN_PARAMETERS = (CORRELATION,)
