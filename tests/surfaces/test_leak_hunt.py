"""A hunt for leaks: random resources of two clinics and several patients, random requests of every kind (R-6.1, R-6.2).

Each patient's resources, and each clinic's, carry a word of their own in every text, and ids of their own. Whatever a
caller is answered (body and headers) must hold no word or id of those whom the caller may not see; and what it counts,
sorts and refuses must be as if they were not there at all: the same request against a clinic without them is answered
alike. `make test` sends 1,500 requests, `make soak` 100,000.
"""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness import DAY, MINUTE, Harness, appointment, cared_for, make_harness, practitioner, schedule

REQUESTS, SOAK = 750, 50_000  # each is sent to two clinics
PATIENTS = ("anna", "ben", "cleo")
# Caller -> the patients whom it may see.
CALLERS = {"anna": {"anna"}, "ben": {"ben"}, "dr-lee": {"anna", "ben"}, "dr-kim": {"ben"}, "anonymous": set(),
           "website": set(), "sam": None, "anna-on-website": {"anna"}}  # fmt: skip
CARE = {"anna": ("dr-lee",), "ben": ("dr-lee", "dr-kim"), "cleo": ()}
TYPES = ("Observation", "Condition", "Encounter", "CarePlan", "DocumentReference", "Communication", "Procedure",
         "Immunization", "Goal", "Provenance")  # fmt: skip


def word(owner: str) -> str:
    """A text that stands in everything of an owner's and nowhere else."""
    return f"zz{owner}zz"


def clinical(type_: str, n: int, patient: str) -> dict[str, Any]:
    subject, text = {"reference": f"Patient/{patient}"}, {"text": f"{word(patient)} {n}"}
    made: dict[str, dict[str, Any]] = {
        "Observation": {"status": "final", "code": text, "subject": subject},
        "Condition": {"code": text, "subject": subject},
        "Encounter": {"status": "finished", "class": {"code": "AMB"}, "subject": subject, "reasonCode": [text]},
        "CarePlan": {"status": "active", "intent": "plan", "subject": subject, "title": text["text"]},
        "DocumentReference": {"status": "current", "subject": subject, "description": text["text"],
                              "content": [{"attachment": {"title": text["text"]}}]},
        "Communication": {"status": "completed", "subject": subject, "sender": subject, "reasonCode": [text]},
        "Procedure": {"status": "completed", "subject": subject, "code": text},
        "Immunization": {"status": "completed", "patient": subject, "vaccineCode": text, "occurrenceDateTime": "2020"},
        "Goal": {"lifecycleStatus": "active", "description": text, "subject": subject},
        "Provenance": {"target": [subject], "recorded": "2020-01-01T00:00:00Z", "agent": [{"who": subject}]},
    }  # fmt: skip
    return {"resourceType": type_, "id": f"{type_[:4].lower()}-{patient}-{n}", **made[type_]}


async def fill(harness: Harness, rng: random.Random, people: tuple[str, ...]) -> None:
    """The clinic with these people's records; the same for each of them, whoever else there is."""
    await harness.seed(*map(practitioner, ("dr-lee", "dr-kim")), schedule("lee", "Practitioner/dr-lee"))
    for at, who in enumerate(PATIENTS):
        own = random.Random(f"{rng.random()} {who}")
        made = [cared_for(who, *CARE[who], name=[{"family": word(who)}]) if CARE[who] else
                {"resourceType": "Patient", "id": who, "name": [{"family": word(who)}]}]  # fmt: skip
        made += [clinical(own.choice(TYPES), n, who) for n in range(8)]
        visit = appointment(f"visit-{who}", "booked", who, start=harness.at((at + 1) * DAY),
                            end=harness.at((at + 1) * DAY + 30 * MINUTE), comment=word(who))  # fmt: skip
        if who in people:
            await harness.seed(*made)
            assert (await harness.create(visit, "sam")).status_code == 201
    other = {"resourceType": "Patient", "id": "anna", "name": [{"family": word("elsewhere")}]}
    await harness.seed(other, clinical("Observation", 1, "elsewhere"), tenant="other")


class Asker:
    """Makes requests at random, of every kind."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def _type(self) -> str:
        return self._rng.choice((*TYPES, "Patient", "Appointment", "Slot", "Practitioner", "Schedule"))

    def _who(self) -> str:
        return self._rng.choice((*PATIENTS, "elsewhere", "nobody"))

    def _id(self, type_: str) -> str:
        if type_ == "Patient":
            return self._who()
        return f"{type_[:4].lower()}-{self._who()}-{self._rng.randrange(9)}"

    def _pair(self, type_: str) -> str:
        who, text = self._who(), word(self._who())
        return self._rng.choice((
            f"_id={self._id(type_)}", f"patient={who}", f"patient=Patient/{who}", f"subject=Patient/{who}",
            f"patient.name={text}", f"subject:Patient.name={text}", f"_content={text}", f"_text={text}",
            "_sort=-_lastUpdated", "_sort=_id", "_count=2", "_count=0", "_total=accurate", "_summary=count",
            "_include=*", f"_include={type_}:patient", f"_include={type_}:subject",
            f"_revinclude={self._type()}:patient",
            f"_revinclude:iterate={self._type()}:patient", f"_has:{self._type()}:patient:_id={self._id(self._type())}",
            f"_has:{self._type()}:subject:status=final", f"code:text={text}", f"name={text}", f"family={text}",
            f"actor=Patient/{who}", "_elements=subject,code", "status=final", "patient:missing=false",
            f"{self._rng.choice(('patient', 'subject'))}:identifier=x", f"encounter.patient={who}",
            "general-practitioner=dr-lee",
            f"patient:Patient._has:{self._type()}:patient:_id={self._id(self._type())}",
        ))  # fmt: skip

    def _query(self, type_: str) -> str:
        return "&".join(self._pair(type_) for _ in range(self._rng.randint(1, 3)))

    def request(self) -> tuple[str, str, Any, dict[str, str]]:
        """Method, path, body, headers."""
        type_ = self._type()
        id_ = self._id(type_)
        patch = [{"op": "test", "path": "/id", "value": id_}, {"op": "add", "path": "/language", "value": "en"}]
        patch_headers = {"Content-Type": "application/json-patch+json"}
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {}}]}
        match self._rng.randrange(16):
            case 0 | 1 | 2 | 3:
                return "GET", f"{type_}?{self._query(type_)}", None, {}
            case 4:
                return "GET", f"{type_}/{id_}", None, {"If-None-Match": self._rng.choice(('W/"1"', "*", 'W/"2"'))}
            case 5:
                return "GET", f"{type_}/{id_}/_history{self._rng.choice(('', '/1', '/2'))}", None, {}
            case 6:
                return "GET", self._rng.choice((f"{type_}/_history", "_history", "_history?_count=3")), None, {}
            case 7:
                return "GET", f"Patient/{self._who()}/{self._rng.choice(('*', type_, '$everything'))}", None, {}
            case 8:
                return "GET", f"?_type={type_},{self._type()}&{self._query(type_)}", None, {}
            case 9:
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                return "POST", f"{type_}/_search", self._query(type_), form
            case 10:
                return "PATCH", self._rng.choice((f"{type_}/{id_}", f"{type_}?_id={id_}")), patch, patch_headers
            case 11:
                return "DELETE", self._rng.choice((f"{type_}/{id_}", f"{type_}?_id={id_}")), None, {}
            case 12:
                body = clinical("Observation", 1, self._who()) | {"id": id_, "status": "final"}
                headers = {"If-Match": 'W/"7"'} if self._rng.random() < 0.5 else {}
                return "PUT", f"Observation/{id_}", body, headers
            case 13:
                return "GET", f"{type_}/{id_}/$meta", None, {}
            case 14:
                return "POST", f"{type_}/{id_}/$meta-delete", parameters, {}
        entries = [{"request": {"method": "GET", "url": f"{t}/{self._id(t)}"}} for t in (type_, self._type())]
        entries.append({"request": {"method": "GET", "url": f"{type_}?{self._query(type_)}"}})
        return "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}, {}


# Practitioners manage all appointments of the clinic, so they are sent without that scope.
PRACTITIONERS = " ".join(f"user/{type_}.cruds" for type_ in (*TYPES, "Patient", "Slot", "Schedule", "Practitioner"))


async def ask(harness: Harness, caller: str, request: tuple[str, str, Any, dict[str, str]]) -> Any:
    method, path, body, headers = request
    if caller.startswith("dr-"):
        caller = await harness.token(caller, scope=PRACTITIONERS)
    if isinstance(body, str):
        return await harness.send(method, path, caller, content=body, headers=headers)
    return await harness.send(method, path, caller, json_=body, headers=headers)


def said(answer: Any) -> str:
    """All that the caller learns."""
    return f"{answer.status_code} {json.dumps(dict(answer.headers))} {answer.text}"


def unlike(answer: Any) -> str:
    """The same without what is every answer's own: ids, times, page links' seals."""
    text = re.sub(r'"(id|lastUpdated|timestamp|lastModified|versionId)": ?"[^"]*"', "", answer.text)
    text = re.sub(r"_page=[^\"&]*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", text)
    return f"{answer.status_code} {answer.headers.get('etag')} {text}"


async def hunt(kind: str, folder: Path, seed: int, count: int) -> int:
    """How many requests were sent; fails on the first leak, with what was asked."""
    rng = random.Random(seed)
    whole = await make_harness(kind, folder / "whole")
    sent, state = 0, rng.getstate()
    await fill(whole, rng, PATIENTS)
    bare: dict[str, Harness] = {}
    for caller, visible in CALLERS.items():
        if visible is not None and caller != "website":
            name = " ".join(sorted(visible))
            if name not in bare:
                rng.setstate(state)
                bare[name] = await make_harness(kind, folder / (name.replace(" ", "-") or "none"))
                await fill(bare[name], rng, tuple(visible))
    asker = Asker(rng)
    for _ in range(count):
        caller = rng.choice([name for name in CALLERS if name not in ("website", "sam")])
        visible = CALLERS[caller] or set()
        request = asker.request()
        answer = await ask(whole, caller, request)
        heard = said(answer).replace(json.dumps(request[1])[1:-1], "")
        named = set(re.findall(r"zz(\w+?)zz", heard)) - set(re.findall(r"zz(\w+?)zz", str(request)))
        hidden = {"anna", "ben", "cleo", "elsewhere"} - visible
        assert not named & hidden, (seed, caller, request, answer.text)
        other = bare[" ".join(sorted(visible))]
        assert unlike(await ask(other, caller, request)) == unlike(answer), (seed, caller, request, answer.text)
        sent += 2
    for each in (whole, *bare.values()):
        await each.http.aclose()
        await each.parts.store.close()
    return sent


@pytest.mark.requirement("R-6.1", "R-6.2")
async def test_nothing_outside_a_callers_access_appears(store_kind: str, tmp_path: Path) -> None:
    assert await hunt(store_kind, tmp_path, 1, REQUESTS) == 2 * REQUESTS


@pytest.mark.soak
@pytest.mark.requirement("R-6.1", "R-6.2")
async def test_nothing_appears_in_a_long_hunt(store_kind: str, tmp_path: Path) -> None:
    for seed in range(2, 12):
        await hunt(store_kind, tmp_path / str(seed), seed, SOAK // 10)
