"""What is recorded of one thing that happened, and its compact stored form.

The stored form is JSON with one-letter names, and without what is empty: it is what the hash chain covers, and what
`render` makes an AuditEvent of. It never holds a token, a secret, or what a resource says.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import compress
from operator import attrgetter
from typing import Any

import orjson

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import AuditEntry

_VERSION = "/_history/"


@dataclass(slots=True, unsafe_hash=True)  # not frozen: to make one would take three times as long
class Event:
    """One event, which nobody changes once it is made.

    `subtype` is a code of restful-interaction or of this server; `action` one of C R U D E; `outcome` 0, 4 or 8;
    `entity` a versioned reference (`Slot/1/_history/2`) and `before` the version that it replaced; `query` method
    and URL of a search; `rule` the grant or rule that decided, `rule_author` who set it; `purpose` a code of
    v3-ActReason where it is not that of the role; `correlation` the caller's own id of what belongs together, `booking`
    the id of the appointment that it is about; `digest` the SHA-256 of what a client's own AuditEvent says; `count`
    how many like it a summary stands for.
    `transaction` is IHE's number of what was done (`ITI-117`).
    """

    subtype: str
    action: str
    outcome: str
    recorded: Micros
    client: str = ""
    user: str = ""
    user_name: str = ""
    role: str = ""
    token_id: str = ""
    address: str = ""
    request_id: str = ""
    correlation: str = ""
    entity: str = ""
    before: int = 0
    query: str = ""
    patients: tuple[str, ...] = ()
    rule: str = ""
    description: str = ""
    rule_author: str = ""
    purpose: str = ""
    booking: str = ""
    digest: str = ""
    count: int = 0
    transaction: str = ""

    def entry(self) -> AuditEntry:
        """The event as it is stored, with what it is found by."""
        head = _head(_LEADING_VALUES(self))
        values = _REST_VALUES(self)
        rest = dict(compress(zip(_REST, values, strict=True), values))
        body = head + b"," + orjson.dumps(rest)[1:] if rest else head + b"}"
        return AuditEntry(self.recorded, body, self.found(), (head, rest))

    def found(self) -> tuple[tuple[str, str], ...]:
        """What the event is found by: (kind, value)."""
        found = _found(self.patients, self.user, self.client, self.entity, self.correlation, self.booking)
        return found if not self.rule_author and _VERSION not in self.rule else (*found, *self._found_by_rule())

    def rule_versions(self) -> list[str]:
        """The versioned references in the rule: whose rule it was."""
        return [version for version in self.rule.split() if _VERSION in version]

    def _found_by_rule(self) -> list[tuple[str, str]]:
        found = []
        for kind, references in (("agent", self.rule_author.split()), ("entity", self.rule_versions())):
            for reference in references:
                found += _named(kind, reference)
        return found


# The letter that stands for each field in the stored form; `recorded` is stored beside it. Capital letters are for
# values that repeat from event to event, which a store keeps once. A letter is never given another meaning.
LETTERS = {
    "I": "subtype", "A": "action", "O": "outcome", "C": "client", "U": "user", "N": "user_name", "R": "role",
    "W": "address", "G": "rule", "D": "description", "B": "rule_author", "P": "purpose",
    "j": "token_id", "x": "request_id", "k": "correlation", "t": "booking", "e": "entity", "b": "before",
    "q": "query", "p": "patients", "h": "digest", "n": "count",
    "T": "transaction",
}  # fmt: skip
_ALIKE = 12
# What the events of one caller's requests of a kind begin with alike: their first letters, before the token's id.
_LEADING, _REST = list(LETTERS)[:_ALIKE], list(LETTERS)[_ALIKE:]
_LEADING_VALUES = attrgetter(*[LETTERS[letter] for letter in _LEADING])
_REST_VALUES = attrgetter(*[LETTERS[letter] for letter in _REST])


@lru_cache(maxsize=4_096)
def _head(values: tuple[str, ...]) -> bytes:
    """The beginning of a stored form, without the brace at its end."""
    return orjson.dumps({letter: value for letter, value in zip(_LEADING, values, strict=True) if value})[:-1]


@lru_cache(maxsize=2_048)  # who looked at a patient looks again
def _found(
    patients: tuple[str, ...], user: str, client: str, entity: str, correlation: str, booking: str
) -> tuple[tuple[str, str], ...]:
    found = [("patient", patient) for patient in patients]
    for kind, reference in (("agent", user), ("agent", client), ("entity", entity)):
        if reference:
            found += _named(kind, reference)
    if correlation:
        found.append(("correlation", correlation))
    if booking and booking != correlation:
        found.append(("correlation", booking))
    return tuple(dict.fromkeys(found))


def _named(kind: str, reference: str) -> list[tuple[str, str]]:
    """What a reference is found by. R4's `patient` means agents as well as entities."""
    unversioned = reference.partition(_VERSION)[0]
    type_, _, id_ = unversioned.partition("/")
    return [*([("patient", id_)] if type_ == "Patient" else ()), (kind, unversioned)]


def from_entry(recorded: Micros, body: bytes) -> Event:
    """The event of a stored form."""
    stored: dict[str, Any] = orjson.loads(body)
    values = {LETTERS[letter]: value for letter, value in stored.items()}
    values["patients"] = tuple(values.get("patients", ()))
    return Event(**{"subtype": "", "action": "", "outcome": "", **values, "recorded": recorded})


assert {field.name for field in fields(Event)} == {*LETTERS.values(), "recorded"}
