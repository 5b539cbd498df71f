"""What single requests are recorded as: their time, whom a search is about, entries of Bundles, repeats (R-6.5)."""

from collections.abc import Iterable

import pytest

from fhir_server.audit.event import Event
from fhir_server.audit.render import audit_event
from fhir_server.store.protocol import AuditEntry
from tests.audit import balp
from tests.harness import MINUTE, Harness

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
