"""OperationOutcome issues and the resource that carries them (FHIR R4 operationoutcome.html)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing to tell the caller.

    `code` is of the R4 value set issue-type; `diagnostics` says what is wrong and how to mend it, without
    patient data or tokens; `expression` is a FHIRPath such as `Appointment.participant[0].status`.
    """

    code: str
    diagnostics: str
    expression: str | None = None
    severity: Severity = "error"

    def as_json(self) -> dict[str, Any]:
        """The `OperationOutcome.issue` entry."""
        entry: dict[str, Any] = {"severity": self.severity, "code": self.code, "diagnostics": self.diagnostics}
        if self.expression is not None:
            entry["expression"] = [self.expression]
        return entry


def operation_outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome resource with at least one issue."""
    entries = [issue.as_json() for issue in issues]
    all_ok = Issue("informational", "All OK", severity="information")
    return {"resourceType": "OperationOutcome", "issue": entries or [all_ok.as_json()]}
