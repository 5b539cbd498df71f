"""A mixed load that remembers what the server acknowledged: creates, updates, reads, proposals and confirmations."""

import itertools
import random
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tests.benchmarks.clinic import TENANT, Tokens, observation, proposal
from tests.benchmarks.load import Reply, request
from tests.faults.integrity import Found

BASE_PATH = f"/{TENANT}/fhir"
CONFIRMATION = b'[{"op":"replace","path":"/status","value":"booked"}]'
# What is sent, and how often of each; a kind that cannot be sent yet is a create.
ALL_KINDS = {"create": 5, "update": 3, "read": 2, "propose": 2, "confirm": 2}
BOOKING = {"propose": 3, "confirm": 2}

# A version that was acknowledged: type, id, version.
Version = tuple[str, str, int]


class Writing:
    """Makes requests and takes in their answers. Every request has an id of its own (`X-Request-Id`)."""

    def __init__(self, tokens: Tokens, slots: Iterable[int], seed: int, kinds: Mapping[str, int] = ALL_KINDS) -> None:
        self._kinds = kinds
        self.acknowledged: list[tuple[str, Version | None]] = []
        self.tokens, self._random, self._numbers = tokens, random.Random(seed), itertools.count()
        self._slots = iter(slots)
        self._prefix = f"{seed}-"
        self._observations: list[str] = []
        self._proposals: list[str] = []

    def next(self) -> bytes:
        """The bytes of the next request."""
        method, path, body, headers = self.choose()
        return request(method, path, body, **headers)

    def choose(self) -> tuple[str, str, Any, dict[str, str]]:
        """Method, path, body and headers of the next request."""
        headers = {"x_request_id": f"{self._prefix}{next(self._numbers)}"}
        staff = headers | {"authorization": f"Bearer {self.tokens.practitioner}"}
        system = headers | {"authorization": f"Bearer {self.tokens.service}"}
        kind = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        if kind == "propose" and (slot := next(self._slots, None)) is not None:
            return "POST", f"{BASE_PATH}/Appointment", proposal(str(slot)), headers
        if kind == "confirm" and self._proposals:
            id_ = self._proposals.pop()
            staff["content_type"] = "application/json-patch+json"
            return "PATCH", f"{BASE_PATH}/Appointment/{id_}", CONFIRMATION, staff
        if kind == "update" and self._observations:
            id_ = self._random.choice(self._observations)
            body = observation(self._random.randrange(400, 1200) / 10) | {"id": id_}
            return "PUT", f"{BASE_PATH}/Observation/{id_}", body, system
        if kind == "read" and self._observations:
            return "GET", f"{BASE_PATH}/Observation/{self._random.choice(self._observations)}", None, system
        return "POST", f"{BASE_PATH}/Observation", observation(), system

    def on_reply(self, sent: bytes, reply: Reply) -> None:
        """Take in an answer that came over HTTP."""
        method = sent[: sent.index(b" ")].decode()
        self.take(method, reply.status, reply.header("x-request-id"), reply.body)

    def take(self, method: str, status: int, request_id: str, body: bytes) -> None:
        """Take in an answer: remember what it acknowledges."""
        if status not in (200, 201):
            return
        resource: Mapping[str, Any] = orjson.loads(body)
        version = (resource["resourceType"], resource["id"], int(resource["meta"]["versionId"]))
        if method == "POST" and version[0] == "Observation":
            self._observations.append(version[1])
        if method == "POST" and version[0] == "Appointment":
            self._proposals.append(version[1])
        self.acknowledged.append((request_id, version if method != "GET" else None))


def lost(acknowledged: list[tuple[str, Version | None]], found: Found) -> list[str]:
    """What was acknowledged and is not there, or has no event."""
    requests = found.requests()
    missing = [f"no event of request {request_id}" for request_id, _ in acknowledged if request_id not in requests]
    missing += [f"{version} is gone" for _, version in acknowledged if version and version not in found.versions]
    return missing
