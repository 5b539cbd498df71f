"""A load of holds, bookings, confirmations, cancellations and merges, and what must be whole after a crash."""

import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from tests.benchmarks.clinic import TENANT, Tokens, proposal
from tests.benchmarks.load import Reply, request
from tests.faults.integrity import Found
from tests.faults.writing import CONFIRMATION, Version

BASE_PATH = f"/{TENANT}/fhir"
_PATCH = "application/json-patch+json"
_CANCEL = [
    {"op": "replace", "path": "/status", "value": "cancelled"},
    {"op": "add", "path": "/cancelationReason", "value": {"text": "ill"}},
]

Resource = dict[str, Any]


class Booking:
    """Makes requests and takes in their answers; the callers of one desk, who take turns."""

    def __init__(self, tokens: Tokens, offers: Iterable[str], slots: Iterator[int], people: Iterator[int], seed: int):
        self.acknowledged: list[tuple[str, Version | None]] = []
        self._token, self._offers, self._slots, self._people = tokens.practitioner, list(offers), slots, people
        self._random, self._numbers, self._prefix = random.Random(seed), itertools.count(), f"b{seed}-"
        self.kinds: set[str] = set()  # of what was acknowledged: an appointment's status, or a type
        self._held: list[str] = []
        self._proposed: list[str] = []
        self._booked: list[str] = []

    def next(self) -> bytes:
        """The bytes of the next request."""
        headers = {"x_request_id": f"{self._prefix}{next(self._numbers)}", "authorization": f"Bearer {self._token}"}
        kinds = ("hold", "book", "propose", "confirm", "cancel", "merge")
        match self._random.choices(kinds, (4, 4, 4, 4, 1, 3))[0]:
            case "hold" if self._offers:
                return self._operate("Appointment/$hold", headers, self._reference(self._offers.pop(0)))
            case "book" if self._held:
                person = {"name": "patient-resource", "resource": {"resourceType": "Patient", "id": self._person()}}
                return self._operate("Appointment/$book", headers, self._reference(self._held.pop(0)), person)
            case "confirm" if self._proposed:
                path = f"{BASE_PATH}/Appointment/{self._proposed.pop(0)}"
                return request("PATCH", path, CONFIRMATION, **headers, content_type=_PATCH)
            case "cancel" if self._booked:
                path = f"{BASE_PATH}/Appointment/{self._booked.pop(0)}"
                return request("PATCH", path, _CANCEL, **headers, content_type=_PATCH)
            case "merge":
                two = ((name, {"reference": f"Patient/{self._person()}"}) for name in ("source", "target"))
                parts = [{"name": f"{name}-patient", "valueReference": reference} for name, reference in two]
                return self._operate("Patient/$merge", headers, *parts)
        del headers["authorization"]
        return request("POST", f"{BASE_PATH}/Appointment", proposal(str(next(self._slots))), **headers)

    def on_reply(self, _: bytes, reply: Reply) -> None:
        """Take in an answer that came over HTTP: remember what it acknowledges."""
        if reply.status not in (200, 201):
            return
        body: Resource = orjson.loads(reply.body)
        if body["resourceType"] == "Bundle":
            shown = [entry["resource"] for entry in body.get("entry", ()) if entry["search"]["mode"] == "match"]
            if not shown:
                return
            body = shown[0]
        self.acknowledged.append((reply.header("x-request-id"), _version(body)))
        self.kinds.add(body["status"] if body["resourceType"] == "Appointment" else body["resourceType"])
        if body["resourceType"] == "Appointment":
            held = any(tag["code"] == "held" for tag in body["meta"].get("tag", ()))
            known = {"proposed": self._proposed, "booked": self._booked, "pending": self._held if held else []}
            known.get(body["status"], []).append(body["id"])

    def _person(self) -> str:
        """People are booked for and merged in turn, so that merges move appointments."""
        return f"p{next(self._people)}"

    def _reference(self, id_: str) -> Resource:
        return {"name": "appointment-reference", "valueReference": {"reference": f"Appointment/{id_}"}}

    def _operate(self, path: str, headers: dict[str, str], *parts: Resource) -> bytes:
        body = {"resourceType": "Parameters", "parameter": list(parts)}
        return request("POST", f"{BASE_PATH}/{path}", body, **headers)


def _version(resource: Resource) -> Version:
    return resource["resourceType"], resource["id"], int(resource["meta"]["versionId"])


def half_done(found: Found) -> list[str]:
    """What of holds and merges is there in part only."""
    latest: dict[tuple[str, str], Resource] = {}
    for (type_, id_, _), body in sorted(found.versions.items(), key=lambda each: each[0]):
        if body is not None:
            latest[type_, id_] = orjson.loads(body)
    faults = []
    for (type_, id_), resource in latest.items():
        if type_ == "Appointment" and any(tag["code"] == "held" for tag in resource["meta"].get("tag", ())):
            for slot in resource["slot"]:
                status = latest["Slot", slot["reference"].partition("/")[2]]["status"]
                if status != "busy-tentative":
                    faults.append(f"Appointment/{id_} holds {slot['reference']}, which is {status}")
        if type_ == "Patient":
            faults += _half_merged(id_, resource, latest)
    return faults


def _half_merged(id_: str, patient: Resource, latest: dict[tuple[str, str], Resource]) -> Iterator[str]:
    for link in patient.get("link", ()):
        other = latest["Patient", link["other"]["reference"].partition("/")[2]]
        back = {each["type"] for each in other.get("link", ()) if each["other"]["reference"] == f"Patient/{id_}"}
        if back != {"replaced-by" if link["type"] == "replaces" else "replaces"}:
            yield f"Patient/{id_} is linked with {other['id']}, and that one has {back}"
        if (link["type"] == "replaced-by") and patient.get("active", True):
            yield f"Patient/{id_} was merged into {other['id']} and is active"
    if any(link["type"] == "replaced-by" for link in patient.get("link", ())):
        for (type_, appointment_id), each in latest.items():
            named = [p["actor"].get("reference") for p in each.get("participant", ())] if type_ == "Appointment" else []
            if f"Patient/{id_}" in named:
                yield f"Appointment/{appointment_id} still names Patient/{id_}, who was merged"
