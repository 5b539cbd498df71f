"""A clinic's rules for a bookable service, as an extension on its HealthcareService (docs/booking.md).

{"url": ".../booking-rules", "extension": [{"url": "auto-confirm", "valueBoolean": true}, …]}
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.own import BOOKING_RULES

LOW_RISK = "low"


@dataclass(frozen=True, slots=True)
class ClinicRules:
    """The rules of one service; where several services share a slot, the strictest of each. Limits of 0: none.

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
    buffer_before_minutes: int = 0
    buffer_after_minutes: int = 0
    daily_limit: int = 0
    open_proposals: int = 0
    override: bool = False
    duration_minutes: int = 0
    review_hours: int = 0

    @property
    def confirms_itself(self) -> bool:
        """Whether a proposal may become an appointment without a human: allowed, and low-risk (R-10.2)."""
        return self.auto_confirm and self.risk == LOW_RISK and not self.clinical_review


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of the extension may hold: `kind` boolean, code or whole; the least and most of a number."""

    kind: str
    least: int = 0
    most: int = 0
    codes: tuple[str, ...] = ()


PARTS: Mapping[str, Part] = {
    "auto-confirm": Part("boolean"),
    "risk": Part("code", codes=("low", "normal", "high")),
    "clinical-review": Part("boolean"),
    "capacity": Part("whole", 1, 1_000),
    "minimum-notice-minutes": Part("whole", 0, 525_600),
    "furthest-advance-days": Part("whole", 1, 3_650),
    "cancellation-window-hours": Part("whole", 0, 8_760),
    "proposal-expiry-hours": Part("whole", 1, 8_760),
    "hold-minutes": Part("whole", 0, 10_080),
    "withdrawal": Part("boolean"),
    "buffer-before-minutes": Part("whole", 0, 480),
    "buffer-after-minutes": Part("whole", 0, 480),
    "daily-limit": Part("whole", 0, 1_000),
    "open-proposals": Part("whole", 0, 1_000),
    "override": Part("boolean"),
    "duration-minutes": Part("whole", 0, 1_440),
    "review-hours": Part("whole", 0, 8_760),
}
_VALUES = {
    "boolean": ("valueBoolean",),
    "code": ("valueCode", "valueString"),
    "whole": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
}
_NAMES = {field.name.replace("_", "-"): field.name for field in fields(ClinicRules) if field.name != "service"}
assert _NAMES.keys() == PARTS.keys()


def of_service(service: Mapping[str, Any]) -> ClinicRules:
    """The rules on a HealthcareService; defaults where it says nothing."""
    given: dict[str, Any] = {"service": f"HealthcareService/{service['id']}/_history/{service['meta']['versionId']}"}
    for _, part in _parts(service):
        name = _NAMES.get(part.get("url", ""))
        if name is not None:
            given[name] = next((value for key, value in part.items() if key.startswith("value")), None)
    return ClinicRules(**{name: value for name, value in given.items() if value is not None})


def faults(service: Mapping[str, Any]) -> list[Issue]:
    """What is wrong with the rules on a HealthcareService, part by part."""
    return [issue for at, part in _parts(service) if (issue := _fault(at, part)) is not None] + _twice(service)


def _parts(service: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for n, extension in enumerate(service.get("extension", ())):
        if extension.get("url") == BOOKING_RULES:
            for m, part in enumerate(extension.get("extension", ())):
                yield f"HealthcareService.extension[{n}].extension[{m}]", part


def _fault(at: str, part: Mapping[str, Any]) -> Issue | None:
    name = str(part.get("url", ""))[:64]
    known = PARTS.get(name)
    if known is None:
        return Issue("value", f"There is no booking rule '{name}'; there are: {', '.join(PARTS)}.", at)
    value = next((part[key] for key in _VALUES[known.kind] if key in part), None)
    if value is None:
        return Issue("value", f"The booking rule '{name}' is given as {' or '.join(_VALUES[known.kind])}.", at)
    if known.kind == "code" and value not in known.codes:
        return Issue("value", f"The booking rule '{name}' is one of: {', '.join(known.codes)}.", at)
    if known.kind == "whole" and not known.least <= value <= known.most:
        return Issue("value", f"The booking rule '{name}' is a whole number from {known.least} to {known.most}.", at)
    return None


def _twice(service: Mapping[str, Any]) -> list[Issue]:
    names = [part.get("url") for _, part in _parts(service)]
    return [
        Issue("value", f"The booking rule '{name}' is given twice.", "HealthcareService.extension")
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]


def strictest(rules: Iterable[ClinicRules]) -> ClinicRules:
    """What holds when all of the rules hold; the defaults when there are none."""
    all_rules = list(rules)
    if not all_rules:
        return ClinicRules()
    return ClinicRules(
        service=" ".join(rule.service for rule in all_rules if rule.service),
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
        buffer_before_minutes=max(rule.buffer_before_minutes for rule in all_rules),
        buffer_after_minutes=max(rule.buffer_after_minutes for rule in all_rules),
        daily_limit=_least(rule.daily_limit for rule in all_rules),
        open_proposals=_least(rule.open_proposals for rule in all_rules),
        override=all(rule.override for rule in all_rules),
        duration_minutes=max(rule.duration_minutes for rule in all_rules),
        review_hours=_least(rule.review_hours for rule in all_rules),
    )


def _least(limits: Iterable[int]) -> int:
    """The least of the limits there are; 0 when there is none."""
    return min((limit for limit in limits if limit), default=0)
