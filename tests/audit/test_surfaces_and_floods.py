"""Events that surfaces record themselves (ITI-20), the server's own log, and floods of refusals."""

import hashlib
import json

from fhir_server.audit.event import from_entry
from fhir_server.audit.flood import FREE, WINDOW
from fhir_server.fhir import own
from fhir_server.rest.pipeline import SERVER_LOG
from fhir_server.store.protocol import AuditQuery
from tests.harness import Harness

DCM = "http://dicom.nema.org/resources/ontology/DCM"


def _login() -> dict[str, object]:
    return {
        "resourceType": "AuditEvent",
        "meta": {"tag": [{"system": own.ORIGIN, "code": "forged"}]},
        "type": {"system": DCM, "code": "110114"},
        "subtype": [{"system": DCM, "code": "110122"}],
        "recorded": "2026-11-22T18:00:00Z",
        "outcome": "0",
        "agent": [{"requestor": True, "who": {"display": "somebody"}}],
        "source": {"observer": {"display": "the website"}},
    }


async def test_a_surface_records_its_own_event_and_it_is_marked(clinic: Harness) -> None:
    """Its tags say that it is the client's, whatever the client says; the log has its digest."""
    token = await clinic.token("backend")
    made = await clinic.create(_login(), token)
    assert made.status_code == 201, made.text
    read = await clinic.get(f"AuditEvent/{made.json()['id']}", "auditor")
    tags = {(tag["system"], tag["code"]) for tag in read.json()["meta"]["tag"]}
    assert tags == {(own.ORIGIN, "surface"), (own.SUBMITTER, "backend")}
    (event,) = [e for e in await clinic.events() if e.entity.startswith("AuditEvent/") and e.action == "C"]
    assert event.digest == hashlib.sha256(read.content).hexdigest()
    found = await clinic.get(f"AuditEvent?_tag={own.ORIGIN}|surface", "auditor")
    assert [entry["resource"]["id"] for entry in found.json()["entry"]] == [made.json()["id"]]
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await clinic.send(method, f"AuditEvent/{made.json()['id']}", token, json_=read.json())
        assert answer.status_code == 405


async def test_others_record_none(clinic: Harness) -> None:
    """No right, no event: not even an administrator writes into the log."""
    for caller in ("admin", "auditor", "anna", "dr-lee", "anonymous"):
        assert (await clinic.create(_login(), caller)).status_code in (401, 403), caller


async def _server_log(harness: Harness) -> list[str]:
    async def work(unit: object) -> list[str]:
        found = await unit.audited(AuditQuery(ascending=True))  # type: ignore[attr-defined]
        return [from_entry(each.recorded, each.body).description for each in found]

    return await harness.parts.store.run(SERVER_LOG, work, write=False)


async def test_requests_to_unknown_tenants_are_in_the_servers_log(harness: Harness) -> None:
    """What belongs to no clinic is nobody's to read over REST, and is not lost."""
    answer = await harness.http.get("/nowhere/fhir/Patient?name=x")
    assert answer.status_code == 404
    assert await _server_log(harness) == ["404 not-found"]


async def test_a_flood_of_refusals_is_counted(clinic: Harness) -> None:
    """The first are recorded one by one, the rest as one summary: how many, why, and from where."""
    for n in range(FREE + 50):
        assert (await clinic.get(f"Patient/p{n}")).status_code in (401, 403)
    before = len(await clinic.events())
    refused = [event for event in await clinic.events() if event.outcome == "4"]
    assert len(refused) == FREE
    await clinic.parts.pipeline.sum_up()
    assert len(await clinic.events()) == before
    clinic.clock.advance(WINDOW)
    await clinic.parts.pipeline.sum_up()
    last = (await clinic.events())[-1]
    assert (last.subtype, last.outcome, last.count) == ("denials", "4", 50)
    assert last.description.startswith("50 more refusals in 60 s: 40")
    await clinic.get("Patient/again")
    assert len(await clinic.events()) == before + 2
    shown = await clinic.get("AuditEvent?subtype=denials", "auditor")
    assert json.loads(shown.content)["entry"][0]["resource"]["outcomeDesc"] == last.description


async def test_refusals_to_callers_with_a_token_are_never_only_counted(clinic: Harness) -> None:
    """R-6.5: who is known is recorded, each time."""
    for _ in range(FREE + 5):
        await clinic.get("Observation/none", "anna")
    assert len([event for event in await clinic.events() if event.outcome == "4"]) == FREE + 5
