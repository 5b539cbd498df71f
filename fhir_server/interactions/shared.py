"""What patients share: of the other people whom such a resource names, a patient sees nothing (R-7.22).

A person is named by a reference to this server or another, by one that is contained, by an identifier or in words
(FHIR R4 references.html). Whoever cannot be told to be no patient counts as one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.fhir.reference import local_reference

# Who is another patient, may be one, or belongs to one.
PEOPLE = frozenset({"Patient", "RelatedPerson", "Person", "Group"})
_TYPED = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")


@dataclass(frozen=True, slots=True)
class Shared:
    """Of a type: the elements that name people, and its parameters that look there.

    `by_person` find who is named; `by_staff` find nobody in PEOPLE. By any other nothing may be sought.
    """

    elements: frozenset[str]
    by_person: frozenset[str]
    by_staff: frozenset[str] = frozenset()

    @property
    def telling(self) -> frozenset[str]:
        """The elements that may tell of other patients."""
        return self.elements | {"text", "contained"}


SHARED: Mapping[str, Shared] = {
    "Appointment": Shared(
        frozenset({"participant"}), frozenset({"patient", "actor"}), frozenset({"practitioner", "location"})
    ),
    "Communication": Shared(
        frozenset({"subject", "about", "recipient", "sender"}),
        frozenset({"patient", "subject", "recipient", "sender"}),
    ),
}


def without_others(resource: dict[str, Any], patient: str, base_url: str) -> dict[str, Any]:
    """A copy without the people other than the patient, and without narrative and contained resources that may name
    them; the resource itself where there are none.
    """
    shared = SHARED[resource["resourceType"]]
    inner = {f"#{each.get('id', '')}": each["resourceType"] for each in resource.get("contained", ())}
    named = {name: resource[name] for name in shared.elements if name in resource}

    def keep(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in value if keep(name, each) is not None]
        reference = value.get("actor", {}) if name == "participant" else value
        return None if _is_other(reference, patient, base_url, inner) else value

    kept = {name: keep(name, value) for name, value in named.items()}
    if kept == named:
        return resource
    rest = {name: value for name, value in resource.items() if name not in shared.telling}
    return rest | {name: value for name, value in kept.items() if value}


def _is_other(reference: Mapping[str, Any], patient: str, base_url: str, inner: Mapping[str, str]) -> bool:
    text = str(reference.get("reference", ""))
    target = local_reference(text, base_url)
    if target is not None:
        return target.type in PEOPLE and (target.type, target.id) != ("Patient", patient)
    match = _TYPED.fullmatch(text)
    kinds = {inner.get(text, ""), match.group(1) if match else "", str(reference.get("type", "")).rpartition("/")[2]}
    kinds.discard("")
    return bool(reference) and (not kinds or not kinds.isdisjoint(PEOPLE))
