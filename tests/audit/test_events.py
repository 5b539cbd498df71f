"""What is recorded, and how it is read: AuditEvents in the patterns of IHE BALP (R-6.5, R-10.7, R-10.8)."""

import base64
import json
from typing import Any

import pytest

from fhir_server.audit import log
from fhir_server.audit.event import Event, from_entry
from fhir_server.fhir.errors import Unavailable
from fhir_server.store.protocol import AuditEntry, AuditQuery, Unit
from tests.harness import (
    DAY,
    FORM,
    MINUTE,
    ORIGIN,
    SECRET,
    Harness,
    ids,
    issue,
    link,
    patient,
    proposal,
    to_status,
)

BASE = f"{ORIGIN}/demo/fhir"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
V3 = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
BALP = "https://profiles.ihe.net/ITI/BALP"
SENT = {"X-Request-Id": "req-1", "X-Correlation-Id": "journey-1"}


async def _rendered(clinic: Harness, query: str = "") -> list[dict[str, Any]]:
    answer = await clinic.get(f"AuditEvent?_sort=date&_count=1000{query}", "auditor")
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", ())]


async def _one(clinic: Harness, subtype: str) -> dict[str, Any]:
    found = await _rendered(clinic, f"&subtype={subtype}")
    assert len(found) == 1
    return found[0]


def _entity(what: str, before: int = 0) -> dict[str, Any]:
    entity: dict[str, Any] = {"what": {"reference": what}, "type": _code("audit-entity-type", "2"),
                              "role": _code("object-role", "4")}  # fmt: skip
    return entity | ({"detail": [{"type": "version-before", "valueString": str(before)}]} if before else {})


def _code(system: str, code: str) -> dict[str, str]:
    return {"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}


def _patient(id_: str) -> dict[str, Any]:
    return {"what": {"reference": f"Patient/{id_}"}, "type": _code("audit-entity-type", "1"),
            "role": _code("object-role", "1")}  # fmt: skip


def _context() -> list[dict[str, Any]]:
    return [
        {"what": {"identifier": {"value": "req-1"}},
         "type": {"system": f"{BALP}/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}},
        {"what": {"identifier": {"value": "journey-1"}},
         "type": {"system": "https://fhir-server.dev/CodeSystem/audit-entity", "code": "correlation"}},
    ]  # fmt: skip


@pytest.mark.requirement("R-6.5", "R-10.7", "R-10.9")
async def test_golden_read(clinic: Harness) -> None:
    """IHE.BasicAudit.PatientRead: client is the destination, server the source, the user the recipient."""
    token_id = (await clinic.token("dr-lee")) and ""
    clinic.clock.advance(1_500)
    answer = await clinic.get("Patient/anna", "dr-lee", headers=SENT)
    assert answer.headers["x-request-id"] == "req-1"
    event = await _one(clinic, "read")
    agents = event.pop("agent")
    token_id = agents[2]["policy"].pop(0)
    assert token_id.startswith("urn:ietf:params:oauth:jti:")
    assert agents == [
        {"type": {"coding": [{"system": DCM, "code": "110152"}]}, "who": {"identifier": {"value": "provider-portal"}},
         "requestor": False, "network": {"address": "127.0.0.1", "type": "2"}},
        {"type": {"coding": [{"system": DCM, "code": "110153"}]}, "who": {"display": BASE}, "requestor": False,
         "network": {"address": BASE, "type": "5"}},
        {"type": {"coding": [{"system": V3, "code": "IRCP"}]}, "who": {"reference": "Practitioner/dr-lee"},
         "name": "Dr-Lee", "requestor": True,
         "policy": ["urn:fhir-server:rule:R-7.9-provider-reads-patients-under-care"],
         "role": [{"coding": [{"system": "https://fhir-server.dev/CodeSystem/role", "code": "practitioner"}]}]},
    ]  # fmt: skip
    assert event.pop("id").startswith(("r1-", "rx-"))
    reason = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}
    assert event.pop("purposeOfEvent") == [{"coding": [reason]}]
    assert event == {
        "resourceType": "AuditEvent",
        "meta": {
            "versionId": "1",
            "lastUpdated": "2027-01-18T08:00:00.001Z",
            "profile": [f"{BALP}/StructureDefinition/IHE.BasicAudit.PatientRead"],
        },
        "type": _code("audit-event-type", "rest"),
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "read"}],
        "action": "R",
        "recorded": "2027-01-18T08:00:00.001Z",
        "outcome": "0",
        "source": {"observer": {"display": BASE}, "type": [_code("security-source-type", "4")]},
        "entity": [_entity("Patient/anna/_history/1"), _patient("anna"), *_context()],
    }


INTERACTIONS: tuple[tuple[str, str, str, str, str, str], ...] = (
    # subtype, action, pattern, client's type, user's participation, entity
    ("read", "R", "PatientRead", "110152", "IRCP", "Patient/anna/_history/1"),
    ("vread", "R", "PatientRead", "110152", "IRCP", "Patient/anna/_history/1"),
    ("create", "C", "Create", "110153", "AUT", "Slot/*/_history/1"),
    ("update", "U", "Update", "110153", "AUT", "Slot/s/_history/2"),
    ("patch", "U", "Update", "110153", "AUT", "Slot/s/_history/2"),
    ("delete", "D", "Delete", "110150", "AUT", "Slot/s/_history/2"),
    ("search-type", "E", "Query", "110153", "IRCP", ""),
    ("history-instance", "R", "", "110153", "AUT", "Patient/anna/_history/1"),
    ("history-type", "R", "", "110153", "AUT", ""),
    ("history-system", "R", "", "110153", "AUT", ""),
)


async def _do(clinic: Harness, subtype: str) -> None:
    match subtype:
        case "read":
            await clinic.get("Patient/anna", "dr-lee", headers=SENT)
        case "vread":
            await clinic.get("Patient/anna/_history/1", "dr-lee", headers=SENT)
        case "create":
            made = clinic.slot("s", 3 * DAY)
            del made["id"]
            await clinic.create(made, "dr-lee", headers=SENT)
        case "update":
            await clinic.put(clinic.slot("s", comment="x"), "dr-lee", headers=SENT)
        case "patch":
            await clinic.patch("Slot/s", to_status("busy"), "dr-lee", headers=SENT)
        case "delete":
            await clinic.delete("Slot/s", "dr-lee", headers=SENT)
        case "search-type":
            await clinic.get("Slot?status=free", "dr-lee", headers=SENT)
        case "history-instance":
            await clinic.get("Patient/anna/_history", "dr-lee", headers=SENT)
        case "history-type":
            await clinic.get("Patient/_history", "dr-lee", headers=SENT)
        case "history-system":
            await clinic.get("_history", "dr-lee", headers=SENT)


@pytest.mark.parametrize("row", INTERACTIONS, ids=lambda row: row[0])
@pytest.mark.requirement("R-6.5", "R-7.21", "R-10.7", "R-C.3")
async def test_every_interaction_is_recorded_once(clinic: Harness, row: tuple[str, ...]) -> None:
    subtype, action, pattern, client, user, entity = row
    await clinic.seed(clinic.slot("s"))
    await clinic.token("dr-lee")
    await _do(clinic, subtype)
    [event] = [each for each in await _rendered(clinic) if '"req-1"' in json.dumps(each)]
    assert event["subtype"][0]["code"] == subtype
    assert (event["action"], event["outcome"]) == (action, "0")
    assert [url.rpartition(".")[2] for url in event["meta"].get("profile", ())] == ([pattern] if pattern else [])
    assert event["agent"][0]["type"]["coding"][0]["code"] == client
    assert event["agent"][2]["type"]["coding"][0]["code"] == user
    assert [agent["requestor"] for agent in event["agent"]] == [False, False, True]
    data = [e["what"]["reference"] for e in event["entity"] if e.get("role", {}).get("code") == "4"]
    if entity:
        head, _, tail = entity.partition("*")
        assert data[0].startswith(head)
        assert data[0].endswith(tail)
    else:
        [query] = [e for e in event["entity"] if e.get("role", {}).get("code") == "24"]
        assert base64.b64decode(query["query"]).decode() == query["description"]
    assert [e["what"]["identifier"]["value"] for e in event["entity"] if "role" not in e] == ["req-1", "journey-1"]
    assert clinic.parts.server.structure.check(event, expected_type="AuditEvent") == []


@pytest.mark.parametrize(
    ("query", "patients"), [("family=nobody", []), ("family=Anna", ["anna"]), ("_sort=_id", ["anna", "ben"])]
)
@pytest.mark.requirement("R-6.5")
async def test_a_search_is_one_event_for_each_patient_found(clinic: Harness, query: str, patients: list[str]) -> None:
    """BALP: one AuditEvent per patient, otherwise equal; none found: one plain Query."""
    await clinic.get(f"Patient?{query}", "dr-lee")
    found = await _rendered(clinic, "&subtype=search-type&agent=Practitioner/dr-lee")
    named = [[e["what"]["reference"] for e in each["entity"] if e.get("role", {}).get("code") == "1"] for each in found]
    assert named == ([[f"Patient/{p}"] for p in patients] or [[]])
    profiles = {each["meta"]["profile"][0].rpartition(".")[2] for each in found}
    assert profiles == {"PatientQuery" if patients else "Query"}
    for each in found:
        [asked] = [e for e in each["entity"] if e.get("role", {}).get("code") == "24"]
        assert asked["description"] == f"GET Patient?{query}"


@pytest.mark.parametrize(
    ("method", "path", "caller", "body", "status", "subtype", "entity"),
    [
        ("GET", "Patient/anna", "Bearer x", None, 401, "read", "Patient/anna"),
        ("GET", "Patient/anna", "anonymous", None, 403, "read", "Patient/anna"),
        ("GET", "Patient/nobody", "dr-lee", None, 404, "read", "Patient/nobody"),
        ("DELETE", "Appointment/a", "admin", None, 409, "delete", "Appointment/a"),
        ("PUT", "Slot/s", "dr-lee", {"If-Match": 'W/"9"'}, 412, "update", "Slot/s"),
        ("PATCH", "Slot/s", "dr-lee", [{"op": "remove", "path": "/x"}], 422, "patch", "Slot/s"),
        ("GET", "Slot?colour=red", "dr-lee", None, 400, "search-type", ""),
        ("DELETE", "Slot", "dr-lee", None, 400, "delete", ""),
        ("PUT", "Slot/s/_history", "dr-lee", None, 405, "unknown", ""),
    ],
)
@pytest.mark.requirement("R-6.5", "R-10.7")
async def test_every_denial_is_recorded_once(
    clinic: Harness, method: str, path: str, caller: str, body: Any, status: int, subtype: str, entity: str
) -> None:
    """Outcome 4 with the status and the issue's code; what was asked, and nothing of what is there."""
    await clinic.seed(clinic.slot("s"))
    made = await clinic.create(proposal("s"), "anonymous")
    path, entity = (text.replace("Appointment/a", f"Appointment/{made.json()['id']}") for text in (path, entity))
    headers: dict[str, str] = dict(SENT)
    content: Any = None
    if isinstance(body, dict):
        headers |= body
        content = clinic.slot("s")
    elif body is not None:
        content = body
    if caller == "Bearer x":
        headers["Authorization"] = caller
        caller = "anonymous"
    answer = await clinic.send(method, path, caller, json_=content, headers=headers)
    assert answer.status_code == status, answer.text
    [event] = await _rendered(clinic, "&outcome=4")
    assert event["outcomeDesc"] == f"{status} {issue(answer)['code']}"
    assert event["subtype"][0]["code"] == subtype
    assert "profile" not in event["meta"]
    data = [e["what"]["reference"] for e in event["entity"] if e.get("role", {}).get("code") == "4"]
    assert data == ([entity] if entity else [])
    assert clinic.parts.server.structure.check(event, expected_type="AuditEvent") == []


@pytest.mark.requirement("R-8.2", "R-10.7", "R-10.9")
async def test_what_follows_by_a_rule_is_recorded_with_it(clinic: Harness) -> None:
    """The slot that turns busy has its own event, with the rule, the same person and the same request."""
    await clinic.seed(clinic.slot("s"))
    path = f"Appointment/{(await clinic.create(proposal('s'), 'anonymous')).json()['id']}"
    await clinic.patch(path, to_status("booked"), headers=SENT)
    confirmed, followed = [event for event in await clinic.events() if event.request_id == "req-1"]
    assert (confirmed.entity, confirmed.before) == (f"{path}/_history/2", 1)
    assert (followed.entity, followed.before, followed.subtype) == ("Slot/s/_history/2", 1, "update")
    assert followed.rule.startswith("R-8.2")
    assert followed.user == confirmed.user == "Practitioner/dr-lee"
    assert followed.correlation == confirmed.correlation == "journey-1"
    proposed = [event for event in await clinic.events() if event.role == "public" and event.action == "C"]
    assert [event.entity.partition("/")[0] for event in proposed] == ["Patient", "Appointment"]


async def test_traceparent_ties_together_as_well(clinic: Harness) -> None:
    """W3C Trace Context: the trace's id, where no correlation id is given."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    await clinic.get("Slot", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    await clinic.get("Slot", headers={"traceparent": "rubbish"})
    await clinic.get("Slot", headers={"X-Correlation-Id": "x" * 129})
    *_, first, second, third = await clinic.events()
    assert (first.correlation, second.correlation, third.correlation) == (trace, "", "")


async def test_a_token_is_recorded(clinic: Harness) -> None:
    """IHE IUA ITI-71: issue and refusal."""
    form = {"grant_type": "client_credentials", "scope": "system/AuditEvent.rs"}
    good = await clinic.http.post("/demo/auth/token", data=form, auth=("auditor", SECRET))
    bad = await clinic.http.post("/demo/auth/token", data=form, auth=("auditor", "wrong"))
    assert (good.status_code, bad.status_code) == (200, 401)
    found = await _rendered(clinic, "&subtype=ITI-71&agent:identifier=auditor")
    assert [(each["outcome"], each["action"], each["type"]["code"]) for each in found][:2] == [
        ("0", "E", "110114"), ("4", "E", "110114"),
    ]  # fmt: skip
    assert found[1]["outcomeDesc"] == "invalid_client"


# Searching the log


async def _busy_day(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"))
    for n in range(3):
        clinic.clock.advance(DAY)
        await clinic.get("Patient/anna", "dr-lee")
        await clinic.get("Patient/ben", "dr-kim")
        await clinic.get("Patient/ben", "anna")
        await clinic.patch("Slot/s", to_status(("busy", "free")[n % 2]), "sam")
    clinic.clock.advance(DAY)


QUERIES: tuple[tuple[str, int], ...] = (
    ("agent=Practitioner/dr-lee", 3),
    ("agent=Practitioner/dr-lee,Practitioner/dr-kim", 6),
    ("agent=dr-lee", 3),
    ("agent=Patient/anna", 3),
    ("agent:identifier=provider-portal", 12),
    ("agent:identifier=provider-portal&agent=Practitioner/sam", 3),
    ("agent-name=dr", 8),
    ("patient=anna", 7),
    ("patient=Patient/anna&agent=Practitioner/dr-lee", 3),
    ("patient=ben", 7),
    ("entity=Patient/ben&agent=Practitioner/dr-kim", 3),
    ("entity=Slot/s", 4),
    ("entity=Slot/s&action=U", 3),
    ("action=R", 9),
    ("action=R&outcome=4", 3),
    ("outcome=4", 3),
    ("type=rest&agent=Practitioner/sam", 3),
    ("type=http://terminology.hl7.org/CodeSystem/audit-event-type|rest&outcome=4", 3),
    ("subtype=read", 9),
    ("subtype=read,patch", 12),
    ("subtype=http://hl7.org/fhir/restful-interaction|patch", 3),
    ("subtype:not=read&agent=Practitioner/sam", 3),
    ("date=2027-01-19&agent=Practitioner/dr-lee", 1),
    ("date=ge2027-01-20&agent=Practitioner/dr-lee", 2),
    ("date=lt2027-01-20&agent=Practitioner/dr-lee", 1),
    ("date=ge2027-01-19T00:00:00Z&date=lt2027-01-21T00:00:00Z&agent=Practitioner/dr-lee", 2),
    ("date=gt2030", 0),
    ("patient=nobody", 0),
    ("_id=nothing", 0),
)


@pytest.mark.requirement("R-C.3", "R-10.7")
async def test_the_log_is_searched(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """date, agent, entity, patient, action, type, subtype, outcome; also when the log is longer than a batch."""
    await _busy_day(clinic)
    for batch in (500, 2):
        monkeypatch.setattr(log, "BATCH", batch)
        wrong = []
        for query, expected in QUERIES:
            answer = await clinic.get(f"AuditEvent?{query}&_total=accurate&_count=500", "auditor")
            assert answer.status_code == 200, answer.text
            found = [e["resource"] for e in answer.json().get("entry", ())
                     if e["resource"]["agent"][0]["who"]["identifier"]["value"] != "auditor"]  # fmt: skip
            counted = answer.json()["total"] - (len(answer.json().get("entry", ())) - len(found))
            if not len(found) == counted == expected:
                wrong.append((query, len(found), counted, expected))
        assert not wrong


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("sort", ["", "&_sort=date", "&_sort=-date"])
async def test_the_log_is_paged_in_order(
    clinic: Harness, monkeypatch: pytest.MonkeyPatch, sort: str, count: int
) -> None:
    monkeypatch.setattr(log, "BATCH", 3)
    await _busy_day(clinic)
    query = f"AuditEvent?agent:identifier=provider-portal,patient-portal&_count={count}{sort}"
    found: list[dict[str, Any]] = []
    answer = await clinic.get(query, "auditor")
    while True:
        found += [entry["resource"] for entry in answer.json().get("entry", ())]
        following = link(answer, "next")
        if following is None:
            break
        answer = await clinic.get(following.removeprefix("/demo/fhir/"), "auditor")
    recorded = [each["recorded"] for each in found]
    assert recorded == sorted(recorded, reverse=sort != "&_sort=date")
    whole = await clinic.get(query.replace(f"_count={count}", "_count=100"), "auditor")
    assert [each["id"] for each in found] == ids(whole)
    assert len(found) == len({each["id"] for each in found})


async def test_an_entry_is_read_by_its_id(clinic: Harness) -> None:
    [event, *_] = await _rendered(clinic)
    answer = await clinic.get(f"AuditEvent/{event['id']}", "auditor")
    assert answer.json() == event
    for absent in ("c-999", "x-1", "r1-99999999999999999999", "nothing"):
        assert (await clinic.get(f"AuditEvent/{absent}", "auditor")).status_code == 404
    assert (await clinic.get(f"AuditEvent/{event['id']}", "auditor", tenant="other")).status_code in (200, 404)


async def test_subsets_of_the_log(clinic: Harness) -> None:
    answer = await clinic.get("AuditEvent?_elements=outcome&_count=1", "auditor")
    assert "entity" not in answer.json()["entry"][0]["resource"]
    counted = await clinic.get("AuditEvent?_summary=count", "auditor")
    assert counted.json()["total"] > 0
    assert "entry" not in counted.json()


@pytest.mark.requirement("R-10.8")
async def test_nobody_changes_the_log(clinic: Harness) -> None:
    """R-10.8: no interaction changes an entry, whoever asks."""
    [event, *_] = await _rendered(clinic)
    before = len(await clinic.events())
    for caller in ("admin", "root", "auditor", "olga", "dr-lee", "anonymous"):
        for method, path in (("PUT", f"AuditEvent/{event['id']}"), ("PATCH", f"AuditEvent/{event['id']}"),
                             ("DELETE", f"AuditEvent/{event['id']}")):  # fmt: skip
            answer = await clinic.send(method, path, caller, json_=event if method != "DELETE" else None)
            assert answer.status_code == 405, (caller, method)
            assert answer.headers["allow"]
        assert (await clinic.send("POST", "AuditEvent", caller, json_=event)).status_code == 403, caller
    after = await clinic.events()
    assert all(each.outcome == "4" for each in after[before + 0 :] if each.description.startswith("405"))
    assert (await clinic.get(f"AuditEvent/{event['id']}", "auditor")).json() == event


@pytest.mark.requirement("R-6.2", "R-7.22")
async def test_only_auditors_and_administrators_read_the_log(clinic: Harness) -> None:
    allowed = {"auditor", "olga", "admin", "root"}
    for caller in ("anonymous", "website", "anna", "anna-on-website", "dr-lee", "sam", "backend", *sorted(allowed)):
        answer = await clinic.get("AuditEvent", caller)
        assert answer.status_code == (200 if caller in allowed else 403), caller


@pytest.mark.requirement("R-10.8")
async def test_no_secret_or_content_is_stored(clinic: Harness) -> None:
    """An entry never holds a token, a secret or what a resource says."""
    await clinic.seed(clinic.slot("s"), patient("secretive", birthDate="1911-11-11", gender="other"))
    token = await clinic.token("dr-lee")
    made = await clinic.create(proposal("s"), "anonymous")
    receipt = made.headers["proposal-receipt"]
    path = f"Appointment/{made.json()['id']}"
    await clinic.get(path, receipt)
    await clinic.patch(path, [*to_status("booked"), {"op": "add", "path": "/comment", "value": "cancer"}])
    await clinic.get("Patient/secretive", "dr-lee")
    await clinic.get(f"Slot?access_token={token}")
    await clinic.send("POST", "Slot/_search", content=f"access_token={token}", headers={"Content-Type": FORM})
    await clinic.http.post("/demo/auth/token", data={"grant_type": "client_credentials", "scope": "x"},
                           auth=("admin", SECRET))  # fmt: skip

    async def bodies(unit: Unit) -> bytes:
        return b"".join([each.body for each in await unit.audited(AuditQuery(count=10_000))])

    stored = await clinic.run(bodies)
    for hidden in (token, token.split(".")[2], receipt, SECRET, "1911", "cancer", "+49 1", "Secretive"):
        assert hidden.encode() not in stored, hidden


@pytest.mark.requirement("R-8.2", "R-10.7", "R-10.10")
async def test_a_change_and_its_event_are_one(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault after the change and before its event leaves neither; the failure itself is recorded."""
    await clinic.seed(clinic.slot("s"))
    versions, events = await clinic.versions(), len(await clinic.events())

    def broken(self: Event) -> AuditEntry:
        if self.outcome == "0" and self.action == "U":
            raise RuntimeError("the log is broken")
        return whole(self)

    whole = Event.entry
    monkeypatch.setattr(Event, "entry", broken)
    answer = await clinic.patch("Slot/s", to_status("busy"))
    assert answer.status_code == 500
    assert "log is broken" not in answer.text
    assert await clinic.versions() == versions
    assert (await clinic.stored("Slot/s"))["status"] == "free"
    [failure] = [event for event in (await clinic.events())[events:] if event.subtype == "patch"]
    assert (failure.outcome, failure.description) == ("8", "500 exception")


@pytest.mark.requirement("R-10.11")
async def test_what_cannot_be_recorded_is_not_answered(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read whose event cannot be stored is 503 with Retry-After: nobody sees what is not logged."""

    async def full(*_: Any) -> None:
        raise Unavailable("The store is full.")

    await clinic.token("dr-lee")
    monkeypatch.setattr(clinic.parts.store, "record", full)
    answer = await clinic.get("Patient/anna", "dr-lee")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "Anna" not in answer.text


def test_the_stored_form_comes_back() -> None:
    event = Event(
        "read", "R", "0", 5, "c", "u", "n", "r", "j", "w", "x", "k", "e/1/_history/2", 1, "q", ("p",), "g", "d"
    )
    entry = event.entry()
    assert from_entry(5, entry.body) == event
    assert entry.found == (
        ("patient", "p"), ("agent", "u"), ("agent", "c"), ("entity", "e/1"), ("correlation", "k"),
    )  # fmt: skip
    assert Event("a", "R", "0", MINUTE).entry().body == b'{"I":"a","A":"R","O":"0"}'
