"""Prefer: respond-async (FHIR R4 async.html; docs/interactions/async.md)."""

import asyncio
from typing import Any

import httpx
import pytest

from fhir_server.interactions.operations import reindex
from fhir_server.rest import running
from tests.harness import Harness, issue, patient

ASYNC = {"Prefer": "respond-async"}


def batch(*resources: dict[str, Any]) -> dict[str, Any]:
    made = [{"request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}, "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": "batch", "entry": made}


async def kicked_off(harness: Harness, body: dict[str, Any], caller: str = "admin", path: str = "") -> str:
    """The path of the job below the base."""
    answer = await harness.send("POST", path, caller, json_=body, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    assert answer.content == b""
    return str(answer.headers["content-location"]).partition("/demo/fhir/")[2]


async def done(harness: Harness, path: str, caller: str = "admin") -> httpx.Response:
    for _ in range(500):
        answer = await harness.get(path, caller)
        if answer.status_code != 202:
            return answer
        assert answer.headers["retry-after"] == "1"
        await asyncio.sleep(0.01)
    raise AssertionError("the job does not end")


async def test_a_batch_is_answered_later(harness: Harness) -> None:
    path = await kicked_off(harness, batch(patient("a"), patient("b", active="x")))
    answer = await done(harness, path)
    assert answer.status_code == 200
    assert answer.json()["type"] == "batch-response"
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "422"]
    assert (await harness.get("Patient/a", "admin")).status_code == 200
    again = await harness.get(path, "admin", headers={"Accept": "application/fhir+xml"})
    assert again.text.startswith("<?xml")


async def test_reindex_is_answered_later(harness: Harness) -> None:
    await harness.seed(patient("a"))
    path = await kicked_off(harness, {"resourceType": "Parameters"}, path="$reindex")
    answer = await done(harness, path)
    assert answer.json()["parameter"] == [{"name": "resources", "valueInteger": 1}]
    events = [event for event in await harness.events() if event.query.startswith("POST $reindex")]
    assert [(event.outcome, event.action) for event in events] == [("0", "E")]


async def test_a_refusal_is_the_answer(harness: Harness) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "Colour"}]}
    path = await kicked_off(harness, body, path="$reindex")
    answer = await done(harness, path)
    assert (answer.status_code, issue(answer)["expression"]) == (400, ["Parameters.parameter[0]"])
    path = await kicked_off(harness, {"resourceType": "Parameters"}, "dr-lee", "$reindex")
    assert (await done(harness, path, "dr-lee")).status_code == 403


@pytest.mark.requirement("R-6.1")
async def test_a_job_is_its_callers_alone(harness: Harness) -> None:
    """Another caller and another clinic: 404, for a look and for a cancellation."""
    path = await kicked_off(harness, batch(patient("a")))
    await done(harness, path)
    for caller in ("root", "backend", "dr-lee", "anonymous"):
        assert (await harness.get(path, caller)).status_code == 404
        assert (await harness.delete(path, caller)).status_code == 404
    assert (await harness.get(path, "admin", tenant="other")).status_code == 404
    assert (await harness.get(path, "admin")).status_code == 200


@pytest.mark.requirement("R-6.3")
async def test_an_answer_is_for_the_scopes_that_asked_for_it(harness: Harness) -> None:
    """The same app and person with fewer scopes, or other ones: 404."""
    await harness.seed(patient("a"))
    wide = await harness.token("admin", scope="system/Patient.rs system/Slot.rs")
    read = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/a"}}]}
    path = await kicked_off(harness, read, wide)
    assert (await done(harness, path, wide)).status_code == 200
    for scope in ("system/Slot.rs", "system/Patient.rs", "system/*.cruds"):
        narrow = await harness.token("admin", scope=scope)
        assert (await harness.get(path, narrow)).status_code == 404
        assert (await harness.delete(path, narrow)).status_code == 404
    again = await harness.token("admin", scope="system/Slot.rs system/Patient.rs", lifetime=600)
    assert (await harness.get(path, again)).status_code == 200


async def test_a_job_can_be_cancelled(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes no further, and is gone."""
    monkeypatch.setattr(running, "BEAT_SECONDS", 0.01)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def waits(*_: Any) -> Any:
        reached.set()
        await go_on.wait()
        raise AssertionError("it went on")

    monkeypatch.setattr(reindex, "_types", lambda call: ["Patient"])
    handle = harness.parts.pipeline.run
    monkeypatch.setattr(harness.parts.pipeline, "run", lambda *given: waits() if given[2].type == "" and
                        given[2].interaction.path == "$reindex" else handle(*given))  # fmt: skip
    path = await kicked_off(harness, {"resourceType": "Parameters"}, path="$reindex")
    await reached.wait()
    assert (await harness.get(path, "admin")).status_code == 202
    assert (await harness.delete(path)).status_code == 202
    assert (await harness.get(path, "admin")).status_code == 404
    await asyncio.sleep(0.2)
    assert not harness.parts.pipeline.jobs._tasks


async def test_an_interrupted_job_is_told(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def waits() -> Any:
        await never.wait()

    handle = harness.parts.pipeline.run
    monkeypatch.setattr(harness.parts.pipeline, "run", lambda *given: waits() if
                        given[2].interaction.path == "$reindex" else handle(*given))  # fmt: skip
    path = await kicked_off(harness, {"resourceType": "Parameters"}, path="$reindex")
    await harness.parts.pipeline.jobs.close()
    assert (await harness.get(path, "admin")).status_code == 202
    harness.clock.advance(31_000_000)
    assert (await harness.get(path, "admin")).status_code == 500


async def test_who_cannot_wait_for_it_waits(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anonymous callers, callers beyond the most jobs, and what is one Unit."""
    anonymous = await harness.send("POST", "", json_=batch(patient("a")), headers=ASYNC)
    assert anonymous.status_code == 200
    single = await harness.send("PUT", "Patient/a", "admin", json_=patient("a"), headers=ASYNC)
    assert single.status_code == 201
    monkeypatch.setattr(running, "MOST", 0)
    answer = await harness.send("POST", "", "admin", json_=batch(patient("b")), headers=ASYNC)
    assert answer.status_code == 200


async def test_a_result_waits_for_a_day(harness: Harness) -> None:
    path = await kicked_off(harness, batch(patient("a")))
    await done(harness, path)
    harness.clock.advance(86_500_000_000)
    assert (await harness.get(path, "admin")).status_code == 404
