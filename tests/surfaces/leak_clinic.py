"""The clinics of the leak hunt: one with everybody's records, one without those whom the caller may not see.

Each patient's resources, and each clinic's, carry a word of their own in every text, and ids of their own.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import (
    DAY,
    MINUTE,
    Harness,
    appointment,
    cared_for,
    make_harness,
    practitioner,
    schedule,
    service,
)

PATIENTS = ("anna", "ben", "cleo")
# Caller -> the patients whom it may see. The front desk and administrators see all, so they are not asked.
CALLERS: Mapping[str, frozenset[str]] = {
    "anna": frozenset({"anna"}), "ben": frozenset({"ben"}), "dr-lee": frozenset({"anna", "ben"}),
    "dr-kim": frozenset({"ben"}), "anonymous": frozenset(), "website": frozenset(),
    "anna-on-website": frozenset({"anna"}),
}  # fmt: skip
CARE = {"anna": ("dr-lee",), "ben": ("dr-lee", "dr-kim"), "cleo": ()}
TYPES = ("Observation", "Condition", "Encounter", "CarePlan", "DocumentReference", "Communication", "Procedure",
         "Immunization", "Goal", "Provenance", "List")  # fmt: skip
MOST = 8  # of each patient
OWN_PARAMETER = {"resourceType": "SearchParameter", "id": "own-words", "status": "active", "code": "own-words",
                 "url": "http://clinic.example/SearchParameter/own-words", "name": "OwnWords", "description": "words",
                 "base": ["Observation"], "type": "string", "expression": "Observation.code.text"}  # fmt: skip
# Of resources, and of jobs.
_SERVER_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=_async/)[0-9a-f]{32}")
_PLACE = re.compile(r"seen-(\d+)-th")


def word(owner: str) -> str:
    """A text that stands in everything of an owner's and nowhere else."""
    return f"zz{owner}zz"


def id_of(type_: str, who: str, n: int) -> str:
    return who if type_ == "Patient" else f"visit-{who}" if type_ == "Appointment" else f"{type_[:4].lower()}-{who}-{n}"


def place(n: int) -> str:
    """What stands for the n-th of the server's own ids."""
    return f"seen-{n}-th"


def pointing(who: str) -> dict[str, Any]:
    """Something of somebody's that points at what another one has: to be followed neither way."""
    other = PATIENTS[(PATIENTS.index(who) + 1) % len(PATIENTS)]
    n = MOST - 1
    made = clinical("Observation", n, who)
    made["encounter"] = {"reference": f"Encounter/{id_of('Encounter', other, n)}"}
    return made | {"hasMember": [{"reference": f"Observation/{id_of('Observation', other, m)}"} for m in (0, n)]}


def clinical(type_: str, n: int, patient: str, id_: str = "") -> dict[str, Any]:
    subject, text = {"reference": f"Patient/{patient}"}, {"text": f"{word(patient)} {n}"}
    confirmed = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
                             "code": "confirmed"}]}  # fmt: skip
    narrative = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{word(patient)}</div>'}
    made: dict[str, dict[str, Any]] = {
        "Observation": {"status": "final", "code": text, "subject": subject, "valueInteger": n,
                        "encounter": {"reference": f"Encounter/{id_of('Encounter', patient, n)}"}},
        "Condition": {"code": text, "subject": subject, "verificationStatus": confirmed},
        "Encounter": {"status": "finished", "class": {"code": "AMB"}, "subject": subject, "reasonCode": [text]},
        "CarePlan": {"status": "active", "intent": "plan", "subject": subject, "title": text["text"]},
        "DocumentReference": {"status": "current", "subject": subject, "description": text["text"],
                              "content": [{"attachment": {"title": text["text"]}}]},
        "Communication": {"status": "completed", "subject": subject, "sender": subject, "reasonCode": [text]},
        "Procedure": {"status": "completed", "subject": subject, "code": text},
        "Immunization": {"status": "completed", "patient": subject, "vaccineCode": text, "occurrenceDateTime": "2020"},
        "Goal": {"lifecycleStatus": "active", "description": text, "subject": subject},
        "Provenance": {"target": [subject], "recorded": "2020-01-01T00:00:00Z", "agent": [{"who": subject}]},
        "List": {"status": "current", "mode": "working", "title": text["text"], "subject": subject,
                 "entry": [{"item": {"reference": f"Observation/{id_of('Observation', patient, m)}"}}
                           for m in range(MOST)]},
    }  # fmt: skip
    return {"resourceType": type_, "id": id_ or id_of(type_, patient, n), "text": narrative, **made[type_]}


@dataclass
class World:
    """One server in the hunt, what its ids are called, and the links that its answers gave."""

    harness: Harness
    ids: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def named(self, text: str) -> str:
        """The text with the server's own ids by number, in the order in which they were first seen."""
        return _SERVER_ID.sub(lambda found: self.ids.setdefault(found[0], place(len(self.ids))), text)

    def placed(self, text: str) -> str:
        """The text with numbers as the ids that they stand for here."""
        known = list(self.ids)
        return _PLACE.sub(lambda found: known[int(found[1]) % len(known)] if known else "none", text)

    async def close(self) -> None:
        await self.harness.close()


async def make_world(kind: str, folder: Path, seed: int, people: frozenset[str], **settings: Any) -> World:
    """A clinic with these people's records: the same for each of them, whoever else there is."""
    harness = await make_harness(kind, folder, content_search=True, **settings)
    answer = await harness.put(OWN_PARAMETER)
    assert answer.status_code == 201, answer.text
    consultation = service("consultation")
    await harness.seed(
        *map(practitioner, ("dr-lee", "dr-kim")), consultation,
        schedule("lee", "Practitioner/dr-lee", "HealthcareService/consultation"),
        *(harness.slot(f"slot-{n}", (40 + n) * DAY) for n in range(12)),
    )  # fmt: skip
    for at, who in enumerate(PATIENTS):
        if who not in people:
            continue
        own = random.Random(f"{seed} {who}")
        name = [{"family": word(who), "given": [f"given{who}"]}]
        made = (
            cared_for(who, *CARE[who], name=name) if CARE[who] else {"resourceType": "Patient", "id": who, "name": name}
        )
        await harness.seed(made | {"birthDate": "1990-05-06", "telecom": [{"system": "phone", "value": f"+49 {at}"}]})
        # References lead to what is there, where integrity asks for it.
        await harness.seed(*(clinical(kind_, n, who) for kind_ in ("Encounter", "Observation") for n in range(MOST)))
        if "referential_integrity" not in settings:
            await harness.seed(pointing(who))
        await harness.seed(*(clinical(own.choice(TYPES[1:]), n, who) for n in range(MOST)), clinical("List", 0, who))
        start = (at + 1) * DAY
        visit = appointment(f"visit-{who}", "booked", who, start=harness.at(start),
                            end=harness.at(start + 30 * MINUTE), comment=word(who))  # fmt: skip
        made_visit = await harness.put(visit, "sam")
        assert made_visit.status_code == 201, made_visit.text
    if len(people) == len(PATIENTS):
        # The other clinic has an anna and a dr-lee, too.
        await harness.seed(practitioner("dr-lee"), tenant="other")
        for id_ in ("anna", "elsewhere"):
            await harness.seed(cared_for(id_, "dr-lee", name=[{"family": word("elsewhere")}]), tenant="other")
        for n in range(MOST):
            made = clinical("Observation", n, "elsewhere") | {"subject": {"reference": "Patient/anna"}}
            await harness.seed(clinical("Encounter", n, "elsewhere"), made, tenant="other")
    return World(harness)
