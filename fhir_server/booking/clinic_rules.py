"""A clinic's rules for a bookable service, as an extension on its HealthcareService (docs/booking.md).

{"url": ".../booking-rules", "extension": [{"url": "auto-confirm", "valueBoolean": true}, …]}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fhir_server.fhir.own import BOOKING_RULES

LOW_RISK = "low"


@dataclass(frozen=True, slots=True)
class ClinicRules:
    """The rules of one service; where several services share a slot, the strictest of each.

    `service` is the HealthcareService's versioned reference, for the audit of what a rule decides.
    """

    service: str = ""
    auto_confirm: bool = False
    risk: str = "normal"
    clinical_review: bool = False
    capacity: int = 1
    minimum_notice_minutes: int = 0
    furthest_advance_days: int = 365
    cancellation_window_hours: int = 24
    proposal_expiry_hours: int = 168
    hold_minutes: int = 0
    withdrawal: bool = False

    @property
    def confirms_itself(self) -> bool:
        """Whether a proposal may become an appointment without a human: allowed, and low-risk (R-10.2)."""
        return self.auto_confirm and self.risk == LOW_RISK and not self.clinical_review


_NAMES = {field.name.replace("_", "-"): field.name for field in fields(ClinicRules) if field.name != "service"}


def of_service(service: Mapping[str, Any]) -> ClinicRules:
    """The rules on a HealthcareService; defaults where it says nothing."""
    given: dict[str, Any] = {"service": f"HealthcareService/{service['id']}/_history/{service['meta']['versionId']}"}
    for extension in service.get("extension", ()):
        if extension.get("url") == BOOKING_RULES:
            for part in extension.get("extension", ()):
                name = _NAMES.get(part.get("url", ""))
                if name is not None:
                    given[name] = next((value for key, value in part.items() if key.startswith("value")), None)
    return ClinicRules(**{name: value for name, value in given.items() if value is not None})


def strictest(rules: Iterable[ClinicRules]) -> ClinicRules:
    """What holds when all of the rules hold; the defaults when there are none."""
    all_rules = list(rules)
    if not all_rules:
        return ClinicRules()
    return ClinicRules(
        service=" ".join(rule.service for rule in all_rules),
        auto_confirm=all(rule.auto_confirm for rule in all_rules),
        risk=LOW_RISK if all(rule.risk == LOW_RISK for rule in all_rules) else "normal",
        clinical_review=any(rule.clinical_review for rule in all_rules),
        capacity=min(rule.capacity for rule in all_rules),
        minimum_notice_minutes=max(rule.minimum_notice_minutes for rule in all_rules),
        furthest_advance_days=min(rule.furthest_advance_days for rule in all_rules),
        cancellation_window_hours=max(rule.cancellation_window_hours for rule in all_rules),
        proposal_expiry_hours=min(rule.proposal_expiry_hours for rule in all_rules),
        hold_minutes=min(rule.hold_minutes for rule in all_rules),
        withdrawal=all(rule.withdrawal for rule in all_rules),
    )
