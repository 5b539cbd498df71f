"""A clinic's own search parameters: in use from their write on, and $reindex (FHIR R4 searchparameter.html)."""

from typing import Any

import pytest

from fhir_server.store.protocol import Unit
from tests.harness import Harness, ids, issue, patient

EYES = "http://example.org/StructureDefinition/eye-colour"


def parameter(id_: str = "eyes", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter", "id": id_, "url": f"http://example.org/SearchParameter/{id_}",
        "name": id_, "status": "active", "description": id_, "code": "eye-colour", "base": ["Patient"],
        "type": "token", "expression": f"Patient.extension('{EYES}').value", **more,
    }  # fmt: skip


def coloured(id_: str, colour: str) -> dict[str, Any]:
    return patient(id_, extension=[{"url": EYES, "valueCode": colour}])


async def declared(harness: Harness, tenant: str = "demo") -> dict[str, str]:
    """Code -> definition of Patient's parameters in the CapabilityStatement."""
    statement = (await harness.get("metadata", tenant=tenant)).json()["rest"][0]
    found = next(each for each in statement["resource"] if each["type"] == "Patient")
    return {each["name"]: each.get("definition") for each in found["searchParam"]}


async def test_a_parameter_is_indexed_from_its_creation_on(harness: Harness) -> None:
    """By POST and PUT; seen in the statement; chained, included in modifiers and sort like R4's own."""
    await harness.seed(coloured("before", "blue"))
    made = await harness.create(parameter())
    assert made.status_code == 201, made.text
    await harness.seed(coloured("after", "blue"), coloured("brown", "brown"))
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == ["after"]
    assert ids(await harness.get("Patient?eye-colour:not=blue&_sort=eye-colour", "admin")) == ["brown", "before"]
    assert (await declared(harness))["eye-colour"] == "http://example.org/SearchParameter/eyes"
    encounter = {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
                 "subject": {"reference": "Patient/brown"}}  # fmt: skip
    await harness.seed(encounter)
    assert ids(await harness.get("Encounter?subject:Patient.eye-colour=brown", "admin")) == ["e"]


async def test_reindex_finds_what_was_stored_before(harness: Harness) -> None:
    """No new versions; audited as one operation."""
    await harness.seed(coloured("before", "blue"), parameter())
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == []
    versions = await harness.versions()
    answer = await harness.send("POST", "$reindex", "admin", json_={"resourceType": "Parameters"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameter"] == [{"name": "resources", "valueInteger": 2}]
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == ["before"]
    assert ids(await harness.get("Patient?family=before", "admin")) == ["before"]
    assert await harness.versions() == versions
    [event] = [each for each in await harness.events() if "$reindex" in each.query]
    assert (event.subtype, event.action, event.outcome) == ("operation", "E", "0")


async def test_more_than_one_slice_is_reindexed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.interactions.operations.reindex.SLICE", 2)
    await harness.seed(*(coloured(f"p{n}", "blue") for n in range(5)), parameter())
    body = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "Patient"}]}
    answer = await harness.send("POST", "$reindex", "admin", json_=body)
    assert answer.json()["parameter"][0]["valueInteger"] == 5
    assert len(ids(await harness.get("Patient?eye-colour=blue", "admin"))) == 5


@pytest.mark.parametrize("caller", ["anonymous", "website", "anna", "dr-lee", "sam", "olga", "auditor", "backend"])
async def test_only_administrators_define_and_reindex(harness: Harness, caller: str) -> None:
    assert (await harness.put(parameter(), caller)).status_code == 403
    assert (await harness.create(parameter(), caller)).status_code == 403
    answer = await harness.send("POST", "$reindex", caller, json_={"resourceType": "Parameters"})
    assert answer.status_code == 403
    assert "eye-colour" not in await declared(harness)


async def test_a_parameter_belongs_to_its_tenant(harness: Harness) -> None:
    """R-6.1: another clinic neither has it nor sees it."""
    await harness.seed(parameter())
    assert "eye-colour" not in await declared(harness, "other")
    refused = await harness.get("Patient?eye-colour=blue", "admin", tenant="other")
    assert (refused.status_code, issue(refused)["expression"]) == (400, ["eye-colour"])


async def test_deletion_takes_it_out_again(harness: Harness) -> None:
    """So does a status other than active; and then its code is free, but not searched before $reindex."""
    await harness.seed(parameter(), coloured("a", "blue"))
    assert (await harness.delete("SearchParameter/eyes")).status_code == 204
    assert (await harness.get("Patient?eye-colour=blue", "admin")).status_code == 400
    assert "eye-colour" not in await declared(harness)
    other = parameter("other", expression="Patient.gender")
    assert (await harness.put(other)).status_code == 201
    refused = await harness.get("Patient?eye-colour=blue", "admin")
    assert refused.status_code == 400
    assert "$reindex" in issue(refused)["diagnostics"]
    await harness.send("POST", "$reindex", "admin", json_={"resourceType": "Parameters"})
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == []
    assert (await harness.put(other | {"status": "retired"})).status_code == 200
    assert (await harness.get("Patient?eye-colour=blue", "admin")).status_code == 400


async def test_a_changed_expression_is_not_searched_before_reindex(harness: Harness) -> None:
    """The index may hold what the former expression found."""
    await harness.seed(parameter(), coloured("a", "male"), patient("b", gender="male"))
    assert (await harness.put(parameter(description="the same"))).status_code == 200
    assert ids(await harness.get("Patient?eye-colour=male", "admin")) == ["a"]
    await harness.seed(parameter(expression="Patient.gender"))
    assert (await harness.get("Patient?eye-colour=male", "admin")).status_code == 400
    await harness.send("POST", "$reindex", "admin", json_={"resourceType": "Parameters"})
    assert ids(await harness.get("Patient?eye-colour=male", "admin")) == ["b"]


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"code": "gender"}, "code"),
        ({"code": "_own"}, "code"),
        ({"code": "a:b"}, "code"),
        ({"base": ["Resource"]}, "base[0]"),
        ({"base": ["Patient", "Colour"]}, "base[1]"),
        ({"base": ["AuditEvent"]}, "base[0]"),
        ({"type": "special"}, "type"),
        ({"type": "date", "expression": "Patient.gender"}, "expression"),
        ({"type": "composite"}, "expression"),
        ({"expression": "Slot.comment", "type": "string"}, "expression"),
        ({"expression": "Patient.name.family.upper()", "type": "string"}, "expression"),
        ({"expression": "Patient.colour", "type": "string"}, "expression"),
        ({"expression": "Patient.birthDate[0]", "type": "date"}, "expression"),
        ({"expression": "(" * 500 + "Patient.gender" + ")" * 400}, "expression"),
        ({"expression": "(" * 300 + "Patient.gender" + ")" * 300}, "expression"),
        ({"expression": "Patient."}, "expression"),
        ({"expression": None}, "expression"),
        ({"target": ["Colour"]}, "target[0]"),
    ],
)
async def test_what_cannot_be_indexed_is_refused(harness: Harness, change: dict[str, Any], element: str) -> None:
    """422 that names the element, and nothing is stored."""
    wanted = {name: held for name, held in (parameter() | change).items() if held is not None}
    answer = await harness.put(wanted)
    assert answer.status_code == 422, answer.text
    assert issue(answer)["expression"] == [f"SearchParameter.{element}"]
    assert (await harness.get("SearchParameter/eyes", "admin")).status_code == 404
    assert (await harness.put(coloured("a", "blue"))).status_code == 201


async def test_twins_are_refused(harness: Harness) -> None:
    """One code and one URL in a clinic."""
    await harness.seed(parameter())
    assert issue(await harness.put(parameter("two")))["expression"] == ["SearchParameter.code"]
    url = {"url": "http://example.org/SearchParameter/eyes", "code": "other"}
    assert issue(await harness.put(parameter("two") | url))["expression"] == ["SearchParameter.url"]


async def test_drafts_and_the_standards_own_are_stored_without_effect(harness: Harness) -> None:
    await harness.seed(parameter(status="draft", code="gender"))
    url = "http://hl7.org/fhir/SearchParameter/individual-gender"
    await harness.seed(parameter("gender", url=url, code="gender", expression="Patient.active"))
    await harness.seed(patient("a", gender="male"))
    assert ids(await harness.get("Patient?gender=male", "admin")) == ["a"]


async def test_another_process_indexes_by_what_it_has_not_heard_of(harness: Harness) -> None:
    """The Unit reads what is in use: a parameter made by another worker counts from its commit on."""
    stale = await harness.parts.clinics.get("demo")
    await harness.seed(parameter())
    harness.parts.clinics._known["demo"] = (harness.clock.now, stale)  # as another process has it
    await harness.seed(coloured("a", "blue"))
    assert (await harness.get("Patient?eye-colour=blue", "admin")).status_code == 400
    harness.clock.advance(11_000_000)
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == ["a"]


async def test_a_transaction_indexes_by_its_own_parameter(harness: Harness) -> None:
    entries = [
        {"request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}, "resource": each}
        for each in (parameter(), coloured("a", "blue"))
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = await harness.send("POST", "", "admin", json_=bundle)
    assert answer.status_code == 200, answer.text
    assert ids(await harness.get("Patient?eye-colour=blue", "admin")) == ["a"]


async def test_a_custom_parameter_shows_no_hidden_element(harness: Harness) -> None:
    """R-7.13: who sees some elements searches by none but these."""
    await harness.seed(
        parameter(base=["Practitioner"], expression=f"Practitioner.extension('{EYES}').value", code="eyes"),
        {"resourceType": "Practitioner", "id": "x", "extension": [{"url": EYES, "valueCode": "blue"}]},
    )
    assert ids(await harness.get("Practitioner?eyes=blue", "admin")) == ["x"]
    assert (await harness.get("Practitioner?eyes=blue")).status_code == 403
    assert (await harness.get("Practitioner?_sort=eyes")).status_code == 403


async def test_reindex_of_an_unknown_type_or_in_a_transaction(harness: Harness) -> None:
    body: dict[str, Any] = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "Colour"}]}
    refused = await harness.send("POST", "$reindex", "admin", json_=body)
    assert (refused.status_code, issue(refused)["expression"]) == (400, ["Parameters.parameter[0]"])
    entry = {"request": {"method": "POST", "url": "$reindex"}, "resource": {"resourceType": "Parameters"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await harness.send("POST", "", "admin", json_=bundle)).status_code == 400


async def test_the_kept_form_is_empty_where_there_is_nothing(harness: Harness) -> None:
    """A clinic that had one and took it out again pays nothing more, once it is indexed anew."""
    await harness.seed(parameter())
    await harness.delete("SearchParameter/eyes")
    await harness.send("POST", "$reindex", "admin", json_={"resourceType": "Parameters"})

    async def kept(unit: Unit) -> bytes | None:
        return await unit.peek("setting", "search-parameters")

    assert await harness.run(kept) == b""


async def test_a_code_that_comes_to_mean_a_hidden_element_shows_it_to_nobody(harness: Harness) -> None:
    """What a caller may search by is asked of the definition of now, whatever was found allowed before."""
    seen = parameter("x", base=["Practitioner"], code="x", type="string", expression="Practitioner.name.family")
    await harness.seed({"resourceType": "Practitioner", "id": "dr", "telecom": [{"value": "1"}]}, seen)
    for path in ("Practitioner?_sort=x", "Practitioner?x=a"):
        assert (await harness.get(path)).status_code == 200
    await harness.seed(seen | {"expression": "Practitioner.telecom.value"})
    await harness.send("POST", "$reindex", "admin", json_={"resourceType": "Parameters"})
    for path in ("Practitioner?_sort=x", "Practitioner?x=a"):
        assert (await harness.get(path)).status_code == 403
