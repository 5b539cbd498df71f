"""What the audit log is told of acts on the command line: who ran what, and what it changed (R-6.5, R-10.7)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fhir_server.audit.changes import events_of
from fhir_server.audit.event import Event
from fhir_server.fhir.clock import Micros
from fhir_server.interactions.changes import Change

CLIENT = "command-line"


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

    def changes(self, now: Micros, changes: Sequence[Change], rule: str) -> list[Event]:
        """The versions that it stored; `rule` marks them, unless a rule of the server made one."""
        return events_of(changes, replace(self.event(now), description="", rule=rule))
