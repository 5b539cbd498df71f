"""Searching the log by every parameter of R4: each finds what a look at all entries finds; others are 400."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.audit.event import Event
from profiles import definitions
from tests.audit.test_event_coverage import NOW, events_of_every_kind
from tests.harness import DAY, SECRET, Harness, ids, issue, to_status

Resource = dict[str, Any]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
V3 = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def _agents(event: Resource) -> list[str]:
    return [agent["who"].get("reference", "") for agent in event["agent"]]


def _entities(event: Resource) -> list[str]:
    """The resources, without versions."""
    found = [e["what"].get("reference", "") for e in event.get("entity", ()) if "what" in e]
    return [reference.partition("/_history/")[0] for reference in found]


def _names(event: Resource) -> list[str]:
    return [agent.get("name", "").lower() for agent in event["agent"]]


def _codes(event: Resource, name: str) -> list[str]:
    """The codes under `role` or `type` of the entities."""
    return [entity[name]["code"] for entity in event.get("entity", ()) if name in entity]


def _roles(event: Resource) -> list[str]:
    return [coding["code"] for agent in event["agent"] for role in agent.get("role", ()) for coding in role["coding"]]


def _policies(event: Resource) -> list[str]:
    return [policy for agent in event["agent"] for policy in agent.get("policy", ())]


RULE = "urn:fhir-server:rule:R-7.9-provider-reads-patients"
# Each parameter, and what it means, said once more.
QUERIES: dict[str, Callable[[Resource], bool]] = {
    "action=R": lambda e: e["action"] == "R",
    "action=C,U": lambda e: e["action"] in "CU",
    "address=127.0.0": lambda e: any(a.get("network", {}).get("address", "").startswith("127.0.0") for a in e["agent"]),
    "address=10.": lambda _: False,
    "agent=Practitioner/dr-lee": lambda e: "Practitioner/dr-lee" in _agents(e),
    "agent:identifier=patient-portal": lambda e: "patient-portal" in str(e["agent"]),
    "agent:missing=true": lambda _: False,
    "agent-name=dr": lambda e: any(name.startswith("dr") for name in _names(e)),
    "agent-name:exact=Dr-Lee": lambda e: "Dr-Lee" in [agent.get("name") for agent in e["agent"]],
    "agent-name:contains=lee": lambda e: any("lee" in name for name in _names(e)),
    "agent-role=practitioner": lambda e: "practitioner" in _roles(e),
    "agent-role=https://fhir-server.dev/CodeSystem/role|patient": lambda e: "patient" in _roles(e),
    "altid=x": lambda _: False,
    "date=2027-01-19": lambda e: e["recorded"].startswith("2027-01-19"),
    "date=lt2027-01-19T00:00:00Z&action=R": lambda e: e["recorded"] < "2027-01-19" and e["action"] == "R",
    "entity=Slot/s": lambda e: "Slot/s" in _entities(e),
    "entity=Patient/anna,Patient/ben": lambda e: bool({"Patient/anna", "Patient/ben"} & {*_entities(e)}),
    "entity-name=x": lambda _: False,
    "entity-role=24": lambda e: "24" in _codes(e, "role"),
    "entity-role:not=24": lambda e: "24" not in _codes(e, "role"),
    "entity-type=1": lambda e: "1" in _codes(e, "type"),
    "entity-type=XrequestId&action=E": lambda e: "XrequestId" in _codes(e, "type") and e["action"] == "E",
    "outcome=4": lambda e: e["outcome"] == "4",
    "outcome=4,8": lambda e: e["outcome"] in "48",
    "outcome:not=0": lambda e: e["outcome"] != "0",
    "patient=Patient/anna": lambda e: "Patient/anna" in _agents(e) + _entities(e),
    f"policy={RULE}": lambda e: RULE in _policies(e),
    "policy:below=urn:oauth": lambda _: False,
    "site=x": lambda _: False,
    "source:missing=true": lambda _: False,
    f"subtype={V3}|read": lambda _: False,
    "subtype=read,search-type": lambda e: e["subtype"][0]["code"] in ("read", "search-type"),
    f"type={DCM}|110114": lambda e: e["type"]["code"] == "110114",
    "type=rest": lambda e: e["type"]["code"] == "rest",
    "correlation=journey-1": lambda e: "journey-1" in str(e.get("entity")),
    "_lastUpdated=ge2027-01-19": lambda e: e["recorded"] >= "2027-01-19",
}
REFUSED = (
    "nonsense=1", "date=yesterday", "date=xx2027", "agent:Patient.name=x", "agent.name=x", "_sort=agent",
    "_has:Provenance:target:agent=x", "_sort=-action", "_sort=date,action", "agent:exact=x", "outcome:above=4",
    "patient=a/b/c", "_count=x", "_include=AuditEvent:nonsense", "_include=AuditEvent:date",
    "_include=Patient:organization", "_include=AuditEvent:agent:Nonsense", "_revinclude=Provenance:target",
    "_summary=x", "_elements:not=agent",
)  # fmt: skip


async def _days(clinic: Harness) -> None:
    await clinic.seed(clinic.slot("s"))
    for n in range(2):
        await clinic.get("Patient/anna", "dr-lee", headers={"X-Correlation-Id": f"journey-{n}"})
        await clinic.get("Patient/ben", "dr-kim")
        await clinic.get("Patient/ben", "anna")
        await clinic.get("Patient?family=anna", "dr-lee")
        await clinic.get("Slot?status=free")
        await clinic.patch("Slot/s", to_status(("busy", "free")[n]), "sam")
        await clinic.http.post("/demo/auth/token", data={"grant_type": "client_credentials"}, auth=("admin", SECRET))
        clinic.clock.advance(DAY)


async def _found(clinic: Harness, query: str) -> list[Resource]:
    answer = await clinic.get(f"AuditEvent?{query}&_count=1000", "auditor")
    assert answer.status_code == 200, (query, answer.text)
    return [entry["resource"] for entry in answer.json().get("entry", ())]


@pytest.mark.requirement("R-C.3", "R-10.7")
async def test_every_parameter_finds_what_a_look_at_all_finds(clinic: Harness) -> None:
    """The auditor's own searches, which each one adds to the log, are left out."""
    await _days(clinic)
    everything = await _found(clinic, "_sort=date")
    here, wrong = {event["id"] for event in everything}, []
    for query, means in QUERIES.items():
        found = [event["id"] for event in await _found(clinic, f"{query}&_sort=date") if event["id"] in here]
        if found != [event["id"] for event in everything if means(event)]:
            wrong.append((query, len(found), sum(map(means, everything))))
    assert wrong == [], wrong


# Kinds that the golden events have not: nobody known, a rule that a client or a patient set, a Patient that was looked
# for and not found, one who acts for another, one appointment within another's journey.
MORE = (
    Event("read", "R", "4", NOW, entity="Patient/nobody", description="404 not-found"),
    Event("update", "U", "0", NOW, "portal", "Patient/ben", entity="Slot/s/_history/2", patients=("anna",), booking="b",
          rule="by Schedule/x/_history/1 and HealthcareService/s1/_history/2", rule_author="admin Patient/eve"),
    Event("update", "U", "0", NOW, "anonymous", correlation="j", booking="b", patients=("anna", "ben"),
          entity="Patient/ben/_history/7"),
)  # fmt: skip


def _queries(event: Resource) -> set[str]:
    """Every search for somebody or something that an AuditEvent shows."""
    queries = set()
    named = [("agent", agent["who"]) for agent in event["agent"]]
    named += [("entity", entity["what"]) for entity in event.get("entity", ()) if "what" in entity]
    for parameter, what in named:
        if "reference" in what:
            reference = what["reference"].partition("/_history/")[0]
            queries |= {f"{parameter}={reference}", f"{parameter}={reference.partition('/')[2]}"}
            if reference.startswith("Patient/"):
                queries |= {f"patient={reference}", f"patient={reference.partition('/')[2]}"}
        if "identifier" in what:
            queries.add(f"{parameter}:identifier={what['identifier']['value']}")
    ties = [e["what"]["identifier"]["value"] for e in event.get("entity", ()) if e["type"]["code"] == "correlation"]
    return queries | {f"correlation={tie}" for tie in ties}


@pytest.mark.requirement("R-C.3", "R-10.7")
async def test_everybody_and_everything_that_is_shown_is_found(harness: Harness) -> None:
    """Events of every kind: a search for what one names finds just those that name it, whatever index leads there."""
    made = [*events_of_every_kind().values(), *MORE]
    shown: dict[str, set[str]] = {}
    for n, event in enumerate(made):
        recorded = replace(event, recorded=NOW + n)
        if n % 2:
            await harness.parts.store.record("demo", [recorded.entry()])
        else:
            await harness.run(lambda unit, event=recorded: unit.audit(event.entry()), write=True)
    for event in await _found(harness, f"date=lt{harness.at(0)}"):
        for query in _queries(event):
            shown.setdefault(query, set()).add(event["id"])
    assert len(set.union(*shown.values())) == len(made)
    wrong = []
    for query, ids_ in shown.items():
        found = {event["id"] for event in await _found(harness, f"{query}&date=lt{harness.at(0)}")}
        if found != ids_:
            wrong.append((query, len(found), len(ids_)))
    assert wrong == [], wrong


def test_no_parameter_of_r4_is_forgotten() -> None:
    asked = {pair.partition("=")[0].partition(":")[0] for query in QUERIES for pair in query.split("&")}
    known = {each.code for each in definitions.load().search_parameters if "AuditEvent" in each.bases}
    assert known <= asked


@pytest.mark.parametrize("query", REFUSED)
async def test_what_the_log_cannot_answer_is_refused(harness: Harness, query: str) -> None:
    answer = await harness.get(f"AuditEvent?{query}", "auditor")
    assert answer.status_code == 400, answer.text
    assert issue(answer)["expression"]


async def test_agents_and_entities_come_along(clinic: Harness) -> None:
    """As the caller may see them: all for the administrator, nothing for one who may only read the log."""
    await clinic.seed({"resourceType": "Practitioner", "id": "olga"})
    await clinic.get("Patient/anna", "dr-lee")
    await clinic.get("Patient/ben", "dr-kim")
    query = "AuditEvent?action=R&subtype=read&_include=AuditEvent"
    both = await clinic.get(f"{query}:agent&_include=AuditEvent:entity", "admin")
    assert len(ids(both)) == 2
    assert sorted(ids(both, "include")) == ["anna", "ben", "dr-kim", "dr-lee"]
    assert sorted(ids(await clinic.get(f"{query}:agent", "admin"), "include")) == ["dr-kim", "dr-lee"]
    assert sorted(ids(await clinic.get(f"{query}:entity:Patient&_count=1", "admin"), "include")) == ["ben"]
    assert sorted(ids(await clinic.get(f"{query}:patient", "admin"), "include")) == ["anna", "ben"]
    assert len(ids(await clinic.get(f"{query}:*", "admin"), "include")) == 4
    assert ids(await clinic.get(f"{query}:*", "auditor"), "include") == []
    # Whose data came along is recorded, one by one, as for any search.
    told = await clinic.get("AuditEvent?agent:identifier=admin&subtype=search-type&patient=anna", "auditor")
    assert told.json()["total"] == 3
