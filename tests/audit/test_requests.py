"""What single requests are recorded as: their time, whom a search is about, entries of Bundles, repeats (R-6.5)."""

from collections.abc import Iterable
from typing import Any

import pytest

from fhir_server.audit.event import Event
from fhir_server.audit.flood import FREE, WINDOW
from fhir_server.audit.render import audit_event
from fhir_server.rest.subjects import MOST
from fhir_server.store.protocol import AuditEntry
from smart_auth.events import to_events
from smart_auth.services import AuthEvent
from tests.audit import balp
from tests.harness import FORM, MINUTE, Harness, cared_for

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


def _condition(id_: str, whose: str) -> dict[str, Any]:
    return {"resourceType": "Condition", "id": id_, "subject": {"reference": f"Patient/{whose}"}}


async def _asked(clinic: Harness, method: str, path: str, caller: str, status: int, form: str = "") -> list[Event]:
    """The events of one request."""
    if caller != "anonymous":
        await clinic.token(caller)
    count, headers = len(await clinic.events()), {"Content-Type": FORM} if form else {}
    answer = await clinic.send(method, path, caller, content=form.encode() if form else None, headers=headers)
    assert answer.status_code == status, answer.text
    return await _events_since(clinic, count)


COMPARTMENTS: tuple[tuple[str, str, int, list[tuple[str, ...]]], ...] = (
    ("Patient/ben/Condition", "dr-kim", 200, [("ben",)]),
    ("Patient/ben/Observation", "dr-kim", 200, [("ben",)]),  # nothing is found
    ("Patient/ben/*", "dr-kim", 200, [("ben",)]),
    ("Patient/ben/Condition", "sam", 403, [("ben",)]),
    ("Patient/ben/Slot", "dr-kim", 404, [("ben",)]),
    ("Practitioner/dr-lee/Encounter", "admin", 200, [("anna",), ("ben",)]),
    ("Practitioner/dr-lee/Condition", "admin", 200, [()]),
)


@pytest.mark.parametrize(("path", "caller", "status", "patients"), COMPARTMENTS)
@pytest.mark.requirement("R-6.5")
async def test_a_search_of_a_compartment_is_a_query(
    clinic: Harness, path: str, caller: str, status: int, patients: list[tuple[str, ...]]
) -> None:
    """BALP: what was asked, and an event for each patient; no resource is its data."""
    await clinic.seed(
        *(_condition("c1", "ben") | {"code": {"text": str(n)}} for n in range(3)),
        *(
            {"resourceType": "Encounter", "id": f"e-{whose}", "status": "finished", "class": {"code": "AMB"},
             "subject": {"reference": f"Patient/{whose}"},
             "participant": [{"individual": {"reference": "Practitioner/dr-lee"}}]}
            for whose in ("anna", "ben")
        ),
    )  # fmt: skip
    for events in (
        await _asked(clinic, "GET", path, caller, status),
        await _asked(clinic, "POST", f"{path}/_search", caller, status, "_count=9"),
    ):
        assert sorted(event.patients for event in events) == patients
        assert {(event.subtype, event.action, event.entity) for event in events} == {("search-compartment", "E", "")}
        assert {path in event.query for event in events} == {True}


_MANY = ",".join(f"p{n}" for n in range(500))
SEARCHES: tuple[tuple[str, str, int, list[tuple[str, ...]]], ...] = (
    ("Condition?patient=ben", "dr-kim", 200, [("ben",)]),  # nothing is found, here and below
    ("Condition?subject=Patient/ben&code=x", "dr-kim", 200, [("ben",)]),
    (f"Condition?subject={BASE}/Patient/ben", "dr-kim", 200, [("ben",)]),
    ("Condition?subject:Patient=ben", "dr-kim", 200, [("ben",)]),
    ("Condition?%70atient=b%65n", "dr-kim", 200, [("ben",)]),
    ("Condition?patient=ben,carl", "dr-kim", 200, [("ben",), ("carl",)]),
    ("Condition?encounter.subject=Patient/ben", "dr-kim", 200, [("ben",)]),
    ("Appointment?actor=Patient/ben", "dr-kim", 200, [("ben",)]),
    ("Patient?_id=ben", "dr-lee", 200, [("ben",)]),
    ("Patient?_has:Observation:patient:subject=Patient/ben", "dr-kim", 200, [("ben",)]),
    ("?_type=Condition,Encounter&patient=ben", "dr-kim", 200, [("ben",)]),
    ("Condition?patient:missing=true", "dr-kim", 200, [()]),
    ("Condition?encounter=ben", "dr-kim", 200, [()]),
    ("Condition?subject=http://elsewhere.example/fhir/Patient/ben", "dr-kim", 200, [()]),
    ("Patient?_id=ben,anna", "dr-kim", 200, [("anna",), ("ben",)]),  # ben is found
    ("Patient?_id=ben&_summary=count", "dr-kim", 200, [("ben",)]),
    ("Condition?patient=ben", "sam", 403, [("ben",)]),
    ("Condition?patient=ben", "anonymous", 403, [("ben",)]),
    ("Condition?patient=ben,carl&colour=red", "dr-kim", 400, [("ben", "carl")]),
    (f"Condition?patient={_MANY}", "sam", 403, [tuple(f"p{n}" for n in range(MOST))]),
    ("metadata?patient=ben", "anonymous", 200, [()]),
)


@pytest.mark.parametrize(("path", "caller", "status", "patients"), SEARCHES)
@pytest.mark.requirement("R-6.5", "R-10.7")
async def test_a_search_names_whom_it_is_about(
    clinic: Harness, path: str, caller: str, status: int, patients: list[tuple[str, ...]]
) -> None:
    """BALP: PatientQuery where a patient's id is a parameter, whatever is found; and refused attempts alike."""
    events = await _asked(clinic, "GET", path, caller, status)
    assert sorted(event.patients for event in events) == patients
    assert {event.query for event in events} == {f"GET {path}"[:2_000]}


async def test_the_form_of_a_search_is_asked_too(clinic: Harness) -> None:
    for caller, status in (("dr-kim", 200), ("sam", 403)):
        events = await _asked(clinic, "POST", "Condition/_search", caller, status, "patient=Patient%2Fben")
        assert [event.patients for event in events] == [("ben",)]


async def test_a_condition_in_the_place_of_an_id_names_whom_it_is_about(clinic: Harness) -> None:
    """A deletion whose condition finds nothing was a search; one that is refused was an attempt."""
    (found,) = await _asked(clinic, "DELETE", "Condition?patient=ben", "dr-kim", 204)
    assert (found.subtype, found.action, found.outcome, found.patients) == ("search-type", "E", "0", ("ben",))
    (refused,) = await _asked(clinic, "DELETE", "Condition?patient=ben", "sam", 403)
    assert (refused.subtype, refused.action, refused.outcome, refused.patients) == ("delete", "D", "4", ("ben",))


async def test_a_search_that_found_nothing_is_a_look(clinic: Harness) -> None:
    """Who asked for a patient's conditions knows now that there are none."""
    await _asked(clinic, "GET", "Condition?patient=ben", "dr-kim", 200)
    answer = await clinic.get("Patient/ben/$accounting-of-disclosures", "auditor")
    assert [entry["resource"]["action"] for entry in answer.json()["entry"]] == ["E"]


def _entry(method: str, url: str, resource: Any = None, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    return made | ({"resource": resource} if resource is not None else {})


# Entry, caller, status, and what is told of it: subtype, action, entity, query, patients, the beginning of its rule.
Told = tuple[str, str, str, str, tuple[str, ...], str]
REFUSED: tuple[tuple[dict[str, Any], str, int, Told], ...] = (
    (_entry("GET", "Patient/carl"), "dr-lee", 404, ("read", "R", "Patient/carl", "", ("carl",), "outside of R-7.9")),
    (_entry("HEAD", "Patient/carl"), "dr-lee", 404, ("read", "R", "Patient/carl", "", ("carl",), "outside of R-7.9")),
    (_entry("DELETE", "Condition/c1"), "dr-lee", 404, ("delete", "D", "Condition/c1", "", (), "outside of R-7.12")),
    (_entry("GET", "Condition/c1"), "sam", 403, ("read", "R", "Condition/c1", "", (), "R-6.3 nothing grants it")),
    (_entry("GET", "Condition?patient=carl"), "sam", 403,
     ("search-type", "E", "", "GET Condition?patient=carl", ("carl",), "R-6.3 nothing grants it")),
    (_entry("GET", "Patient/carl/Condition"), "sam", 403,
     ("search-compartment", "E", "", "GET Patient/carl/Condition", ("carl",), "")),
    (_entry("GET", "Patient/carl"), "anonymous", 403,
     ("read", "R", "Patient/carl", "", ("carl",), "R-6.3 nothing grants it")),
    (_entry("PUT", "Condition?patient=carl", _condition("c1", "carl")), "sam", 403,
     ("update", "U", "", "PUT Condition?patient=carl", ("carl",), "R-6.3 nothing grants it")),
    (_entry("POST", "Observation", _note(subject={"reference": "Patient/carl"})), "dr-lee", 403,
     ("create", "C", "", "POST Observation", (), "outside of R-7.12")),
    (_entry("POST", "Observation", _note(subject={"reference": "Patient?_id=carl"})), "dr-lee", 412,
     ("search-type", "E", "", "GET Patient?_id=carl", ("carl",), "")),
    (_entry("GET", "Nothing/x"), "dr-lee", 404, ("unknown", "E", "", "GET Nothing/x", (), "")),
)  # fmt: skip


@pytest.mark.parametrize(("entry", "caller", "status", "told"), REFUSED)
@pytest.mark.requirement("R-6.5", "R-10.7")
async def test_the_refused_entry_of_a_transaction_is_recorded(
    clinic: Harness, entry: dict[str, Any], caller: str, status: int, told: Told
) -> None:
    """As the same entry of a batch is, beside the transaction's own event; dr-lee has nothing to do with carl."""
    await clinic.seed(cared_for("carl", "dr-kim"), _condition("c1", "carl"))
    if caller != "anonymous":
        await clinic.token(caller)
    count = len(await clinic.events())
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [_entry("GET", "metadata"), entry]}
    answer = await clinic.send("POST", "", caller, json_=body, headers={"X-Request-Id": "bundle"})
    assert answer.status_code == status, answer.text
    events = await _events_since(clinic, count)
    refused, whole = sorted(events, key=lambda event: event.subtype == "transaction")
    what = (refused.subtype, refused.action, refused.entity, refused.query, refused.patients)
    assert what == told[:5]
    assert refused.rule.startswith(told[5])
    assert (whole.subtype, whole.action, whole.entity) == ("transaction", "E", "")
    assert {(e.outcome, e.request_id, e.description) for e in events} == {
        ("4", "bundle", f"{status} {answer.json()['issue'][0]['code']}")
    }


async def test_refused_transactions_are_looks_too(clinic: Harness) -> None:
    await clinic.seed(cared_for("carl", "dr-kim"))
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [_entry("GET", "Patient/carl")]}
    assert (await clinic.send("POST", "", "dr-lee", json_=body)).status_code == 404
    answer = await clinic.get("Patient/carl/$accounting-of-disclosures", "auditor")
    assert [entry["resource"]["outcomeDesc"] for entry in answer.json()["entry"]] == ["404 not-found"]


async def test_a_flood_of_refused_transactions_is_counted(clinic: Harness) -> None:
    """Each event of one counts, so that a Bundle is no way round the limit."""
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [_entry("GET", "Patient/carl")]}
    for _ in range(FREE):
        assert (await clinic.send("POST", "", "anonymous", json_=body)).status_code == 403
    assert len([event for event in await clinic.events() if event.outcome == "4"]) == FREE
    clinic.clock.advance(WINDOW)
    await clinic.parts.pipeline.sum_up()
    last = (await clinic.events())[-1]
    assert (last.subtype, last.count) == ("denials", FREE)
