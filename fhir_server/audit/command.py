"""What the audit log is told of acts on the command line: who ran what, and what it changed (R-6.5, R-10.7)."""

from dataclasses import dataclass

from fhir_server.audit.event import Event
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.repository import Change

CLIENT = "command-line"
_SUBTYPES = {"POST": ("create", "C"), "PUT": ("update", "U"), "PATCH": ("patch", "U"), "DELETE": ("delete", "D")}


@dataclass(frozen=True, slots=True)
class Command:
    """One run of a command: its words (no secrets), the login name of who runs it, and an id that ties it together."""

    text: str
    login: str
    run: str

    def event(self, now: Micros) -> Event:
        """That the command was run."""
        return Event(
            "command",
            "E",
            "0",
            now,
            client=CLIENT,
            user_name=self.login,
            role="administrator",
            request_id=self.run,
            description=self.text,
        )

    def change(self, now: Micros, change: Change, rule: str) -> Event:
        """One version that it stored; `rule` marks it, unless a rule of the server made it."""
        stored = change.stored
        subtype, action = _SUBTYPES[stored.method]
        if action == "U" and change.before == 0:
            subtype, action = "create", "C"
        return Event(
            subtype,
            action,
            "0",
            now,
            client=CLIENT,
            user_name=self.login,
            role="administrator",
            request_id=self.run,
            entity=f"{stored.type}/{stored.id}/_history/{stored.version}",
            before=change.before,
            patients=stored.patients,
            rule=change.rule or rule,
        )
