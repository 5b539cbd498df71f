"""The CapabilityStatement claims what the table has and what works, nothing else (FHIR R4 http.html#capabilities)."""

import json
from pathlib import Path

import pytest

from fhir_server.rest.table import OWN_ROWS, TABLE
from tests.harness import ORIGIN, Harness, make_harness, patient

VALUES = {"date": "2026", "number": "1", "quantity": "1", "reference": "Patient/1", "special": "52.5|13.4",
          "_filter": "_id pr true", "_contained": "both", "_containedType": "contained"}  # fmt: skip


async def test_the_statement_is_sound_and_tells_the_clinic(harness: Harness) -> None:
    answer = await harness.get("metadata")
    assert answer.status_code == 200
    statement = answer.json()
    assert harness.parts.server.structure.check(statement, expected_type="CapabilityStatement") == []
    assert (statement["fhirVersion"], statement["kind"], statement["status"]) == ("4.0.1", "instance", "active")
    assert statement["implementation"]["url"] == f"{ORIGIN}/demo/fhir"
    other = (await harness.get("metadata", tenant="other")).json()
    assert other["implementation"]["url"] == f"{ORIGIN}/other/fhir"
    assert json.dumps(other["rest"]).replace("/other/", "/demo/") == json.dumps(statement["rest"])


async def test_every_type_and_only_what_the_table_has(harness: Harness) -> None:
    statement = (await harness.get("metadata")).json()["rest"][0]
    found = {each["type"]: each for each in statement["resource"]}
    assert set(found) == set(harness.parts.server.definitions.resource_types)
    any_type = {row.name for row in TABLE if row.path.startswith("{type}")}
    for type_, each in found.items():
        own = {row.name for row in TABLE if row.path.partition("/")[0] == type_}
        claimed = {interaction["code"] for interaction in each["interaction"]}
        codes = {
            "read",
            "vread",
            "update",
            "patch",
            "delete",
            "history-instance",
            "history-type",
            "create",
            "search-type",
        }
        expected = own if type_ in OWN_ROWS else any_type | own
        assert claimed == expected & codes, type_
    system = {interaction["code"] for interaction in statement["interaction"]}
    assert system == {row.name for row in TABLE if row.name.endswith("-system")} | {"batch", "transaction"}


async def test_search_parameters_are_those_that_can_be_searched(harness: Harness) -> None:
    statement = (await harness.get("metadata")).json()["rest"][0]
    for each in statement["resource"]:
        if each["type"] in ("Slot", "Appointment", "Patient", "AuditEvent", "Location"):
            for parameter in each["searchParam"]:
                value = VALUES.get(parameter["name"]) or VALUES.get(parameter["type"], "x")
                answer = await harness.get(f"{each['type']}?{parameter['name']}={value}&_count=1", "root")
                assert answer.status_code in (200, 403), (each["type"], parameter["name"], answer.text)


async def test_includes_that_are_claimed_work(harness: Harness) -> None:
    statement = (await harness.get("metadata")).json()["rest"][0]
    appointment = next(each for each in statement["resource"] if each["type"] == "Appointment")
    for include in appointment["searchInclude"]:
        assert (await harness.get(f"Appointment?_include={include}", "admin")).status_code == 200


async def test_every_include_that_is_claimed_is_taken_and_no_canonical_is(harness: Harness) -> None:
    """Canonical URLs are not followed."""
    parser = (await harness.parts.clinics.get("demo")).parser
    statement = (await harness.get("metadata")).json()["rest"][0]
    for each in statement["resource"]:
        for name, claimed in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for include in each.get(claimed, ()):
                parser.parse(each["type"], [(name, include)], harness.clock())
                assert include != "QuestionnaireResponse:questionnaire"


async def test_the_log_claims_no_conditional_read(clinic: Harness) -> None:
    """What AuditEvent claims is what it does."""
    statement = (await clinic.get("metadata")).json()["rest"][0]
    log = next(each for each in statement["resource"] if each["type"] == "AuditEvent")
    assert not log["updateCreate"]
    entry = (await clinic.get("AuditEvent?_count=1", "auditor")).json()["entry"][0]["resource"]
    again = await clinic.get(f"AuditEvent/{entry['id']}", "auditor", headers={"If-None-Match": 'W/"1"'})
    assert (again.status_code == 304) == (log["conditionalRead"] != "not-supported")


async def test_the_statement_has_an_etag(harness: Harness) -> None:
    first = await harness.get("metadata")
    etag = first.headers["etag"]
    again = await harness.get("metadata", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert (await harness.get("metadata", headers={"If-None-Match": 'W/"x"'})).status_code == 200
    harness.clock.advance(10**12)
    assert (await harness.get("metadata")).content == first.content


async def test_the_statement_needs_no_login_and_is_audited(harness: Harness) -> None:
    """Issue 7: every interaction has its event."""
    assert (await harness.get("metadata")).status_code == 200
    event = (await harness.events())[-1]
    assert (event.subtype, event.action, event.outcome) == ("capabilities", "E", "0")


async def test_settings_show_in_the_statement(store_kind: str, tmp_path: Path) -> None:
    harness = await make_harness(store_kind, tmp_path, update_as_create=False)
    statement = (await harness.get("metadata")).json()["rest"][0]
    assert not any(each["updateCreate"] for each in statement["resource"])
    assert (await harness.put(patient("x"))).status_code == 405
    await harness.parts.store.close()


@pytest.mark.parametrize("path", ["metadata?mode=full", "metadata?_format=json", "metadata?_pretty=true"])
async def test_the_statement_in_other_words(harness: Harness, path: str) -> None:
    assert (await harness.get(path)).json()["resourceType"] == "CapabilityStatement"


async def test_terminology_capabilities(harness: Harness) -> None:
    """http.html#capabilities: mode=terminology; every system that it names is one that `:below` knows."""
    answer = await harness.get("metadata?mode=terminology")
    body = answer.json()
    assert harness.parts.server.structure.check(body, expected_type="TerminologyCapabilities") == []
    systems = [each["uri"] for each in body["codeSystem"]]
    assert len(systems) > 1_000
    for system in (systems[0], systems[-1]):
        found = await harness.get(f"Condition?code:below={system}|x", "admin")
        assert found.status_code == 200, found.text
    again = await harness.get("metadata?mode=terminology", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert answer.headers["etag"] != (await harness.get("metadata")).headers["etag"]
    assert (await harness.get("metadata?mode=colour")).status_code == 400
