"""How long `$find` takes over 90 days, 50 practitioners and 30,000 slots: `python -m tests.benchmarks.find`."""

import asyncio
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time
from typing import Any

import httpx

from fhir_server.app import Parts, make_app
from tests.benchmarks import clinic

ROUNDS = 60


async def measure(parts: Parts) -> dict[str, list[float]]:
    """Milliseconds of each call, by question; the process's own, and by the clock on the wall."""
    await clinic.make(parts, schedules=50, slots=30_000)
    start = clinic.first_day()
    times = [("start", start), ("end", start + timedelta(days=90))]
    window = [{"name": name, "valueDateTime": clinic.instant(moment)} for name, moment in times]
    questions: dict[str, list[dict[str, Any]]] = {
        "anybody": [],
        "one practitioner": [{"name": "practitioner", "valueReference": {"reference": "Practitioner/d7"}}],
        "ten practitioners": [
            {"name": "practitioner", "valueReference": {"reference": f"Practitioner/d{n}"}} for n in range(10)
        ],
        "a service": [{"name": "visit-type", "valueString": "http://snomed.info/sct|408443003"}],
    }
    found: dict[str, list[float]] = {}
    transport = httpx.ASGITransport(app=make_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url=clinic.ORIGIN) as http:
        for name, more in questions.items():
            body = json.dumps({"resourceType": "Parameters", "parameter": [*window, *more]})
            found[name], found[f"{name}, CPU"] = [], []
            for _ in range(ROUNDS):
                before, worked = perf_counter(), process_time()
                answer = await http.post(
                    f"{clinic.BASE}/Appointment/$find", content=body, headers={"Content-Type": "application/fhir+json"}
                )
                found[name].append((perf_counter() - before) * 1_000)
                found[f"{name}, CPU"].append((process_time() - worked) * 1_000)
                assert answer.status_code == 200
                assert answer.json()["total"] > 0
    return found


def main() -> None:
    """Print the median and the 95th percentile of each question."""
    with tempfile.TemporaryDirectory() as folder:
        parts = clinic.parts_of(Path(folder))
        found = asyncio.run(measure(parts))
        for name, values in found.items():
            cuts = quantiles(values, n=100)
            print(f"{name:26} p50 {cuts[49]:6.1f} ms   p95 {cuts[94]:6.1f} ms")
        asyncio.run(parts.store.close())


if __name__ == "__main__":
    main()
