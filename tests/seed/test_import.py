"""import: what it takes, refuses, reports and records."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.seed.importing import Importing, importing

PATIENT = {"resourceType": "Patient", "id": "p", "active": True}


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Importing]:
    async with importing(tmp_path) as made:
        yield made


def appointment(id_: str, **elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": id_,
        "status": "booked",
        "start": "2027-01-04T09:00:00Z",
        "end": "2027-01-04T09:30:00Z",
        "participant": [{"actor": {"reference": "Practitioner/lee"}, "status": "accepted"}],
        **elements,
    }


SCHEDULE = {"resourceType": "Schedule", "id": "s", "actor": [{"reference": "Practitioner/lee"}]}
SLOT = {
    "resourceType": "Slot",
    "id": "1",
    "schedule": {"reference": "Schedule/s"},
    "status": "free",
    "start": "2027-01-04T09:00:00Z",
    "end": "2027-01-04T09:30:00Z",
}


async def test_each_line_of_ndjson_is_a_resource_and_a_bad_one_loses_no_other(clinic: Importing) -> None:
    path = clinic.folder / "a.ndjson"
    path.write_text('{"resourceType":"Patient","id":"a"}\n\nnot json\n{"resourceType":"Patient","id":"b","x":1}\n[1]\n')
    outcome = await clinic.files(path)
    assert (outcome.new, [(r.at, r.type, r.id, r.expression) for r in outcome.refused]) == (
        1,
        [("line 3", "", "", ""), ("line 4", "Patient", "b", "Patient"), ("line 5", "", "", "")],
    )
    assert clinic.reported == outcome.refused
    assert await clinic.read("Patient", "a") is not None


async def test_gzipped_files_are_read_and_a_cut_one_is_reported(clinic: Importing) -> None:
    whole = gzip.compress(b"\n".join(json.dumps({"resourceType": "Patient", "id": f"p{n}"}).encode() for n in range(9)))
    (clinic.folder / "a.ndjson.gz").write_bytes(whole)
    assert (await clinic.files(clinic.folder / "a.ndjson.gz")).new == 9
    (clinic.folder / "b.ndjson.gz").write_bytes(whole[:-12])
    outcome = await clinic.files(clinic.folder / "b.ndjson.gz")
    assert [one.reason for one in outcome.refused] == ["The file is no whole gzip file, or cannot be read on."]


async def test_an_id_that_is_taken_gets_a_new_version_and_the_same_again_none(clinic: Importing) -> None:
    assert (await clinic.text("a.json", PATIENT)).new == 1
    assert (await clinic.text("a.json", PATIENT)).unchanged == 1
    assert (await clinic.text("a.json", PATIENT | {"active": False})).changed == 1
    assert (await clinic.read("Patient", "p"))["meta"]["versionId"] == "2"
    assert (await clinic.read("Patient", "p", 1))["active"] is True


async def test_a_decimal_written_otherwise_is_another_content(clinic: Importing) -> None:
    for number, text in enumerate(("1.50", "1.5", "1.5"), 1):
        path = clinic.folder / "o.json"
        path.write_text(
            '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"valueQuantity":'
            f'{{"value":{text}}}}}'
        )
        outcome = await clinic.files(path)
        assert (outcome.new, outcome.changed, outcome.unchanged) == [(1, 0, 0), (0, 1, 0), (0, 0, 1)][number - 1]


async def test_any_status_is_taken_and_double_booking_is_refused(clinic: Importing) -> None:
    """Issue 2, "Must hold": import takes any initial status; R-10.6."""
    outcome = await clinic.text(
        "a.ndjson", appointment("one"), appointment("two"), appointment("three", status="noshow"), appointment("four")
    )
    assert outcome.new == 2
    assert [(r.id, r.code) for r in outcome.refused] == [("two", "conflict"), ("four", "conflict")]
    assert "Appointment/one" in outcome.refused[0].reason
    assert await clinic.read("Appointment", "two") is None


async def test_appointments_may_come_before_their_slots_which_follow_them(clinic: Importing) -> None:
    """R-8.2: the slot is taken in the same Unit; a second run finds all as it was."""
    booked = appointment("one", slot=[{"reference": "Slot/1"}])
    outcome = await clinic.text("a.ndjson", booked, SLOT, SCHEDULE)
    assert (outcome.new, outcome.refused) == (3, [])
    assert (await clinic.read("Slot", "1"))["status"] == "busy"
    again = await clinic.text("a.ndjson", booked, SLOT, SCHEDULE)
    assert (again.new, again.changed, again.unchanged, again.refused) == (0, 0, 3, [])


async def test_a_busy_slot_comes_along_with_the_appointment_that_takes_it(clinic: Importing) -> None:
    """What another system says is consistent: the slot is busy because of this appointment."""
    booked = appointment("one", slot=[{"reference": "Slot/1"}])
    outcome = await clinic.text("a.ndjson", SLOT | {"status": "busy"}, SCHEDULE, booked)
    assert (outcome.new, outcome.refused) == (3, [])
    rival = appointment(
        "two", slot=[{"reference": "Slot/1"}], participant=[{"status": "accepted", "actor": {"display": "x"}}]
    )
    assert [one.code for one in (await clinic.text("b.ndjson", rival)).refused] == ["conflict"]


async def test_an_imported_appointment_keeps_who_has_not_answered(clinic: Importing) -> None:
    """Stored is what was given: nobody accepts by being imported."""
    waiting = [{"actor": {"reference": "Practitioner/lee"}, "status": "needs-action"}]
    await clinic.text("a.json", appointment("one", participant=waiting))
    assert (await clinic.read("Appointment", "one"))["participant"] == waiting


def bundle(type_: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "id": "b", "type": type_, "entry": list(entries)}


URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


async def test_a_bundle_is_stored_as_one_unless_it_is_to_be_unpacked(clinic: Importing) -> None:
    given = bundle("collection", {"fullUrl": URN, "resource": {"resourceType": "Patient", "id": "inside"}})
    await clinic.text("a.json", given)
    assert await clinic.read("Bundle", "b") is not None
    assert await clinic.read("Patient", "inside") is None
    assert (await clinic.text("a.json", given, unpack=True)).new == 1
    assert await clinic.read("Patient", "inside") is not None


async def test_documents_and_messages_are_never_unpacked(clinic: Importing) -> None:
    composition = {
        "resourceType": "Composition", "id": "c", "status": "final", "type": {"text": "x"}, "date": "2026-01-01",
        "author": [{"display": "x"}], "title": "x",
    }  # fmt: skip
    given = bundle("document", {"fullUrl": URN, "resource": composition}) | {
        "identifier": {"system": "urn:ietf:rfc:3986", "value": URN},
        "timestamp": "2026-01-01T00:00:00Z",
    }
    assert (await clinic.text("a.json", given, unpack=True)).refused == []
    assert await clinic.read("Bundle", "b") is not None
    assert await clinic.read("Composition", "c") is None


async def test_urns_of_a_transaction_become_types_and_ids(clinic: Importing) -> None:
    """FHIR R4 http.html#trules; twice the same transaction is the same resources."""
    observation = {
        "resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
        "subject": {"reference": URN},
    }  # fmt: skip
    given = bundle(
        "transaction",
        {"resource": observation, "request": {"method": "PUT", "url": "Observation/o"}},
        {"fullUrl": URN, "resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
        {"request": {"method": "DELETE", "url": "Patient/x"}},
    )
    outcome = await clinic.text("a.json", given, unpack=True)
    assert outcome.new == 2
    assert [(one.at, one.code) for one in outcome.refused] == [("entry 2", "required")]
    uuid = URN.removeprefix("urn:uuid:")
    assert (await clinic.read("Observation", "o"))["subject"] == {"reference": f"Patient/{uuid}"}
    assert await clinic.read("Patient", uuid) is not None
    assert (await clinic.text("a.json", given, unpack=True)).unchanged == 2


async def test_a_history_is_unpacked_from_its_oldest_version_on(clinic: Importing) -> None:
    entries = [{"fullUrl": URN, "resource": PATIENT | {"active": active},
                "request": {"method": "PUT", "url": "Patient/p"}, "response": {"status": "200"}}
               for active in (False, True)]  # fmt: skip
    await clinic.text("a.json", bundle("history", *entries), unpack=True)
    assert (await clinic.read("Patient", "p"))["active"] is False


async def test_conditional_references_stand_for_the_one_match(clinic: Importing) -> None:
    location = {"resourceType": "Location", "id": "l", "identifier": [{"system": "http://x", "value": "1"}]}
    encounter = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}}
    known = encounter | {"location": [{"location": {"reference": "Location?identifier=http://x|1"}}]}
    unknown = encounter | {"id": "f", "location": [{"location": {"reference": "Location?identifier=http://x|2"}}]}
    outcome = await clinic.text("a.ndjson", known, unknown, location)
    assert (await clinic.read("Encounter", "e"))["location"][0]["location"]["reference"] == "Location/l"
    assert [(one.id, one.code) for one in outcome.refused] == [("f", "not-found")]


async def test_every_change_is_audited_and_the_run_once(clinic: Importing) -> None:
    """R-10.7: the operator's name, the versions before and after, and the mark of an import."""
    await clinic.text("a.ndjson", PATIENT, PATIENT | {"active": False})
    events = [(e.subtype, e.entity, e.before, e.rule) for e in await clinic.events()]
    assert events == [
        ("command", "", 0, ""),
        ("create", "Patient/p/_history/1", 0, "import"),
        ("update", "Patient/p/_history/2", 1, "import"),
    ]
    assert {(e.client, e.user_name, e.request_id) for e in await clinic.events()} == {
        ("command-line", "olivia", "run-1")
    }
