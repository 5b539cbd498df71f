"""How fast transactions go: `python -m tests.benchmarks.transactions` (docs/benchmarks.md, "What a create and a
transaction cost").

One server process takes Bundles of patients' histories of 200 to 500 entries, each a patient's encounters, and the
observations, conditions and procedures that point at them by `urn:uuid`, from a few connections in closed loops.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from tests.benchmarks import clinic
from tests.benchmarks.load import request, run_load
from tests.benchmarks.process import ServerProcess

PATIENTS = 200
HISTORIES = 40  # different Bundles, sent in turns
SMALLEST, LARGEST = 200, 500
AT_LEAST = 3_000  # entries a second on one worker (must hold)
_FIRST = datetime(2015, 1, 1, tzinfo=UTC)
_LOINC, _SNOMED = "http://loinc.org", "http://snomed.info/sct"
_MEASURED = {
    "8867-4": ("Heart rate", "/min"), "8310-5": ("Body temperature", "Cel"), "29463-7": ("Body weight", "kg"),
    "2339-0": ("Glucose", "mg/dL"), "718-7": ("Hemoglobin", "g/dL"),
}  # fmt: skip
_FOUND = {"44054006": "Diabetes mellitus type 2", "38341003": "Hypertension", "195967001": "Asthma"}

Resource = dict[str, Any]


def history(chance: random.Random, entries: int) -> Resource:
    """A transaction of so many entries about one patient: encounters, and what was found and done in each."""
    made: list[tuple[str, Resource]] = []

    def add(resource: Resource) -> str:
        url = f"urn:uuid:{UUID(int=chance.getrandbits(128), version=4)}"
        made.append((url, resource))
        return url

    subject, encounter = {"reference": f"Patient/p{chance.randrange(PATIENTS)}"}, {"reference": ""}
    for n in range(entries):
        at = (_FIRST + timedelta(days=chance.randrange(3_650), minutes=chance.randrange(1_440))).isoformat()
        if n % 10 == 0:
            encounter = {"reference": add(_encounter(subject, at))}
        elif n % 10 in (3, 6):
            add(_finding(chance, subject, encounter, at, is_done=n % 10 == 6))
        else:
            add(_observation(chance, subject, encounter, at))
    entry = [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for url, resource in made
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entry}


def _encounter(subject: Resource, at: str) -> Resource:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [{"coding": [{"system": _SNOMED, "code": "185345009", "display": "Encounter for symptom"}]}],
        "subject": subject,
        "period": {"start": at, "end": at},
    }


def _observation(chance: random.Random, subject: Resource, encounter: Resource, at: str) -> Resource:
    code = chance.choice(list(_MEASURED))
    display, unit = _MEASURED[code]
    category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [{"system": _LOINC, "code": code, "display": display}], "text": display},
        "subject": subject,
        "encounter": encounter,
        "effectiveDateTime": at,
        "valueQuantity": {
            "value": round(chance.uniform(30, 120), 1), "unit": unit, "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }  # fmt: skip


def _finding(chance: random.Random, subject: Resource, encounter: Resource, at: str, *, is_done: bool) -> Resource:
    code = chance.choice(list(_FOUND))
    said = {"coding": [{"system": _SNOMED, "code": code, "display": _FOUND[code]}], "text": _FOUND[code]}
    made = {"code": said, "subject": subject, "encounter": encounter}
    if is_done:
        return {"resourceType": "Procedure", "status": "completed", "performedDateTime": at, **made}
    active = {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
    return {"resourceType": "Condition", "clinicalStatus": {"coding": [active]}, "onsetDateTime": at, **made}


def measure(folder: Path, *, seconds: float, rounds: int, connections: int) -> dict[str, float]:
    """Entries a second and the server's processor time for one, each the median of the rounds."""
    tokens = clinic.run_in(folder, lambda parts: clinic.make(parts, patients=PATIENTS))
    chance = random.Random(1)
    bundles = [history(chance, chance.randint(SMALLEST, LARGEST)) for _ in range(HISTORIES)]
    sizes, headers = [len(bundle["entry"]) for bundle in bundles], {"authorization": f"Bearer {tokens.service}"}
    requests = [request("POST", f"/{clinic.TENANT}/fhir", bundle, **headers) for bundle in bundles]
    rates, costs = list[float](), list[float]()
    with ServerProcess(folder) as server:
        following = _in_turns(requests)
        run_load(server.port, following, connections=connections, seconds=seconds / 3)
        for _ in range(rounds):
            before = server.processor_seconds()
            run = run_load(server.port, following, connections=connections, seconds=seconds)
            assert set(run.statuses) == {200}, run.statuses
            entries = len(run.times) * sum(sizes) / len(sizes)
            rates.append(entries / run.seconds)
            costs.append((server.processor_seconds() - before) / entries * 1e6)
    return {"entries a second": median(rates), "CPU, µs an entry": median(costs), "must hold": AT_LEAST}


def _in_turns(requests: list[bytes]) -> Callable[[], bytes]:
    turn = iter(range(1 << 62))
    return lambda: requests[next(turn) % len(requests)]


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.transactions", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fhir-transactions-") as folder:
        found = measure(Path(folder), **vars(given))
    sys.stdout.write("\n".join(f"{name:20}{value:>12,.1f}" for name, value in found.items()) + "\n")
    sys.stdout.write(json.dumps({name: round(value, 1) for name, value in found.items()}) + "\n")


if __name__ == "__main__":
    main()
