"""What `$find` is asked: its Parameters by POST, or the same as a query by GET, which page links use (IHE ITI-115)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.booking.operations import parameters
from fhir_server.fhir import json
from fhir_server.fhir.clock import Micros
from fhir_server.fhir.errors import BadRequest
from fhir_server.fhir.outcome import Issue
from fhir_server.fhir.reference import local_reference
from fhir_server.interactions import paging
from fhir_server.interactions.call import Call
from fhir_server.interactions.repository import Repository
from fhir_server.search.dates import ended, interval
from fhir_server.search.plan import Query, Test, Token
from fhir_server.search.text import fold
from fhir_server.store.protocol import Stored

KNOWN: parameters.Known = {
    "start": ("valueDateTime", 1),
    "end": ("valueDateTime", 1),
    "specialty": ("valueString", None),
    "visit-type": ("valueString", None),
    "reason": ("valueString", None),
    "practitioner": ("valueReference", None),
    "organization": ("valueReference", None),
    "location-string": ("valueString", None),
    "location-reference": ("valueReference", None),
    "device": ("valueReference", None),  # this server's own, beside IHE's
    "patient-reference": ("valueReference", None),
    "patient-resource": ("resource", None),
    "referral-identifier": ("valueIdentifier", 1),
    "timing": ("valueTiming", 1),
    "insurance-reference": ("valueReference", None),
    "_count": ("valueInteger", 1),
}
_REFERENCES = {
    "practitioner": "Practitioner", "organization": "Organization", "location-reference": "Location",
    "device": "Device", "patient-reference": "Patient",
}  # fmt: skip
# What a query (GET) gives otherwise than as it is: a link carries no person, and so no `patient-resource`.
_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "valueDateTime": lambda _, text: text,
    "valueString": lambda _, text: text,
    "valueInteger": lambda _, text: text,
    "valueReference": lambda _, text: {"reference": text},
    "valueIdentifier": lambda _, text: _identifier(text),
    "valueTiming": lambda name, text: _timing(text, name),
}


@dataclass(slots=True)
class Asked:
    """One question. Of each kind several are alternatives; different kinds go together.

    A time begins in one of `windows`, and is `lasts` long at least. `people` are not registered; `based_on` is the
    referral.
    """

    start: Micros
    end: Micros
    pairs: list[tuple[str, str]]
    specialties: list[tuple[str, str]] = field(default_factory=list)
    visit_types: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    practitioners: list[str] = field(default_factory=list)
    organizations: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    networks: set[str] = field(default_factory=set)  # organizations that take the insurance asked for
    windows: list[tuple[Micros, Micros]] = field(default_factory=list)
    timings: list[dict[str, Any]] = field(default_factory=list)
    lasts: Micros = 0
    people: list[dict[str, Any]] = field(default_factory=list)
    based_on: str = ""
    patients: list[Stored] = field(default_factory=list)
    count: int | None = None
    informed: list[Issue] = field(default_factory=list)
    none: bool = False
    schedules: int = 0  # how many there are in all, whatever they offer

    @property
    def patient_references(self) -> list[str]:
        """Who the appointment would be for."""
        return [f"Patient/{stored.id}" for stored in self.patients]


def given(call: Call) -> dict[str, list[Any]]:
    """The parameters of a call, by POST or GET. Raises BadRequest."""
    return parameters.read(call, KNOWN) if call.body is not None else _of_query(call)


async def asked_of(call: Call, repository: Repository, found: dict[str, list[Any]]) -> Asked:
    """The question of a call. Raises BadRequest, and Forbidden for patients who are none of the caller's business."""
    start, end = _moment(call, found, "start"), _moment(call, found, "end")
    if start >= end:
        raise BadRequest("The time to search ends after it starts.", expression="end")
    asked = Asked(start, end, _pairs(found))
    asked.specialties = [_token(text, "specialty") for text in found["specialty"]]
    asked.visit_types = [_token(text, "visit-type") for text in found["visit-type"]]
    asked.reasons = [_token(text, "reason") for text in found["reason"]]
    asked.addresses = [fold(text) for text in found["location-string"]]
    asked.practitioners = await _ids(repository, asked, found, "practitioner")
    asked.organizations = await _ids(repository, asked, found, "organization")
    asked.locations = await _ids(repository, asked, found, "location-reference")
    asked.devices = await _ids(repository, asked, found, "device")
    for id_ in await _ids(repository, asked, found, "patient-reference"):
        asked.patients.append(await repository.read("Patient", id_))
    if found["_count"]:
        asked.count = _count(found["_count"][0])
    return asked


def _moment(call: Call, found: dict[str, list[Any]], name: str) -> Micros:
    text = str(parameters.one(found, name))
    try:
        return ended(text, call.clinic.zone) if name == "end" else interval(text, call.clinic.zone)[0]
    except ValueError as error:
        raise BadRequest(f"'{name}' is a dateTime such as 2026-11-22T10:00:00Z.", expression=name) from error


def _of_query(call: Call) -> dict[str, list[Any]]:
    """The same by a query: words as they are, references as `Type/id`, a Timing as its JSON."""
    found: dict[str, list[Any]] = {name: [] for name in KNOWN}
    for name, value in call.query:
        if name in (paging.PARAMETER, "_format", "_pretty"):
            continue
        kind, most = KNOWN.get(name, ("", None))
        if kind not in _READERS:
            raise BadRequest(f"There is no parameter '{name[:64]}' for GET; send Parameters by POST.", expression=name)
        found[name].append(_READERS[kind](name, value))
        if most is not None and len(found[name]) > most:
            raise BadRequest(f"'{name}' is given once.", expression=name)
    # What is JSON in a query has had no check of its shape.
    for timing in found["timing"]:
        whole = {"resourceType": "Parameters", "parameter": [{"name": "timing", "valueTiming": timing}]}
        faults = call.clinic.server.structure.check(whole)
        if faults:
            raise BadRequest(f"'timing' is no Timing: {faults[0].diagnostics}", expression="timing")
    return found


def _pairs(found: dict[str, list[Any]]) -> list[tuple[str, str]]:
    """The question as a query, for links; people are left out of them."""
    made = []
    for name, values in found.items():
        for value in values:
            match KNOWN[name][0]:
                case "valueReference" if "reference" in value:
                    made.append((name, str(value["reference"])))
                case "valueIdentifier":
                    made.append((name, f"{value.get('system', '')}|{value.get('value', '')}"))
                case "valueTiming":
                    made.append((name, json.serialise(value).decode()))
                case "valueDateTime" | "valueString" | "valueInteger":
                    made.append((name, str(value)))
    return made


async def _ids(repository: Repository, asked: Asked, found: dict[str, list[Any]], name: str) -> list[str]:
    """The ids of references, literal or by identifier; an unknown one matches nothing."""
    type_, ids = _REFERENCES[name], []
    for reference in found[name]:
        target = local_reference(str(reference.get("reference", "")), repository.clinic.base_url)
        if target is not None and target.type == type_:
            ids.append(target.id)
        elif "identifier" in reference:
            ids += await _by_identifier(repository, type_, reference["identifier"], asked)
        else:
            raise BadRequest(f"'{name}' is a reference to a {type_}, literal or by identifier.", expression=name)
    if found[name] and not ids:
        asked.none = True
    return ids


async def _by_identifier(repository: Repository, type_: str, identifier: dict[str, Any], asked: Asked) -> list[str]:
    test = Test("identifier", "token", Token(str(identifier.get("value", "")), identifier.get("system")))
    page = await repository.search(Query(type_, test, count=10))
    asked.pairs += [(name, f"{type_}/{s.id}") for name, of in _REFERENCES.items() if of == type_ for s in page.matches]
    return [stored.id for stored in page.matches]


def _token(text: str, name: str) -> tuple[str, str]:
    system, bar, code = text.partition("|")
    if not bar or not system or not code:
        raise BadRequest(f"'{name}' is system|code, both given.", expression=name)
    return system, code


def _timing(text: str, name: str) -> Any:
    timing = json.parse(text)
    if not isinstance(timing, dict):
        raise BadRequest(f"'{name}' is a Timing, in JSON.", expression=name)
    return timing


def _identifier(text: str) -> dict[str, str]:
    system, _, value = text.rpartition("|")
    return {"value": value} | ({"system": system} if system else {})


def _count(value: Any) -> int:
    if not re.fullmatch(r"\d{1,10}", str(value), re.ASCII):
        raise BadRequest("'_count' is a whole number from 0.", expression="_count")
    return int(value)


def body_of(stored: Stored) -> dict[str, Any]:
    """The resource of a stored version that is not a deletion."""
    assert stored.body is not None
    resource: dict[str, Any] = json.parse(stored.body)
    return resource
