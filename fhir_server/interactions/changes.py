"""What a Unit did, as a Repository tells it to the audit."""

from dataclasses import dataclass

from fhir_server.store.protocol import Stored


@dataclass(frozen=True, slots=True)
class Change:
    """A version that was stored, for the audit. `before` is the version it replaced, 0 for none; `rule_author` who
    set the rule that decided it.
    """

    stored: Stored
    before: int
    rule: str = ""
    rule_author: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """What the audit is told beside the changes: `subtype` as in `audit.codes`, `purpose` a code of v3-ActReason."""

    subtype: str
    entity: str
    patients: tuple[str, ...]
    description: str
    rule: str
    purpose: str = ""
