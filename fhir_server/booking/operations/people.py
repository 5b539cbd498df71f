"""Patient/$match, $verify, $merge and $unmerge: who a person is, decided by staff (R-4.3, R-5.1)."""

from typing import Any

from fhir_server.booking import merging
from fhir_server.booking.matching import Score, score
from fhir_server.booking.operations import parameters
from fhir_server.booking.states import STAFF
from fhir_server.fhir import json, own
from fhir_server.fhir.errors import BadRequest, Forbidden, Unprocessable
from fhir_server.interactions import bundle
from fhir_server.interactions.call import Answer, Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.plan import Node, Query, Test, Text, Token, any_of
from fhir_server.search.text import fold
from fhir_server.store.protocol import Stored

Resource = dict[str, Any]

_MATCH = {"resource": ("resource", 1), "onlyCertainMatches": ("valueBoolean", 1), "count": ("valueInteger", 1)}
_MERGE = {"source-patient": ("valueReference", 1), "target-patient": ("valueReference", 1)}
_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
_REASON = f"{own.ROOT}/StructureDefinition/match-reason"
_CANDIDATES = 500


async def match(call: Call, repository: Repository) -> Answer:
    """The people who may be the one described, likeliest first, each with its score, grade and reasons."""
    _check_staff(repository)
    found = parameters.read(call, _MATCH)
    sought = parameters.one(found, "resource")
    if sought.get("resourceType") != "Patient":
        raise BadRequest("'resource' is a Patient.", expression="Parameters.parameter")
    scored = await _scored(repository, sought)
    if found["onlyCertainMatches"] == [True]:
        scored = [each for each in scored if each[0].grade == "certain"]
    scored = scored[: found["count"][0] if found["count"] else 20]
    entries = [_entry(call, repository, *each) for each in scored]
    server = call.clinic.server
    body = bundle.bundle("searchset", server.ids.resource_id(), server.clock(), (), entries, len(entries))
    return Answer(200, body, shown=[stored for _, stored in scored])


async def verify(call: Call, repository: Repository) -> Answer:
    """A provisional identity is verified: the server's mark goes. Likely duplicates are flagged, never merged."""
    _check_staff(repository)
    stored = await repository.read("Patient", call.id)
    assert stored.body is not None
    patient = json.parse(stored.body)
    if not own.has_tag(patient, own.IDENTITY, "provisional"):
        raise Unprocessable("This identity is verified already.", expression="Patient.meta.tag")
    own.tag(patient, own.IDENTITY, "provisional", on=False)
    others = [each for result, each in await _scored(repository, patient) if result.grade in ("certain", "probable")]
    own.tag(patient, own.IDENTITY, "duplicate", on=any(each.id != stored.id for each in others))
    agent = repository.access.agent
    verified = await repository.put(stored, patient, rule=f"R-4.3 identity verified by {agent.fhir_user}")
    return _answer(repository, verified)


async def merge(call: Call, repository: Repository) -> Answer:
    """The source becomes a former entry of the target, which everything points at from then on."""
    _check_staff(repository)
    found = parameters.read(call, _MERGE)
    people = []
    for name in _MERGE:
        target = parameters.target(call, parameters.one(found, name), "Patient", name)
        people.append(await repository.read("Patient", target.id))
    return _answer(repository, await merging.merge(repository, *people))


async def unmerge(call: Call, repository: Repository) -> Answer:
    """A merge is taken back: only what it moved moves back."""
    _check_staff(repository)
    stored = await repository.read("Patient", call.id)
    return _answer(repository, await merging.unmerge(repository, stored))


def _answer(repository: Repository, stored: Stored) -> Answer:
    return Answer(200, repository.shown(stored, "r"), stored, shown=(stored,))


def _check_staff(repository: Repository) -> None:
    agent = repository.access.agent
    if agent.role not in (*STAFF, "administrator") or not agent.is_human:
        raise Forbidden("Only staff decide who a person is.")


async def _scored(repository: Repository, sought: Resource) -> list[tuple[Score, Stored]]:
    """Those who share an identifier, the birth date, a telephone number or e-mail, or the beginning of the name."""
    page = await repository.search(Query("Patient", _worth_a_look(sought), count=_CANDIDATES))
    scored = []
    for stored in page.matches:
        assert stored.body is not None
        result = score(sought, json.parse(stored.body))
        if result.grade != "certainly-not" and stored.id != sought.get("id"):
            scored.append((result, stored))
    return sorted(scored, key=lambda each: (-each[0].value, each[1].key))


def _worth_a_look(sought: Resource) -> Node:
    tests: list[Node] = []
    for each in sought.get("identifier", ()):
        if "value" in each:
            tests.append(Test("identifier", "token", Token(each["value"], each.get("system"))))
    for each in sought.get("telecom", ()):
        if "value" in each:
            tests.append(Test("telecom", "token", Token(each["value"], None)))
    for name in sought.get("name", ()):
        if "family" in name:
            tests.append(Test("family", "string", Text(fold(name["family"]), "starts")))
    if not tests:
        raise BadRequest("Give an identifier, a name, a telephone number or an e-mail to match by.", code="required")
    return any_of(*tests)


def _entry(call: Call, repository: Repository, result: Score, stored: Stored) -> bytes:
    grade = {"url": _GRADE, "valueCode": result.grade}
    reason = {"url": _REASON, "valueString": ", ".join(result.reasons)}
    search = {"extension": [grade, reason], "mode": "match", "score": result.value}
    head = f'{{"fullUrl":"{call.clinic.base_url}/Patient/{stored.id}","resource":'.encode()
    return head + repository.shown(stored) + b',"search":' + json.serialise(search) + b"}"
