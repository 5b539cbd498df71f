"""What is recorded of every interaction and outcome, in the shape of IHE BALP; journeys by their correlation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.audit import codes
from fhir_server.audit.event import Event, from_entry
from fhir_server.audit.render import audit_event
from fhir_server.booking import sweeper
from fhir_server.interactions.interaction import Interaction
from fhir_server.rest.table import TABLE
from profiles import definitions
from profiles.structure import Structure
from tests.audit import balp
from tests.harness import MINUTE, Harness, proposal, schedule, service, to_status

GOLDEN = Path(__file__).parent / "golden_events.json"
BASE = "http://fhir.test/demo/fhir"
NOW = 1_800_000_000_123_000
_LIKE = Event(
    "", "", "0", NOW, "provider-portal", "Practitioner/dr-lee", "Dr Lee", "practitioner",
    "018f3c1e-7b1a-7c3d-9e4f-000000000001", "10.0.0.1", "a1b2c3d4e5f60718", "journey-1",
    rule="R-7.12 provider reads and writes records",
)  # fmt: skip
_ENTITIES = {
    "create": ("1", 0),
    "update": ("2", 1),
    "patch": ("3", 2),
    "delete": ("4", 3),
    "read": ("4", 0),
    "vread": ("1", 0),
}


def _subtype(row: Interaction) -> str:
    """The events of a row that changes nothing by itself: operations are told apart by their query."""
    return "create" if row.transaction else "operation" if row.name[:1] == "$" else row.name


def events_of_every_kind() -> dict[str, Event]:
    """Every interaction and kind, succeeded, refused and failed."""
    made = {}
    for name, row in {_subtype(row): row for row in TABLE}.items():
        version, before = _ENTITIES.get(name, ("", 0))
        entity = f"Observation/o1/_history/{version}" if version else ""
        query = "" if entity else f"{row.method} Observation?patient=anna"
        done = replace(
            _LIKE, subtype=name, action=row.action or "E", entity=entity, before=before, query=query, patients=("anna",)
        )
        made[name] = done
        made[f"{name} of no patient, by a client"] = replace(done, patients=(), user="", user_name="", role="service")
        refused = replace(done, entity=entity.partition("/_history/")[0], before=0, patients=(), outcome="4")
        made[f"{name} refused"] = replace(refused, description="403 forbidden")
        made[f"{name} failed"] = replace(refused, outcome="8", description="503 transient")
    for name in codes.KINDS:
        made[name] = replace(_LIKE, subtype=name, action="E", query="grant_type=authorization_code scope=user/*.rs")
    rule = "R-10.2 auto-confirmation by HealthcareService/s1/_history/3"
    made["auto-confirmation"] = replace(
        made["update"], entity="Appointment/a1/_history/2", rule=rule, rule_author="Practitioner/root", booking="a1"
    )
    return made


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path} {row.name}")
def test_every_row_of_the_table_is_audited(row: object) -> None:
    """Issue 7, "Coverage": a new row without an audit mapping fails here."""
    assert codes.is_known(_subtype(row)), "give it a code of restful-interaction"  # type: ignore[arg-type]
    assert row.action in ("C", "R", "U", "D", "E") or row.name in ("batch", "transaction")  # type: ignore[attr-defined]


def test_every_event_is_its_golden_one() -> None:
    """Fixed time and ids: the whole resource. `python -m tests.audit.test_event_coverage` writes them anew."""
    golden = json.loads(GOLDEN.read_text())
    rendered = {name: audit_event(event, "r1-1", BASE) for name, event in events_of_every_kind().items()}
    assert rendered.keys() == golden.keys()
    for name, event in rendered.items():
        assert event == golden[name], name


@pytest.mark.parametrize("name", sorted(events_of_every_kind()))
def test_every_event_keeps_the_rules_of_balp(name: str) -> None:
    """The digest's rules: layout, agents, entities, and the pattern that each claims."""
    assert balp.faults(audit_event(events_of_every_kind()[name], "r1-1", BASE)) == []


def test_every_event_has_the_structure_of_r4() -> None:
    structure = Structure(definitions.load())
    for name, event in events_of_every_kind().items():
        assert structure.check(audit_event(event, "r1-1", BASE), expected_type="AuditEvent") == [], name


def test_an_event_is_the_same_again_from_its_stored_form() -> None:
    for event in events_of_every_kind().values():
        assert from_entry(event.recorded, event.entry().body) == event


def _path(row: Interaction) -> str:
    """A path of the row's shape."""
    filled = row.path.replace("{type}/{id}/{other}", "Patient/p1/Observation").replace("{version}", "1")
    return filled.replace("{type}", "Observation").replace("{id}", "x1")


@pytest.mark.requirement("R-6.5", "R-10.7")
async def test_every_row_records_its_refusal_and_its_failure(clinic: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP: a wrong token (outcome 4), and a server that breaks (8), each one event that BALP takes."""

    async def broken(*_: object) -> None:
        raise RuntimeError("it broke")

    await clinic.token("admin")
    structure, wrong = clinic.parts.server.structure, []
    for outcome, status in (("4", 401), ("8", 500)):
        if outcome == "8":
            monkeypatch.setattr(clinic.parts.pipeline, "_perform", broken)
        for number, row in enumerate(TABLE):
            sent = {"X-Request-Id": f"row-{outcome}-{number}"}
            sent |= {"Authorization": "Bearer not.a.token"} if outcome == "4" else {}
            answer = await clinic.send(row.method, _path(row), "admin", headers=sent)
            assert answer.status_code == status, (row.method, row.path)
    for event in [audit_event(each, "r1-1", BASE) for each in await clinic.events()]:
        ids = [e["what"]["identifier"]["value"] for e in event.get("entity", ()) if e["type"]["code"] == "XrequestId"]
        _, _, number = (ids or [""])[0].rpartition("-")
        if not ids or not ids[0].startswith("row-"):
            continue
        row = TABLE[int(number)]
        wanted = [codes.kind_of(_subtype(row)).subtype[1], *([row.transaction] if row.transaction else [])]
        if [each["code"] for each in event["subtype"]] != wanted and row.name != "batch":  # its POST is a transaction's
            wrong.append((row, event["subtype"]))
        wrong += [(row, fault) for fault in balp.faults(event)]
        wrong += [(row, fault) for fault in structure.check(event, expected_type="AuditEvent")]
    assert wrong == []
    recorded = [event.request_id for event in await clinic.events() if event.request_id.startswith("row-")]
    assert sorted(recorded) == sorted(f"row-{outcome}-{n}" for outcome in "48" for n in range(len(TABLE)))


async def _trail(clinic: Harness, correlation: str) -> list[str]:
    answer = await clinic.get(f"AuditEvent?correlation={correlation}&_sort=date&_count=100", "auditor")
    assert answer.status_code == 200, answer.text
    events = [entry["resource"] for entry in answer.json().get("entry", ())]
    assert all(balp.faults(event) == [] for event in events)
    named = [
        [e["what"]["reference"] for e in event.get("entity", ()) if e.get("role", {}).get("code") == "4"]
        for event in events
    ]
    return [f"{event['subtype'][0]['code']} {' '.join(names)}" for event, names in zip(events, named, strict=True)]


@pytest.mark.requirement("R-10.7", "R-10.9")
async def test_one_booking_is_told_in_order_by_its_id(clinic: Harness) -> None:
    """Proposal, review, appointment, and who looked: across surfaces, by the booking's own id."""
    await clinic.seed(clinic.slot("s1"))
    made = await clinic.create(proposal("s1"), "anonymous", headers={"X-Correlation-Id": "from-the-website"})
    id_ = made.json()["id"]
    clinic.clock.advance(MINUTE)
    assert (await clinic.get(f"Appointment/{id_}", "dr-lee")).status_code == 200
    clinic.clock.advance(MINUTE)
    assert (await clinic.patch(f"Appointment/{id_}", to_status("booked"))).status_code == 200
    clinic.clock.advance(MINUTE)
    assert (await clinic.patch(f"Appointment/{id_}", to_status("booked"), "anna")).status_code in (403, 404)
    trail = await _trail(clinic, id_)
    assert trail[0].startswith(("create Patient/", f"create Appointment/{id_}/_history/1"))
    assert f"create Appointment/{id_}/_history/1" in trail[:3]
    assert [step for step in trail if step.startswith(("read", "patch"))] == [
        f"read Appointment/{id_}/_history/1", f"patch Appointment/{id_}/_history/2", f"patch Appointment/{id_}",
    ]  # fmt: skip
    assert "update Slot/s1/_history/2" in trail
    by_header = await _trail(clinic, "from-the-website")
    assert by_header == [step for step in trail if step.startswith("create")]


@pytest.mark.requirement("R-10.7", "R-10.9")
async def test_one_persons_journey_is_told_across_surfaces(clinic: Harness) -> None:
    """One correlation from the website to both portals and the front desk, in order, and nothing of other journeys."""
    await clinic.seed(clinic.slot("s1"), clinic.slot("s2"))  # the other time is proposed by the same person
    trace = {"traceparent": f"00-{'7' * 32}-{'1' * 16}-01"}
    other = (await clinic.create(proposal("s2"), "anonymous")).json()["id"]
    made = await clinic.create(proposal("s1"), "anonymous", headers=trace)
    path, journey = f"Appointment/{made.json()['id']}", []
    for caller, status in (("sam", "pending"), ("dr-lee", "booked"), ("sam", "cancelled")):
        clinic.clock.advance(MINUTE)
        assert (await clinic.get(path, caller)).status_code == 200
        clinic.clock.advance(MINUTE)
        assert (await clinic.patch(path, to_status(status), caller, headers=trace)).status_code == 200
        await clinic.get(f"Appointment/{other}", caller)
    answer = await clinic.get(f"AuditEvent?correlation={made.json()['id']}&_sort=date&_count=100", "auditor")
    for event in (entry["resource"] for entry in answer.json()["entry"]):
        who = next(agent["who"] for agent in event["agent"] if agent["requestor"])
        asked = who.get("reference") or who["identifier"]["value"]
        what = event["entity"][0]["what"]["reference"].replace(path, "it").partition("/0")[0]
        journey.append(f"{asked} {event['subtype'][0]['code']} {what}")
    sam, lee = "Practitioner/sam", "Practitioner/dr-lee"
    assert journey == [
        "anonymous create Patient", "anonymous create it/_history/1",
        f"{sam} read it/_history/1", f"{sam} patch it/_history/2",
        f"{lee} read it/_history/2", f"{lee} patch it/_history/3", f"{lee} update Slot/s1/_history/2",
        f"{sam} read it/_history/3", f"{sam} patch it/_history/4", f"{sam} update Slot/s1/_history/3",
    ]  # fmt: skip
    by_trace = await _trail(clinic, "7" * 32)
    marked = f"update Appointment/{other}/_history/2"  # as one that contends with it
    assert [step for step in by_trace if step != marked] == [
        step for step in await _trail(clinic, made.json()["id"]) if not step.startswith("read")
    ]


@pytest.mark.requirement("R-10.2")
async def test_auto_confirmation_is_the_rules_decision(clinic: Harness) -> None:
    """The event names the rule with its version, and who set it."""
    await clinic.seed(
        service("quick", auto_confirm=True, risk="low"),
        schedule("quick", "Practitioner/dr-lee", "HealthcareService/quick"),
        clinic.slot("q1", schedule="quick"),
    )  # fmt: skip
    made = await clinic.create(proposal("q1"), "anonymous")
    id_ = made.json()["id"]
    answer = await clinic.get(f"AuditEvent?entity=Appointment/{id_}&subtype=update", "auditor")
    (event,) = [entry["resource"] for entry in answer.json()["entry"]]
    assert balp.faults(event) == []
    assert "HealthcareService/quick/_history/1" in [e["what"].get("reference") for e in event["entity"]]
    authors = [agent for agent in event["agent"] if agent.get("name") == "set the rule"]
    assert [author["who"] for author in authors] == [{"identifier": {"value": "admin"}}]


@pytest.mark.requirement("R-10.7")
async def test_the_end_of_a_hold_is_recorded(clinic: Harness) -> None:
    """As the server's own act, under the booking whose hold it was."""
    await clinic.seed(
        service("held", hold_minutes=10), schedule("held", "Practitioner/dr-kim", "HealthcareService/held"),
        clinic.slot("h1", schedule="held"),
    )  # fmt: skip
    id_ = (await clinic.create(proposal("h1"), "anonymous")).json()["id"]
    clinic.clock.advance(11 * MINUTE)
    parts = clinic.parts
    assert await sweeper.sweep(parts.store, await parts.clinics.get("demo")) == 1
    last = [event for event in await clinic.events() if event.entity.startswith("Slot/h1/")][-1]
    assert (last.client, last.rule, last.booking) == ("server", "R-8.2 hold ended", id_)


async def test_a_token_in_a_query_is_not_kept(clinic: Harness) -> None:
    """Nothing in the log carries a secret, even where a caller puts one into the URL."""
    token = await clinic.token("dr-lee")
    await clinic.get(f"Slot?access_token={token}&status=free")
    body = (await clinic.get("AuditEvent?subtype=search-type&_count=100", "auditor")).text
    assert token not in body
    assert "access_token=(left out)" in body


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["AuditEvent/c-1", "AuditEvent/c-1/_history/1", "AuditEvent", "AuditEvent/c-1/$meta"])
@pytest.mark.parametrize("caller", ["admin", "auditor", "anonymous"])
async def test_the_log_is_never_changed(clinic: Harness, method: str, path: str, caller: str) -> None:
    """R-10.8: 405, whoever asks, on every path."""
    answer = await clinic.send(method, path, caller, json_={"resourceType": "AuditEvent", "id": "c-1"})
    assert answer.status_code == 405, answer.text
    assert "Allow" in answer.headers


def write_golden() -> None:
    """Write the golden events anew."""
    rendered = {name: audit_event(event, "r1-1", BASE) for name, event in events_of_every_kind().items()}
    GOLDEN.write_text(json.dumps(rendered, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write_golden()
