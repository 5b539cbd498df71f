"""`rules apply` and `slots …`: what they do, refuse and record (R-5.1, R-7.15, R-10.2)."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fhir_server.booking import rules_file
from fhir_server.booking.clinic_rules import PARTS, of_service
from tests.cli.running import run
from tests.cli.test_cli_commands import assert_refused, events
from tests.harness import practitioner, schedule, service


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clinic `north` with a service and a schedule of somebody who is there in the morning."""
    tmp_path = tmp_path_factory.mktemp("north")
    folder = tmp_path / "data"
    role = {"resourceType": "PractitionerRole", "id": "lee", "practitioner": {"reference": "Practitioner/dr-lee"}}
    role["availableTime"] = [{"availableStartTime": "09:00:00", "availableEndTime": "11:00:00"}]
    resources = [
        practitioner("dr-lee"),
        {"resourceType": "Questionnaire", "id": "intake", "status": "active"},
        service("care", capacity=2, risk="high"),
        service("other"),
        role,
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/care"),
    ]
    (tmp_path / "clinic.ndjson").write_text("\n".join(map(json.dumps, resources)))
    for words in (("tenant", "create", "north"), ("import", "north", tmp_path / "clinic.ndjson")):
        done = run(*words, "--data", folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "data")


def _file(folder: Path, content: Any) -> Path:
    path = folder / "rules.json"
    path.write_text(json.dumps(content) if not isinstance(content, str) else content)
    return path


def test_the_schema_has_the_rules_that_there_are() -> None:
    """Each part of `booking-rules`, of its kind and range, and nothing else but forms and preparation."""
    found = dict(json.loads(rules_file.SCHEMA.read_text())["$defs"]["service"]["properties"])
    assert found.pop("intake-questionnaires")["type"] == "array"
    assert found.pop("preparation")["type"] == "string"
    kinds = {"boolean": {"type": "boolean"}, "code": {"enum": []}, "whole": {"type": "integer"}}
    for name, part in PARTS.items():
        more: dict[str, Any] = {"enum": list(part.codes)} if part.codes else {}
        if part.kind == "whole":
            more = {"minimum": part.least, "maximum": part.most}
        assert found.pop(name) == kinds[part.kind] | more
    assert not found


@pytest.mark.requirement("R-10.2", "R-10.7")
async def test_rules_apply_replaces_the_rules_and_is_audited(data: Path, tmp_path: Path) -> None:
    given = {"auto-confirm": True, "risk": "low", "intake-questionnaires": ["intake"], "preparation": "Sleep well."}
    path = _file(tmp_path, {"services": {"care": given}})
    checked = run("rules", "apply", "north", path, "--check", "--data", data)
    assert (checked.returncode, checked.stdout) == (0, f"{path} is sound.\n")
    for said in ("Changed 1 services; 0 had these rules already.", "Changed 0 services; 1 had these rules already."):
        done = run("rules", "apply", "north", path, "--data", data)
        assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr
    found = [event for event in await events(data) if "rules apply" in event.description]
    assert len(found) == 2
    changes = [event for event in await events(data) if event.entity.startswith("HealthcareService/care/_history/")]
    assert [event.entity[-1] for event in changes] == ["1", "2"]
    assert changes[1].request_id == found[0].request_id


def test_rules_of_a_file_are_those_of_the_service() -> None:
    before = service("care", capacity=2, risk="high") | {"meta": {"versionId": "1"}}
    after = rules_file.with_rules(before, {"capacity": 3, "auto-confirm": True})
    assert (of_service(after).capacity, of_service(after).auto_confirm, of_service(after).risk) == (3, True, "normal")
    assert rules_file.with_rules(after, {}) == {name: part for name, part in before.items() if name != "extension"}


@pytest.mark.parametrize(
    ("content", "because"),
    [
        ("{", "is no JSON"),
        ([], "the file: [] is not of type 'object'"),
        ({}, "'services' is a required property"),
        ({"services": {}}, "services"),
        ({"services": {"care": {"risk": "none"}}}, "services.care.risk: 'none' is not one of"),
        ({"services": {"care": {"capacity": 0}}}, "services.care.capacity: 0 is less than the minimum of 1"),
        ({"services": {"care": {"capacity": "2"}}}, "services.care.capacity"),
        ({"services": {"care": {"colour": "red"}}}, "'colour' was unexpected"),
        ({"services": {"a/b": {}}}, "a/b"),
        ({"services": {"nothing": {}}}, "There is no HealthcareService/nothing"),
        ({"services": {"other": {"capacity": 2}, "zzz": {}}}, "There is no HealthcareService/zzz"),
        ({"services": {"care": {"intake-questionnaires": ["nothing"]}}}, "Questionnaire of this clinic"),
    ],
)
async def test_rules_apply_refuses_and_changes_nothing(data: Path, tmp_path: Path, content: Any, because: str) -> None:
    assert_refused("rules", "apply", "north", _file(tmp_path, content), "--data", data, because=because)
    assert not [event for event in await events(data) if "rules apply" in event.description]
    assert len([event for event in await events(data) if event.entity.startswith("HealthcareService/")]) == 2


def test_rules_apply_needs_a_file_that_is_there(data: Path, tmp_path: Path) -> None:
    assert_refused("rules", "apply", "north", tmp_path / "no.json", "--data", data, because="cannot be read")


@pytest.mark.requirement("R-7.15", "R-10.7")
async def test_slots_are_generated_closed_and_reopened(data: Path) -> None:
    where = ("north", "lee", "--data", data)
    days, times = ("--from", "2027-03-01", "--to", "2027-03-02"), ("--from", "2027-03-01", "--to", "2027-03-02")
    said = []
    for name, range_ in (("generate", days), ("generate", days), ("close", times), ("close", times), ("reopen", times)):
        done = run("slots", name, *where, *range_)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert said == [
        "Made 8 slots; 0 were there, 0 would have overlapped others.",
        "Made 0 slots; 8 were there, 0 would have overlapped others.",
        "Closed 4 slots; 0 are taken and stay.",
        "Closed 0 slots; 0 are taken and stay.",
        "Reopened 4 slots.",
    ]
    found = await events(data)
    assert len([event for event in found if event.description.startswith("slots ")]) == 5
    changed = [event for event in found if event.entity.startswith("Slot/")]
    assert len(changed) == 8 + 4 + 4
    assert {event.client for event in changed} == {"command-line"}


@pytest.mark.parametrize(
    ("words", "because"),
    [
        (("generate", "north", "nothing", "--from", "2027-03-01", "--to", "2027-03-02"), "no such schedule"),
        (("generate", "north", "lee", "--from", "2027-03-02", "--to", "2027-03-01"), "from the first to the last"),
        (("generate", "north", "lee", "--from", "soon", "--to", "2027-03-01"), "whole days"),
        (("close", "north", "nothing", "--from", "2027-03-01", "--to", "2027-03-02"), "no Schedule/nothing"),
        (("close", "north", "lee", "--from", "2027-03-02", "--to", "2027-03-01"), "after it starts"),
        (("reopen", "north", "lee", "--from", "soon", "--to", "later"), "are times such as"),
        (("close", "south", "lee", "--from", "2027-03-01", "--to", "2027-03-02"), ""),
    ],
)
def test_slots_refuses_what_is_not_there(data: Path, words: tuple[str, ...], because: str) -> None:
    assert_refused("slots", *words, "--data", data, because=because)
