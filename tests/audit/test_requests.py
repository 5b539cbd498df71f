"""What single requests are recorded as: their time, whom a search is about, entries of Bundles, repeats (R-6.5)."""

from collections.abc import Iterable
from typing import Any

import pytest

from fhir_server.audit.event import Event
from fhir_server.audit.render import audit_event
from fhir_server.store.protocol import AuditEntry
from smart_auth.events import to_events
from smart_auth.services import AuthEvent
from tests.audit import balp
from tests.harness import FORM, MINUTE, Harness

BASE = "http://fhir.test/demo/fhir"


async def _events_since(clinic: Harness, count: int) -> list[Event]:
    """The events after the first so many, each of which is a sound AuditEvent in its pattern."""
    events = (await clinic.events())[count:]
    for event in events:
        rendered = audit_event(event, "r1-1", BASE)
        assert balp.faults(rendered) == []
        assert clinic.parts.server.structure.check(rendered, expected_type="AuditEvent") == []
    return events


@pytest.mark.requirement("R-6.5")
async def test_the_time_is_that_of_the_request_however_late_it_is_written(
    clinic: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process holds locked delays the writing: the event tells when the caller was there."""
    record, asked = clinic.parts.store.record, clinic.clock()

    async def late(tenant: str, entries: Iterable[AuditEntry]) -> None:
        clinic.clock.advance(7 * MINUTE)
        await record(tenant, entries)

    await clinic.token("dr-lee")
    monkeypatch.setattr(clinic.parts.store, "record", late)
    assert (await clinic.get("Patient/anna", "dr-lee")).status_code == 200
    assert [event.recorded for event in await clinic.events() if event.subtype == "read"] == [asked]


@pytest.mark.parametrize(
    ("method", "path", "form", "told"),
    [
        ("GET", "Patient/%00abc", None, "GET Patient/%00abc"),
        ("GET", "Patient/a%0Ab%7F%C3%A9", None, "GET Patient/a%0Ab%7Fé"),
        ("POST", "Slot/_search", b"status=\x01free\x1f", "POST Slot/_search status=%01free%1F"),
    ],
)
async def test_control_characters_are_told_as_a_url_has_them(
    clinic: Harness, method: str, path: str, form: bytes | None, told: str
) -> None:
    """FHIR R4 datatypes.html#string: a string has no code points below 32 but tab and line ends."""
    await clinic.token("dr-lee")
    count = len(await clinic.events())
    headers = {"Content-Type": FORM} if form else {}
    await clinic.send(method, path, "dr-lee", content=form, headers=headers)
    assert [event.query for event in await _events_since(clinic, count)] == [told]


def test_control_characters_in_a_choice_of_patient_are_told_so_as_well() -> None:
    """The login's own search for a patient."""
    (event,) = to_events(AuthEvent("demo", 1, "patient-search", "done", query="Patient?name=\x0banna"))
    assert event.query == "GET Patient?name=%0Banna"


def _note(**more: Any) -> dict[str, Any]:
    whose = {"subject": {"reference": "Patient/anna"}}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "pulse"}, **whose, **more}


@pytest.mark.parametrize("header", ["Idempotency-Key", "If-None-Exist"])
async def test_a_repeated_creation_is_a_read_of_what_is_there(clinic: Harness, header: str) -> None:
    """Nothing was created, and the caller was shown somebody's data: whose, and which."""
    note, headers = _note(identifier=[{"value": "n1"}]), {header: "identifier=n1"}
    made = await clinic.create(note, "dr-lee", headers=headers)
    count = len(await clinic.events())
    again = await clinic.create(note, "dr-lee", headers=headers)
    assert again.json() == made.json()
    (event,) = await _events_since(clinic, count)
    entity = f"Observation/{made.json()['id']}/_history/1"
    assert (event.subtype, event.action, event.entity, event.query) == ("read", "R", entity, "")
    assert event.patients == ("anna",)
    assert event.rule.startswith("R-7.12 ")
