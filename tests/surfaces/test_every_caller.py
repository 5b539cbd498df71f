"""Every interaction of the table × every kind of caller: status, audit, and nothing that tells what is there.

No token, an expired one, another clinic's, one for another audience, a scope too weak, another patient, a practitioner
without care, and a good one. What is out of sight and what is absent have one body and one series of store calls.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc import jwt

from fhir_server.interactions.interaction import Interaction
from fhir_server.rest.table import TABLE
from smart_auth import operator
from smart_auth.tokens import unverified_claims
from tests.harness import CALLERS, DAY, MINUTE, Harness, appointment, cared_for, issue, practitioner, schedule
from tests.surfaces.recording import RecordingStore

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _name(row: Interaction) -> str:
    return f"{row.method} {row.path or '/'} {row.name}"


ROWS = [pytest.param(row, id=_name(row)) for row in TABLE]
# Rows on one resource, or on what a criterion finds, of any type or of Patient; operations by staff have other answers.
SIGHT = [
    pytest.param(row, id=_name(row))
    for row in TABLE
    if row.path.startswith(("{type}", "Patient/{id}/$everything")) and row.name not in ("create", "history-type")
    and not row.path.endswith(("$validate", "$explain"))
]  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A request without its caller."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def observation(id_: str, patient: str = "anna") -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"}}  # fmt: skip


def sent(row: Interaction, type_: str, id_: str) -> Sent:
    """The row's request on a resource; its body is sound and does not say whether there is one."""
    path = row.path.format(type=type_, id=id_, version="1", other="Observation")
    if row.name == "search-compartment":
        path = row.path.format(type="Patient", id="anna", other="Observation")
    if row.method != "POST" and row.name in ("search-type", "update", "patch", "delete") and "{id}" not in row.path:
        path += f"?_id={id_}"
    match row.body:
        case "resource":
            return Sent(row.method, path, {"resourceType": path.partition("/")[0].partition("?")[0], "id": id_}
                        | ({k: v for k, v in observation(id_).items() if k != "resourceType"}
                           if path.startswith("Observation") else {}))  # fmt: skip
        case "patch":
            return Sent(row.method, path, [{"op": "add", "path": "/language", "value": "en"}], JSON_PATCH)
        case "form":
            return Sent(row.method, path, f"_id={id_}", FORM)
        case "parameters":
            meta = {"tag": [{"system": "urn:x", "code": "x"}]}
            part = [{"name": "meta", "valueMeta": meta}]
            return Sent(row.method, path, {"resourceType": "Parameters", "parameter": part})
        case "bundle":
            entry = {"request": {"method": "GET", "url": f"{type_}/{id_}"}}
            return Sent(row.method, path, {"resourceType": "Bundle", "type": row.name, "entry": [entry]})
        case "any":
            return Sent(row.method, path, observation(id_))
    return Sent(row.method, path)


async def send(world: Harness, what: Sent, caller: str) -> httpx.Response:
    headers = dict(what.headers)
    if isinstance(what.body, str):
        return await world.send(what.method, what.path, caller, content=what.body, headers=headers)
    return await world.send(what.method, what.path, caller, json_=what.body, headers=headers)


@pytest.fixture
async def world(harness: Harness) -> Harness:
    """anna is under dr-lee's care alone, ben under dr-kim's."""
    await harness.seed(
        *map(practitioner, ("dr-lee", "dr-kim")),
        cared_for("anna", "dr-lee"), cared_for("ben", "dr-kim"),
        schedule("lee", "Practitioner/dr-lee"), harness.slot("s"),
        observation("obs-1"), observation("bens", "ben"),
        {"resourceType": "Encounter", "id": "visit", "status": "planned", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/anna"}},
    )  # fmt: skip
    visit = appointment("v", "booked", "anna", start=harness.at(DAY), end=harness.at(DAY + 30 * MINUTE))
    assert (await harness.create(visit, "sam")).status_code == 201
    return harness


# Tokens that are not good here: 401 for every row, one event, and the same words.


async def bad_token(world: Harness, kind: str) -> str:
    client, scopes, user = CALLERS["root"]
    match kind:
        case "expired":
            wanted = operator.Wanted(client, scopes, user, lifetime_in_seconds=60)
            token = await operator.mint(world.parts.services, "demo", wanted)
            world.clock.advance(61_000_000)
            return token
        case "another clinic's":
            return await world.token("root", tenant="other")
        case "another audience's":
            token = await world.token("root")
            key = await world.parts.services.signing_key("demo")
            header = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid}
            claims = unverified_claims(token) | {"aud": "https://elsewhere.example/fhir"}
            return str(jwt.encode(header, claims, key.key, algorithms=[key.algorithm]))
    return "not.a.token"


@pytest.mark.requirement("R-6.3", "R-6.5", "R-6.1")
@pytest.mark.parametrize("kind", ["expired", "another clinic's", "another audience's", "malformed"])
async def test_a_token_that_is_not_good_does_nothing(world: Harness, kind: str) -> None:
    """Over all rows, on a resource that is there and on one that is not."""
    token = await bad_token(world, kind)
    versions = await world.versions()
    for row in TABLE:
        bodies = set()
        for id_ in ("obs-1", "obs-2"):
            world.clock.advance(61_000_000)  # many in a minute are counted together
            await world.parts.pipeline.sum_up()
            before = len(await world.events())
            answer = await send(world, sent(row, "Observation", id_), token)
            assert answer.status_code == 401, (_name(row), answer.text)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="')
            bodies.add(answer.text)
            (event,) = (await world.events())[before:]
            assert (event.outcome, event.role, event.user) == ("4", "public", ""), _name(row)
            assert event.patients == _asked_for(row, id_), _name(row)
            assert event.rule == "R-6.3 no good token"
        assert len(bodies) == 1
    assert await world.versions() == versions


# Who may not at all: 403, and nothing is looked at.

# What anybody may ask, or an answer of its own for what the request lacks.
PUBLIC = frozenset({"metadata", "", "_search", "_history", "{type}/{id}/{other}", "{type}/{id}/{other}/_search",
                    "Appointment/$find"})  # fmt: skip


@pytest.mark.requirement("R-6.2", "R-6.3", "R-6.5")
@pytest.mark.parametrize("kind", ["no token", "weak scope"])
@pytest.mark.parametrize("row", ROWS)
async def test_without_a_grant_nothing_is_done(world: Harness, kind: str, row: Interaction) -> None:
    """Without a token, and with a scope for something else; on what is there and what is not alike."""
    caller = "anonymous" if kind == "no token" else await world.token("dr-lee", scope="user/Endpoint.rs")
    versions = await world.versions()
    found: list[tuple[int, str]] = []
    for id_ in ("obs-1", "obs-2"):
        before = len(await world.events())
        answer = await send(world, sent(row, "Observation", id_), caller)
        assert "Patient/anna" not in answer.text or row.path == "$convert"  # gives back what was sent
        assert "v" not in [entry.get("resource", {}).get("id") for entry in _entries(answer)]
        found.append((answer.status_code, _normal(answer, id_)))
        if row.path in PUBLIC or (row.path == "$convert" and kind == "weak scope"):
            continue
        is_open = row.path in ("Appointment/$hold", "Appointment/$book") and kind == "no token"
        is_anothers = row.path.startswith("_async/")  # whose requests there are is nobody else's to know
        assert answer.status_code == (400 if is_open else 404 if is_anothers else 403), answer.text
        assert issue(answer)
        (event,) = (await world.events())[before:]
        assert (event.outcome, event.patients) == ("4", _asked_for(row, id_)), event
        assert not row.letter or is_open or event.rule == "R-6.3 nothing grants it", event
    assert found[0] == found[1]
    assert await world.versions() == versions


def _asked_for(row: Interaction, id_: str) -> tuple[str, ...]:
    """The patient whom a refused request names by its path, whether there is one or not."""
    if row.name == "search-compartment":
        return ("anna",)
    return (id_,) if row.path.startswith("Patient/{id}") else ()


def _entries(answer: httpx.Response) -> list[dict[str, Any]]:
    return list(answer.json().get("entry", [])) if answer.text.startswith("{") else []


# Out of sight is as absent: another patient's, or of a patient who is not under care.


def _normal(answer: httpx.Response, id_: str) -> str:
    """The body without the id that was asked for, and without what every answer has of its own."""
    text = answer.text.replace(id_, "X")
    if not text.startswith("{"):
        return text
    body = json.loads(text)
    for name in ("id", "meta", "timestamp"):
        body.pop(name, None)
    return re.sub(r'"lastModified": "[^"]*"', "", json.dumps(body))


@pytest.mark.requirement("R-6.2", "R-6.3", "R-6.5")
@pytest.mark.parametrize(("caller", "kind"), [("ben", "another patient"), ("dr-kim", "not under care")])
@pytest.mark.parametrize("row", SIGHT)
async def test_out_of_sight_is_as_absent(world: Harness, caller: str, kind: str, row: Interaction) -> None:
    """The same status, body, headers, store calls and event; and nothing is changed."""
    type_, there = ("Patient", "anna") if row.path.startswith("Patient") else ("Observation", "obs-1")
    recording = RecordingStore(world.parts.store)
    world.parts.pipeline._store = recording
    await send(world, sent(row, type_, "warm-up"), caller)
    versions, seen = await world.versions(), []
    for id_ in (there, "obs-2"):
        recording.calls.clear()
        before = len(await world.events())
        answer = await send(world, sent(row, type_, id_), caller)
        calls = list(recording.calls)
        events = (await world.events())[before:]
        headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id",)}
        headers.pop("content-length", None)
        # What the path names is recorded as asked for, whether it is there or not.
        patients = [tuple("X" if each == id_ else each for each in e.patients) for e in events]
        told = [
            (e.subtype, e.action, e.outcome, p, e.description, e.rule) for e, p in zip(events, patients, strict=True)
        ]
        assert len(events) == 1
        assert all("anna" not in each for each in patients) or row.name == "search-compartment"
        seen.append((answer.status_code, _normal(answer, id_), headers, calls, told))
    assert seen[0] == seen[1], kind
    assert seen[0][0] in (200, 204, 403, 404)
    assert await world.versions() == versions


@pytest.mark.requirement("R-6.3", "R-6.5")
@pytest.mark.parametrize("row", [each for each in SIGHT if not each.values[0].path.startswith("Patient")])
async def test_a_good_caller_is_served_and_audited(world: Harness, row: Interaction) -> None:
    """One event, of the patient, with the rule that let it through."""
    before = len(await world.events())
    answer = await send(world, sent(row, "Observation", "obs-1"), "dr-lee")
    assert answer.status_code in (200, 201, 204), answer.text
    (event,) = (await world.events())[before:]
    assert (event.outcome, event.user) == ("0", "Practitioner/dr-lee")
    assert event.patients == ("anna",), event
    assert event.rule == "R-7.12 provider reads and writes records under care"


@pytest.mark.requirement("R-6.5")
async def test_a_search_of_several_patients_tells_the_rule_for_each(world: Harness) -> None:
    """One event for each patient found, each with its own rule: care, or what was opened in an emergency."""
    given = {"purposeOfUse": {"valueCode": "BTG"}, "reason": {"valueString": "an emergency, alone"}}
    asked = {"resourceType": "Parameters", "parameter": [{"name": name, **value} for name, value in given.items()]}
    assert (await world.send("POST", "Patient/ben/$break-glass", "dr-lee", json_=asked)).status_code == 201
    before = len(await world.events())
    answer = await world.get("Observation", "dr-lee")
    assert len(answer.json()["entry"]) == 2
    events = {event.patients: event for event in (await world.events())[before:]}
    assert {patients: (event.purpose, event.rule) for patients, event in events.items()} == {
        ("anna",): ("", "R-7.12 provider reads and writes records under care"),
        ("ben",): ("BTG", "R-6.3 provider breaks the glass"),
    }
