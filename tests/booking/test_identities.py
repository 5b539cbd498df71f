"""Patient/$match, $verify, $merge and $unmerge (booking/matching.py, merging.py)."""

from typing import Any

import httpx
import pytest

from fhir_server.fhir import own
from tests.harness import DAY, Harness, appointment, patient, practitioner, proposal, schedule

ADA = {
    "name": [{"family": "Löwe", "given": ["Ada"]}],
    "birthDate": "1990-02-03",
    "telecom": [{"value": "+49 30 1234567"}],
}
PASS = {"identifier": [{"system": "https://clinic.example/id", "value": "7"}]}


def parameters(**values: Any) -> dict[str, Any]:
    made = [{"name": name.replace("_", "-"), **value} for name, value in values.items()]
    return {"resourceType": "Parameters", "parameter": made}


async def match(harness: Harness, sought: dict[str, Any], caller: str = "sam") -> httpx.Response:
    body = parameters(resource={"resource": {"resourceType": "Patient", **sought}})
    return await harness.send("POST", "Patient/$match", caller, json_=body)


async def test_match_scores_and_says_why(harness: Harness) -> None:
    await harness.seed(patient("ada", **ADA, **PASS), patient("eva", **ADA | {"birthDate": "1960-01-01"}))
    found = (await match(harness, ADA)).json()["entry"]
    assert [entry["resource"]["id"] for entry in found] == ["ada"]
    assert found[0]["search"]["extension"][0]["valueCode"] == "probable"
    assert "the same birthDate" in found[0]["search"]["extension"][1]["valueString"]
    certain = (await match(harness, PASS)).json()["entry"][0]["search"]
    assert (certain["score"], certain["extension"][0]["valueCode"]) == (1.0, "certain")


@pytest.mark.requirement("R-6.2")
async def test_only_staff_match(harness: Harness) -> None:
    for caller in ("anonymous", "website", "anna", "backend", "auditor"):
        assert (await match(harness, ADA, caller)).status_code in (401, 403), caller


@pytest.mark.requirement("R-4.3")
async def test_provisional_identity_is_verified_and_its_double_flagged(harness: Harness) -> None:
    await harness.seed(practitioner("dr-lee"), schedule("lee", "Practitioner/dr-lee"), harness.slot("1"))
    await harness.seed(patient("ada", **ADA))
    person = {"resourceType": "Patient", "id": "p", **ADA}
    made = await harness.create(proposal("1", contained=[person]), "anonymous")
    stored = await harness.stored(f"Appointment/{made.json()['id']}")
    path = next(p["actor"]["reference"] for p in stored["participant"] if "Patient/" in p["actor"]["reference"])
    verified = await harness.send("POST", f"{path}/$verify", "sam")
    assert verified.status_code == 200, verified.text
    codes = [tag["code"] for tag in verified.json()["meta"]["tag"] if tag["system"] == own.IDENTITY]
    assert codes == ["duplicate"]
    assert (await harness.send("POST", f"{path}/$verify", "sam")).status_code == 422
    assert (await harness.stored("Patient/ada")).get("active") is None


async def test_merge_moves_references_and_can_be_taken_back(harness: Harness) -> None:
    await harness.seed(patient("old"), patient("new"), patient("other"))
    times = {"start": harness.at(DAY), "end": harness.at(2 * DAY)}
    booked = await harness.create(appointment("a", "booked", "old", **times), "sam")
    path = f"Appointment/{booked.json()['id']}"
    people = {name: {"valueReference": {"reference": f"Patient/{id_}"}} for name, id_ in
              (("source_patient", "old"), ("target_patient", "new"))}  # fmt: skip
    merged = await harness.send("POST", "Patient/$merge", "sam", json_=parameters(**people))
    assert merged.status_code == 200, merged.text
    assert merged.json()["link"] == [{"other": {"reference": "Patient/old"}, "type": "replaces"}]
    old = await harness.stored("Patient/old")
    assert (old["active"], old["link"][0]["type"]) == (False, "replaced-by")
    assert (await harness.stored(path))["participant"][0]["actor"]["reference"] == "Patient/new"
    assert (await harness.send("POST", "Patient/$merge", "sam", json_=parameters(**people))).status_code == 409
    undone = await harness.send("POST", "Patient/old/$unmerge", "sam")
    assert undone.status_code == 200, undone.text
    assert (await harness.stored(path))["participant"][0]["actor"]["reference"] == "Patient/old"
    assert "link" not in await harness.stored("Patient/new")
    assert {e.rule for e in await harness.events()} >= {"R-5.1 merge of two patients", "R-5.1 merge undone"}


@pytest.mark.requirement("R-5.1")
async def test_merges_in_a_chain_stay_linked_both_ways(harness: Harness) -> None:
    """Who was merged into a source leads on by it; each step can be taken back."""
    await harness.seed(patient("old"), patient("new"), patient("other"))
    times = {"start": harness.at(DAY), "end": harness.at(2 * DAY)}
    booked = await harness.create(appointment("a", "booked", "old", **times), "sam")
    path = f"Appointment/{booked.json()['id']}"
    for source, target in (("old", "new"), ("new", "other")):
        people = {"source_patient": source, "target_patient": target}
        given = {name: {"valueReference": {"reference": f"Patient/{id_}"}} for name, id_ in people.items()}
        merged = await harness.send("POST", "Patient/$merge", "sam", json_=parameters(**given))
        assert merged.status_code == 200, merged.text
    assert await _links(harness) == {
        "old": {("replaced-by", "new")},
        "new": {("replaces", "old"), ("replaced-by", "other")},
        "other": {("replaces", "new")},
    }
    assert (await harness.stored(path))["participant"][0]["actor"]["reference"] == "Patient/other"
    for source in ("new", "old"):
        undone = await harness.send("POST", f"Patient/{source}/$unmerge", "sam")
        assert undone.status_code == 200, undone.text
    assert await _links(harness) == {"old": set(), "new": set(), "other": set()}
    assert (await harness.stored(path))["participant"][0]["actor"]["reference"] == "Patient/old"


async def _links(harness: Harness) -> dict[str, set[tuple[str, str]]]:
    """Who is linked with whom, and how."""
    found = {}
    for id_ in ("old", "new", "other"):
        links = (await harness.stored(f"Patient/{id_}")).get("link", [])
        found[id_] = {(each["type"], each["other"]["reference"].partition("/")[2]) for each in links}
    return found


@pytest.mark.requirement("R-5.1")
async def test_patients_and_clients_merge_nobody(harness: Harness) -> None:
    await harness.seed(patient("anna"), patient("new"))
    people = {name: {"valueReference": {"reference": f"Patient/{id_}"}} for name, id_ in
              (("source_patient", "anna"), ("target_patient", "new"))}  # fmt: skip
    for caller in ("anonymous", "anna", "backend"):
        assert (await harness.send("POST", "Patient/$merge", caller, json_=parameters(**people))).status_code in (
            401,
            403,
        )
