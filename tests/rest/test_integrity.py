"""Referential integrity by the setting (FHIR R4 references.html; docs/decisions/0027-referential-integrity.md)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.settings import from_environment
from tests.harness import ORIGIN, Harness, ids, issue, make_harness, patient, practitioner


def observation(id_: str, subject: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": subject}, **more}  # fmt: skip


def bundle(*entries: tuple[str, str, Any], type_: str = "transaction") -> dict[str, Any]:
    made = [{"request": {"method": m, "url": u}} | ({"resource": r} if r else {}) for m, u, r in entries]
    return {"resourceType": "Bundle", "type": type_, "entry": made}


@pytest.fixture
async def strict(store_kind: str, tmp_path: Path) -> AsyncIterator[Harness]:
    made = await make_harness(store_kind, tmp_path, referential_integrity="strict")
    await made.seed(practitioner("dr"), patient("anna"))
    yield made
    await made.parts.store.close()


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("Patient/anna", 201),
        (f"{ORIGIN}/demo/fhir/Patient/anna", 201),
        ("Patient/anna/_history/1", 201),
        ("https://elsewhere.example/fhir/Patient/nobody", 201),
        ("urn:uuid:0e2a1b0e-3f0b-4c0f-9a51-1f6d5f6f0a11", 201),
        ("Patient/nobody", 422),
        (f"{ORIGIN}/demo/fhir/Patient/nobody", 422),
        ("Patient/anna/_history/2", 422),
        ("Patient/anna/_history/x", 422),
        ("Patient/gone", 422),
        (f"{ORIGIN}/other/fhir/Patient/nobody", 201),
    ],
)
async def test_a_new_reference_leads_somewhere(strict: Harness, reference: str, status: int) -> None:
    await strict.seed(patient("gone"))
    await strict.delete("Patient/gone")
    versions = await strict.versions()
    answer = await strict.put(observation("o", reference))
    assert answer.status_code == status, answer.text
    if status == 422:
        assert issue(answer)["expression"] == ["Observation.subject.reference"]
        assert issue(answer)["code"] == "not-found"
        assert await strict.versions() == versions


async def test_every_dangling_reference_is_named(strict: Harness) -> None:
    performers = [{"reference": "Practitioner/dr"}, {"reference": "Practitioner/x"}]
    answer = await strict.put(observation("o", "Patient/nobody", performer=performers))
    assert {each["expression"][0] for each in answer.json()["issue"]} == {
        "Observation.subject.reference", "Observation.performer[1].reference",
    }  # fmt: skip


async def test_logical_contained_and_canonical_references_are_left_alone(strict: Harness) -> None:
    logical = observation("o", "") | {"subject": {"identifier": {"value": "1"}}}
    assert (await strict.put(logical)).status_code == 201
    contained = observation("p", "#p", contained=[{"resourceType": "Patient", "id": "p"}])
    assert (await strict.put(contained)).status_code == 201
    form = {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed",
            "questionnaire": "http://example.org/q|2.0"}  # fmt: skip
    assert (await strict.put(form)).status_code == 201
    assert ids(await strict.get("QuestionnaireResponse?questionnaire=http://example.org/q|2.0", "admin")) == ["q"]


async def test_patches_and_updates_are_checked_for_what_they_add(strict: Harness) -> None:
    await strict.seed(observation("o", "Patient/anna"))
    add = [{"op": "add", "path": "/performer", "value": [{"reference": "Practitioner/x"}]}]
    assert (await strict.patch("Observation/o", add, "admin")).status_code == 422
    assert (await strict.put(observation("o", "Patient/nobody"))).status_code == 422
    assert (await strict.put(observation("o", "Patient/anna", status="amended"))).status_code == 200


async def test_what_is_referred_to_is_not_deleted(strict: Harness) -> None:
    """By whatever element: `performer` and an extension's reference are no less."""
    link = {"url": "http://example.org/link", "valueReference": {"reference": "Practitioner/dr"}}
    await strict.seed(observation("o", "Patient/anna", extension=[link]))
    for path in ("Patient/anna", "Practitioner/dr", "Patient?family=anna"):
        refused = await strict.delete(path)
        assert refused.status_code == 409, refused.text
        assert "Observation/o" in issue(refused)["diagnostics"]
    assert (await strict.get("Patient/anna", "admin")).status_code == 200
    await strict.seed(observation("o", "Patient/anna"))
    assert (await strict.delete("Practitioner/dr")).status_code == 204
    assert (await strict.delete("Observation/o")).status_code == 204
    assert (await strict.delete("Patient/anna")).status_code == 204


async def test_many_referrers_are_named_in_part(strict: Harness) -> None:
    await strict.seed(*(observation(f"o{n}", "Patient/anna") for n in range(8)))
    told = issue(await strict.delete("Patient/anna"))["diagnostics"]
    assert told.count("Observation/") == 5
    assert "others" in told


async def test_a_transaction_is_checked_at_its_end(strict: Harness) -> None:
    """Entries refer to each other in any order, and may delete what refers together with what is referred to."""
    there = bundle(
        ("PUT", "Observation/o", observation("o", "Patient/new")), ("PUT", "Patient/new", patient("new"))
    )  # fmt: skip
    assert (await strict.send("POST", "", "admin", json_=there)).status_code == 200
    gone = bundle(("DELETE", "Patient/new", None), ("DELETE", "Observation/o", None))
    assert (await strict.send("POST", "", "admin", json_=gone)).status_code == 200
    dangling = bundle(
        ("PUT", "Patient/x", patient("x")), ("PUT", "Observation/o", observation("o", "Patient/nobody"))
    )  # fmt: skip
    refused = await strict.send("POST", "", "admin", json_=dangling)
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Bundle.entry[1].resource.Observation.subject.reference"]
    assert (await strict.get("Patient/x", "admin")).status_code == 404
    await strict.seed(observation("o", "Patient/anna"))
    torn = bundle(("DELETE", "Patient/anna", None), ("PUT", "Patient/x", patient("x")))
    assert (await strict.send("POST", "", "admin", json_=torn)).status_code == 409


async def test_a_batch_checks_each_entry(strict: Harness) -> None:
    sent = bundle(
        ("PUT", "Observation/a", observation("a", "Patient/anna")),
        ("PUT", "Observation/b", observation("b", "Patient/nobody")),
        type_="batch",
    )
    answer = await strict.send("POST", "", "admin", json_=sent)
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "422"]


@pytest.mark.requirement("R-6.2")
async def test_nobody_learns_what_is_out_of_their_sight(strict: Harness) -> None:
    """A reference to another patient is refused like one to nobody; who refers is named to those who see them."""
    await strict.seed(patient("ben"))
    answers = []
    for name in ("ben", "nobody"):
        form = {"resourceType": "QuestionnaireResponse", "status": "completed",
                "subject": {"reference": "Patient/anna"}, "source": {"reference": f"Patient/{name}"}}  # fmt: skip
        answers.append(await strict.create(form, "anna"))
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()
    await strict.seed({"resourceType": "Group", "id": "secret", "type": "person", "actual": True,
                       "member": [{"entity": {"reference": "Practitioner/dr"}}]},
                      {"resourceType": "Task", "id": "t", "status": "draft", "intent": "plan"},
                      {"resourceType": "Group", "id": "g", "type": "person", "actual": True,
                       "characteristic": [{"code": {"text": "x"}, "exclude": False,
                                           "valueReference": {"reference": "Task/t"}}]})  # fmt: skip
    refused = await strict.delete("Task/t", "dr-lee")
    assert refused.status_code == 409
    assert "Group" not in refused.text


async def test_lenient_is_the_default(harness: Harness) -> None:
    await harness.seed(observation("o", "Patient/nobody"), patient("anna"), observation("p", "Patient/anna"))
    assert (await harness.delete("Patient/anna")).status_code == 204
    statement = (await harness.get("metadata")).json()["rest"][0]
    assert all("enforced" not in each["referencePolicy"] for each in statement["resource"])


async def test_the_statement_says_that_it_is_enforced(strict: Harness) -> None:
    statement = (await strict.get("metadata")).json()["rest"][0]
    assert all("enforced" in each["referencePolicy"] for each in statement["resource"])


async def test_every_reference_is_no_include_of_its_own(strict: Harness) -> None:
    """The index of all references serves deletions alone."""
    link = {"url": "http://example.org/link", "valueReference": {"reference": "Practitioner/dr"}}
    await strict.seed(observation("o", "Patient/anna", extension=[link]))
    answer = await strict.get("Observation?_include=*", "admin")
    assert ids(answer, "include") == ["anna"]
    assert (await strict.get("Observation?_refers=Patient/anna", "admin")).status_code == 400


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="strict or lenient"):
        from_environment({"FHIR_SERVER_REFERENTIAL_INTEGRITY": "maybe"})
