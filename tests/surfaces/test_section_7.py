"""Every cell of the §7 table × every interaction of the table of interactions, allowed and refused.

`tests/data/section-7.md` is the table of the requirements, word for word. What its words let a surface do is written
here once (`MEANS`); the tests are made of both, and of the policy's own data, so that a cell, a rule or a new
interaction that disagrees fails.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.interactions.interaction import Interaction
from fhir_server.rest.table import TABLE
from fhir_server.store.protocol import Unit
from profiles.definitions import load
from smart_auth import clients, operator
from smart_auth.surfaces.policy import POLICY, Rule
from tests.harness import (
    CALLERS,
    DAY,
    MINUTE,
    Harness,
    appointment,
    cared_for,
    practitioner,
    proposal,
    schedule,
    service,
    to_status,
)

TEXT = (Path(__file__).parent.parent / "data" / "section-7.md").read_text(encoding="utf-8")
SURFACES = ("Website Builder", "Patient Portal", "Provider Portal")


@dataclass(frozen=True)
class Means:
    """The letters that a cell's words allow; of their interactions, `but` are refused all the same."""

    letters: str
    but: frozenset[str] = frozenset()


# The words of a cell -> what they let a surface do, with what §7's write constraints and R-7.19 to R-10.4 add.
# Updates of patients are by PATCH where only some elements are theirs; nobody deletes an appointment.
_PART = frozenset({"update", "$meta-add", "$meta-delete"})
MEANS: dict[tuple[str, str], Means] = {
    ("booking proposals", "create; read those it submitted"): Means("crs"),
    ("booking proposals", "read own"): Means("crs"),  # a signed-in patient proposes
    ("booking proposals", "read; confirm, reject"): Means("crus"),
    ("appointments", "availability only, never the appointment"): Means(""),
    ("appointments", "read own"): Means("rus", _PART - {"update"}),  # cancels
    ("appointments", "read, manage"): Means("crus"),
    ("patient identity", "none (public); the provisional one it created, scoped"): Means("r"),
    ("patient identity", "read own"): Means("rus", _PART),  # contact details
    ("patient identity", "patients under care"): Means("rs"),
    ("clinical records", "none"): Means(""),
    ("clinical records", "read own, limited"): Means("rs"),
    ("clinical records", "read, write"): Means("cruds"),
    ("provider availability", "read public part"): Means("rs"),
    ("provider availability", "read, write"): Means("cruds"),
    ("clinic configuration", "read public part"): Means("rs"),
    ("clinic configuration", "read patient part"): Means("rs"),
    ("clinic configuration", "read provider part"): Means("rs"),
}
CALLER = {"Website Builder": "website", "Patient Portal": "anna", "Provider Portal": "dr-lee"}
TYPES = {
    "booking proposals": ("Appointment",), "appointments": ("Appointment",), "patient identity": ("Patient",),
    "clinical records": ("Observation", "Condition"), "provider availability": ("Slot", "Schedule"),
    "clinic configuration": ("Organization", "Location", "HealthcareService", "PractitionerRole"),
}  # fmt: skip
SCOPES = {"website": "system/*.cruds", "anna": "patient/*.cruds", "dr-lee": "user/*.cruds"}


def cells() -> dict[str, tuple[str, str, str]]:
    """Id -> (data, surface, words), numbered row by row."""
    rows = [[part.strip() for part in line.strip("|\n").split("|")] for line in TEXT.splitlines()]
    assert tuple(rows[0][1:]) == SURFACES
    found = [(row[0], surface, words) for row in rows[2:] for surface, words in zip(SURFACES, row[1:], strict=True)]
    return {f"R-7.{number}": cell for number, cell in enumerate(found, 1)}


CELLS = cells()
ROWS = [row for row in TABLE if row.path.startswith("{type}") and row.letter]


def test_the_table_has_eighteen_cells_and_each_has_a_meaning() -> None:
    assert list(CELLS) == [f"R-7.{n}" for n in range(1, 19)]
    assert {(data, words) for data, _, words in CELLS.values()} == MEANS.keys()


def _letters(who: str, type_: str) -> str:
    found = {letter for rule in POLICY if who in rule.who and _names(rule, type_) for letter in rule.letters}
    return "".join(letter for letter in "cruds" if letter in found)


def _names(rule: Rule, type_: str) -> bool:
    return type_ in rule.types or ("*" in rule.types and type_ not in rule.but)


@pytest.mark.requirement(
    "R-7.1", "R-7.2", "R-7.3", "R-7.4", "R-7.5", "R-7.6", "R-7.7", "R-7.8", "R-7.9", "R-7.10", "R-7.11", "R-7.12",
    "R-7.13", "R-7.14", "R-7.15", "R-7.16", "R-7.17", "R-7.18",
)  # fmt: skip
@pytest.mark.parametrize("cell", CELLS)
def test_the_policy_says_what_the_cell_says(cell: str) -> None:
    """Letter by letter, over all types of the cell's data. Appointments share a type with proposals: they add up."""
    data, surface, words = CELLS[cell]
    who = {"Website Builder": "website", "Patient Portal": "patient", "Provider Portal": "practitioner"}[surface]
    allowed = set(MEANS[data, words].letters)
    if "Appointment" in TYPES[data]:
        column = [MEANS[d, w].letters for d, s, w in CELLS.values() if s == surface and "Appointment" in TYPES[d]]
        allowed = {letter for letters in column for letter in letters}
    for type_ in TYPES[data]:
        assert set(_letters(who, type_)) == allowed, type_


def test_whoever_has_no_cell_of_clinical_records_has_none_of_their_types() -> None:
    """Of all types that there are: the website and the front desk touch nothing but what is named here."""
    assert {type_ for type_ in load().resource_types if _letters("website", type_)} == {
        "Appointment", "Patient", "Slot", "Schedule", "Organization", "Location", "HealthcareService", "Practitioner",
        "PractitionerRole", "AuditEvent",
    }  # fmt: skip
    assert _letters("website", "AuditEvent") == "c"


# Over HTTP


@pytest.fixture
async def world(harness: Harness) -> Harness:
    """One resource of each data category that each of the three callers may see, if anybody may."""
    await harness.seed(
        practitioner("dr-lee"),
        cared_for("anna", "dr-lee"),
        schedule("lee", "Practitioner/dr-lee"),
        harness.slot("s"), harness.slot("t", 3 * DAY), harness.slot("u", 4 * DAY), harness.slot("free", 5 * DAY),
        {"resourceType": "Observation", "id": "observation", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/anna"}},
        {"resourceType": "Condition", "id": "condition", "subject": {"reference": "Patient/anna"}},
        {"resourceType": "Organization", "id": "organization", "name": "x"},
        {"resourceType": "Location", "id": "location", "name": "x"},
        {"resourceType": "PractitionerRole", "id": "practitionerrole", "active": True},
        service("healthcareservice"),
    )  # fmt: skip
    return harness


def _times(world: Harness, days: int) -> dict[str, Any]:
    return {"start": world.at(days * DAY), "end": world.at(days * DAY + 30 * MINUTE)}


def _mine(slot: str) -> dict[str, Any]:
    wanted: dict[str, Any] = proposal(slot) | {
        "participant": [{"actor": {"reference": "Patient/anna"}, "status": "accepted"}]
    }
    del wanted["contained"]
    return wanted


async def _target(world: Harness, data: str, type_: str, caller: str) -> str:
    """The id of a resource of the category that is this caller's, as far as any is."""
    match data:
        case "booking proposals":
            made = await (world.create(proposal("s"), "website") if caller == "website" else
                          world.create(_mine("s"), "anna"))  # fmt: skip
        case "appointments":
            whole = appointment("", "booked", "anna", "t", **_times(world, 3))
            del whole["id"]
            made = await world.create(whole, "sam")
        case "patient identity" if caller == "website":
            made = await world.create(proposal("s"), "website")
            stored = await world.stored(f"Appointment/{made.json()['id']}")
            actors = [p["actor"]["reference"] for p in stored["participant"]]
            return next(actor.partition("/")[2] for actor in actors if actor.startswith("Patient/"))
        case "patient identity":
            return "anna"
        case "provider availability":
            return "free" if type_ == "Slot" else "lee"
        case _:
            return type_.lower()
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _new(world: Harness, data: str, type_: str, caller: str) -> dict[str, Any]:
    """A resource that belongs to the category, to be created."""
    match data:
        case "booking proposals":
            return _mine("u") if caller == "anna" else proposal("u")
        case "appointments":
            whole = appointment("", "booked", "anna", "u", **_times(world, 4))
            del whole["id"]
            return whole
        case "patient identity":
            return {"resourceType": "Patient", "name": [{"family": "New"}]}
        case "provider availability" if type_ == "Slot":
            return world.slot("", 9 * DAY) | {"id": "new"}
        case "provider availability":
            return schedule("new", "Practitioner/dr-lee")
        case "clinical records":
            more = {"status": "final", "code": {"text": "y"}} if type_ == "Observation" else {}
            return {"resourceType": type_, "subject": {"reference": "Patient/anna"}, **more}
    return {"resourceType": type_, "name": "new"} if type_ != "PractitionerRole" else {"resourceType": type_}


def _change(data: str, type_: str, caller: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A change within the category that the caller would make if allowed: as JSON Patch, and as members."""
    if type_ == "Appointment":
        status = "cancelled" if data == "appointments" or caller != "dr-lee" else "booked"
        more = {"cancelationReason": {"text": "not possible"}} if status == "cancelled" else {}
        return to_status(status), {"status": status, **more}
    if type_ == "Patient":
        value = [{"system": "phone", "value": "1"}]
        return [{"op": "add", "path": "/telecom", "value": value}], {"telecom": value}
    value = {"Observation": {"issued": "2020-01-01T00:00:00Z"}, "Condition": {"recordedDate": "2020"}}.get(
        type_, {"language": "en"}
    )
    return [{"op": "add", "path": f"/{k}", "value": v} for k, v in value.items()], value


async def _token(world: Harness, caller: str) -> str:
    """A token with every scope of the caller's level, so that nothing but the cell decides."""
    client, _, user = CALLERS[caller]
    if caller == "website":

        async def widen(unit: Unit) -> None:
            registered = await clients.load(unit, client)
            assert registered is not None
            await clients.save(unit, replace(registered, scopes=(SCOPES[caller],)))

        await world.run(widen, write=True)
    wanted = operator.Wanted(client, SCOPES[caller], user, lifetime_in_seconds=31_536_000)
    return await operator.mint(world.parts.services, "demo", wanted)


async def _do(world: Harness, row: Interaction, data: str, type_: str, id_: str, caller: str) -> Any:
    """The interaction of the row on the category's resource, by the caller with every scope of its level."""
    token = await _token(world, caller)
    operations, members = _change(data, type_, caller)
    path = row.path.format(type=type_, id=id_, version="1", other="*")
    whole = await world.stored(f"{type_}/{id_}")
    headers: dict[str, str] = {}
    body: Any = None
    match row.body:
        case "resource" if row.name == "create":
            body = _new(world, data, type_, caller)
        case "resource":
            body = whole | members
        case "patch":
            body, headers = operations, {"Content-Type": "application/json-patch+json"}
        case "parameters":
            meta = {"tag": [{"system": "urn:x", "code": "x"}]}
            body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}
        case "any":
            body = whole
        case "form":
            sent = {"Content-Type": "application/x-www-form-urlencoded"}
            return await world.send(row.method, path, token, content=f"_id={id_}", headers=sent)
    if row.name in ("search-type", "update", "patch", "delete") and "{id}" not in row.path:
        path += f"?_id={id_}"
    return await world.send(row.method, path, token, json_=body, headers=headers)


def _is_allowed(row: Interaction, means: Means) -> bool:
    """What the words say of an interaction. A condition searches before it writes, so it asks for both letters."""
    names = {row.name, "$" + row.path.rpartition("$")[2]}
    if names & means.but or row.letter not in means.letters:
        return False
    is_conditional = row.name in ("update", "patch", "delete") and "{id}" not in row.path
    return not is_conditional or "s" in means.letters


GENERATED = [
    pytest.param(cell, type_, row, id=f"{cell}-{type_}-{row.method} {row.path}")
    for cell, (data, _, _) in CELLS.items()
    for type_ in TYPES[data][:1]  # the policy's letters are the same for the others, as is shown above
    for row in ROWS
]


@pytest.mark.requirement(
    "R-7.1", "R-7.2", "R-7.3", "R-7.4", "R-7.5", "R-7.6", "R-7.7", "R-7.8", "R-7.9", "R-7.10", "R-7.11", "R-7.12",
    "R-7.13", "R-7.14", "R-7.15", "R-7.16", "R-7.17", "R-7.18",
)  # fmt: skip
@pytest.mark.parametrize(("cell", "type_", "row"), GENERATED)
async def test_cell(world: Harness, cell: str, type_: str, row: Interaction) -> None:
    """What the cell allows is done, what it does not is refused and changes nothing."""
    data, surface, words = CELLS[cell]
    caller = CALLER[surface]
    id_ = await _target(world, data, type_, caller)
    before = await world.versions()
    answer = await _do(world, row, data, type_, id_, caller)
    if _is_allowed(row, MEANS[data, words]):
        assert answer.status_code in (200, 201, 204), answer.text
        if row.name in ("search-type", "history-type", "history-instance", "read", "vread"):
            assert f'"id":"{id_}"' in answer.text.replace(" ", "")
    else:
        # A search that finds nothing, taking away what is not there, and a look at the caller's own body alone.
        nothing_done = row.name.endswith("-type") or row.path.endswith(("$meta-delete", "$validate"))
        hidden = nothing_done and answer.status_code == 200
        assert answer.status_code in (403, 404) or hidden, answer.text
        assert f'"id":"{id_}"' not in answer.text.replace(" ", "") or row.path.endswith("$meta-delete")
        assert await world.versions() == before
