"""What the audit log is told of a request: one place for every interaction (IHE BALP; R-6.5, R-10.7)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fhir_server.audit import masking
from fhir_server.audit.changes import events_of
from fhir_server.audit.event import Event
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import FhirError
from fhir_server.interactions.access import Access, Grant
from fhir_server.interactions.changes import Change, Noted
from fhir_server.interactions.visibility import is_narrowed
from fhir_server.rest import subjects
from fhir_server.rest.negotiate import media_type
from fhir_server.rest.request import Request
from fhir_server.rest.table import Found
from fhir_server.store.protocol import AuditEntry, Stored

# Which grant let a resource through, by type and id.
Decided = Mapping[tuple[str, str], Grant]

_LONGEST_QUERY = 2_000
_FORM = "application/x-www-form-urlencoded"


class Recorder:
    """Makes the events of one request; `now` is when it was done."""

    def __init__(self, request: Request, access: Access, found: Found) -> None:
        self._request, self._access, self._found = request, access, found

    def changes(self, changes: Sequence[Change], decided: Decided, now: Micros) -> list[Event]:
        """One event for each version that was stored, those that followed by a rule included."""
        return events_of(changes, self._event("", "", (self._rule(), ""), now), decided)

    def noted(self, noted: Sequence[Noted], now: Micros) -> list[Event]:
        """What handlers had the audit told beside the changes."""
        return [
            self._event(
                each.subtype, "E", (each.rule, each.purpose), now,
                entity=each.entity, patients=each.patients, description=each.description,
            )
            for each in noted
        ]  # fmt: skip

    def seen(self, shown: Sequence[Stored], decided: Decided, now: Micros) -> list[Event]:
        """The events of a read, or of a search: one for each patient whose data were found or asked for.

        Each tells the grants that let through what was found of that patient.
        """
        row, found = self._found.interaction, self._found
        if row.action == "E" and (not found.id or found.other):
            of_patient: dict[str, list[Stored]] = {}
            for stored in shown:
                for patient in stored.patients:
                    of_patient.setdefault(patient, []).append(stored)
            for patient in _asked(self._request, found):
                of_patient.setdefault(patient, [])
            name, query = row.event, _query(self._request, found)
            if not of_patient:
                return [self._event(name, "E", self._through(shown, decided), now, query=query)]
            return [
                self._event(name, "E", self._through(its, decided), now, query=query, patients=(patient,))
                for patient, its in of_patient.items()
            ]
        return [self._seen_one(shown, decided, now)]

    def entries(self, shown: Sequence[Stored], decided: Decided, now: Micros) -> Iterator[AuditEntry]:
        """The entries of those events. Each is made when it is asked for: beside those of other requests, for half."""
        for event in self.seen(shown, decided, now):
            yield event.entry()

    def _seen_one(self, shown: Sequence[Stored], decided: Decided, now: Micros) -> Event:
        row, found = self._found.interaction, self._found
        subtype, action, query = row.event, row.action, ""
        entity = f"{found.type}/{found.id}" if found.type and found.id else ""
        if row.name != "read" and row.name != "vread":
            query = _query(self._request, found)
        if len(shown) == 1:
            stored = shown[0]
            patients = stored.patients
            if row.writes and not found.id:  # a condition found it, or it is a repeat: nothing was written
                subtype, action, entity, query = "read", "R", f"{stored.type}/{stored.id}", ""
            if entity:
                entity = f"{entity}/_history/{stored.version}"
        else:
            patients = _patients_of(shown)
        if not patients:
            if found.type == "Patient" and row.name == "operation":
                patients = (found.id,)
            elif query:
                patients = _asked(self._request, found)
                if row.name == "delete":  # its condition found nothing
                    subtype, action = "search-type", "E"
        through = self._through(shown, decided)
        return self._event(subtype, action, through, now, entity=entity, query=query, patients=patients)

    def _through(self, shown: Sequence[Stored], decided: Decided) -> tuple[str, str]:
        """The grants that let through what was found: their rules, those with a purpose of their own first, and it."""
        if len(shown) == 1:
            grant = decided.get((shown[0].type, shown[0].id))
            return (grant.rule, grant.purpose) if grant is not None else (self._rule(), "")
        if len(set(map(id, decided.values()))) == 1:  # one grant let through all that was found
            grant = next(iter(decided.values()))
            if not grant.purpose and grant.rule == self._rule():
                return grant.rule, ""
        names = ((stored.type, stored.id) for stored in shown)
        found = {grant.rule: grant for name in names if (grant := decided.get(name)) is not None}
        if not found:
            return self._rule(), ""
        ordered = sorted(found.values(), key=lambda grant: (not grant.purpose, grant.rule))
        return told_together(ordered), ordered[0].purpose

    def _rule(self) -> str:
        """The first rule that grants the interaction."""
        grants = self._access.of(self._found.type, self._found.interaction.letter)
        return grants[0].rule if grants else ""

    def _event(
        self,
        subtype: str,
        action: str,
        through: tuple[str, str],
        now: Micros,
        *,
        entity: str = "",
        query: str = "",
        patients: tuple[str, ...] = (),
        description: str = "",
    ) -> Event:
        """An event of this request; `through` are the rules that decided, and the purpose of them."""
        agent, request, found = self._access.agent, self._request, self._found
        return Event(
            subtype, action, "0", now, agent.client_id, agent.fhir_user, agent.name, agent.role,
            agent.token_id, request.address, request.request_id, correlation(request), entity, 0, query,
            patients, through[0], description, purpose=through[1], booking=booking(found),
            transaction=found.interaction.transaction,
        )  # fmt: skip


def _patients_of(shown: Sequence[Stored]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(patient for stored in shown for patient in stored.patients))


def told_together(grants: Iterable[Grant]) -> str:
    """The rules of grants in one text."""
    return "; ".join(dict.fromkeys(grant.rule for grant in grants))


def _sought(request: Request, found: Found) -> tuple[str, tuple[str, ...]]:
    """What a request that was refused is about, if that is one resource, and whom it is about."""
    if not found.type or not found.id or found.other:
        return "", _asked(request, found)
    return f"{found.type}/{found.id}", (found.id,) if found.type == "Patient" else ()


def denied_by(access: Access, found: Found | None, error: FhirError) -> str:
    """The rule that refused: none granted it, or the resource is outside of the rows of those that would."""
    if error.status == 401:
        return "R-6.3 no good token"
    if found is None or not found.interaction.letter or error.status not in (403, 404):
        return ""
    grants = access.of(found.type, found.interaction.letter)
    if not grants:
        return "R-6.3 nothing grants it"
    return f"outside of {told_together(grants)}" if all(map(is_narrowed, grants)) else ""


def refusal(now: Micros, request: Request, access: Access, found: Found | None, error: FhirError) -> Event:
    """The event of a refused (outcome 4) or failed (8) request. It tells what was asked, never what is there."""
    agent = access.agent
    row = found.interaction if found is not None else None
    entity, patients = _sought(request, found) if found is not None else ("", ())
    return Event(
        row.event if row is not None else "unknown",
        (row.action if row is not None else "") or "E",
        "8" if error.status >= 500 else "4",
        now,
        agent.client_id, agent.fhir_user, agent.name, agent.role, agent.token_id,
        request.address, request.request_id, correlation(request), entity,
        query="" if entity else _query(request, found),
        patients=patients,
        booking=booking(found),
        description=f"{error.status} {error.issues[0].code}",
        rule=denied_by(access, found, error),
        transaction=row.transaction if row is not None else "",
    )  # fmt: skip


def booking(found: Found | None) -> str:
    """The id of the appointment that a request names, which ties a booking together from proposal to visit."""
    return found.id if found is not None and found.type == "Appointment" else ""


def correlation(request: Request) -> str:
    """What ties one person's action together across surfaces: the caller's own id, or its trace's (W3C traceparent)."""
    given = request.headers.get("x-correlation-id")
    if given and len(given) <= 128 and given.isprintable():
        return masking.text(given)
    trace = request.headers.get("traceparent")
    if trace is None:
        return ""
    parts = trace.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""


def _asked(request: Request, found: Found) -> tuple[str, ...]:
    """The patients whom the criteria of a search name."""
    return subjects.asked(found, request.tenant, f"{request.query}&{_form(request, found)}")


def _form(request: Request, found: Found | None) -> str:
    """The form of a POST search; '' where there is none."""
    if found is None or found.interaction.body != "form" or media_type(request.headers) != _FORM:
        return ""
    return request.body.decode("utf-8", "replace")


def _query(request: Request, found: Found | None) -> str:
    """Method and URL below the base, with a POST search's form."""
    text = masking.text(f"{request.method} {'/'.join(request.segments)}")
    if request.query:
        text += f"?{masking.pairs(request.query)}"
    form = _form(request, found)
    if form:
        text += f" {masking.pairs(form)}"
    return masking.visible(text)[:_LONGEST_QUERY]
