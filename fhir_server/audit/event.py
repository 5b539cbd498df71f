"""What is recorded of one thing that happened, and its compact stored form.

The stored form is JSON with one-letter names, and without what is empty: it is what the hash chain covers, and what
`render` makes an AuditEvent of. It never holds a token, a secret, or what a resource says.
"""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from fhir_server.fhir.clock import Micros
from fhir_server.store.protocol import AuditEntry


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    `subtype` is a code of restful-interaction or of this server; `action` one of C R U D E; `outcome` 0, 4 or 8;
    `entity` a versioned reference (`Slot/1/_history/2`) and `before` the version that it replaced; `query` method
    and URL of a search; `rule` the grant or rule that decided.
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

    def entry(self) -> AuditEntry:
        """The event as it is stored, with what it is found by."""
        body = orjson.dumps({letter: value for letter, value in zip(_LETTERS, _values(self), strict=True) if value})
        agents = tuple(agent for agent in (self.user, self.client) if agent)
        entity, _, version = self.entity.partition("/_history/")
        entities = (entity,) if entity else ()
        return AuditEntry(self.recorded, body, self.patients, agents, entities if version or entity else ())


# The letter that stands for each field in the stored form; `recorded` is stored beside it.
_LETTERS = {
    "i": "subtype", "a": "action", "o": "outcome", "c": "client", "u": "user", "n": "user_name", "r": "role",
    "j": "token_id", "w": "address", "x": "request_id", "k": "correlation", "e": "entity", "b": "before",
    "q": "query", "p": "patients", "g": "rule", "d": "description",
}  # fmt: skip
_values = attrgetter(*_LETTERS.values())


def from_entry(recorded: Micros, body: bytes) -> Event:
    """The event of a stored form."""
    stored: dict[str, Any] = orjson.loads(body)
    values = {_LETTERS[letter]: value for letter, value in stored.items()}
    values["patients"] = tuple(values.get("patients", ()))
    return Event(**{"subtype": "", "action": "", "outcome": "", **values, "recorded": recorded})


assert {field.name for field in fields(Event)} == {*_LETTERS.values(), "recorded"}
