"""The hunt: one caller asks two clinics the same, one of which lacks all that the caller may not see.

Two things hold of every answer. It holds no word or id of those whom the caller may not see, except as it was asked.
And it is the same in both clinics, by status, headers and body: so what is counted, sorted, refused and linked to is as
if they were not there at all.
"""

import asyncio
import json
import random
import re
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.surfaces.leak_clinic import CALLERS, MOST, PATIENTS, TYPES, World, clinical, make_world
from tests.surfaces.leak_requests import Asker, Request

# Practitioners manage all appointments of the clinic, so they are sent without that scope.
PRACTITIONERS = " ".join(f"user/{type_}.cruds" for type_ in (*TYPES, "Patient", "Slot", "Schedule", "Practitioner"))
# What is every answer's own: a page link's seal, an offer's and a receipt's signature, a request's id.
_SEALS = re.compile(r"(_page=)[^\"&<\s]*|\b(f-)[\w-]{20,}|\b(pr\.)[\w.-]+")
_OWN_HEADERS = ("x-request-id", "content-length")
_NAMES = re.compile(r"zz([a-z]+)zz|(?<![a-z])(anna|ben|cleo|elsewhere)(?![a-z])")
_SECOND = 1_000_000
_BETWEEN_CHANGES = 10
_JOB_SECONDS = 120


class Leak(AssertionError):
    """Something outside of the caller's access appeared; says what was asked and answered."""


def names_in(text: str) -> set[str]:
    """Whose words and ids stand in a text."""
    return {first or second for first, second in _NAMES.findall(text)}


async def ask(world: World, caller: str, request: Request) -> httpx.Response:
    """The answer; links are followed as this world gave them."""
    path = world.links.get(request.follows, "") or world.placed(request.path)
    headers = {name: world.placed(value) for name, value in request.headers.items()}
    if caller.startswith("dr-"):
        caller = await world.harness.token(caller, scope=PRACTITIONERS)
    content = world.placed(request.body).encode() or None
    return await world.harness.send(request.method, path, caller, content=content, headers=headers)


def said(world: World, answer: httpx.Response) -> str:
    """All that the caller learns, without what is every answer's own."""
    headers = {name: value for name, value in answer.headers.items() if name not in _OWN_HEADERS}
    text = f"{answer.status_code} {json.dumps(headers)} {answer.text}"
    return world.named(_SEALS.sub(r"\1\2\3…", text))


def keep_link(world: World, name: str, answer: httpx.Response) -> None:
    """Remember where the answer's page goes on, or its job stands."""
    found = answer.headers.get("content-location", "") if answer.status_code == 202 else ""
    next_page = re.search(r'"relation": ?"next", ?"url": ?"([^"]*)"', answer.text)
    if found or next_page is not None:
        url = found or (next_page[1] if next_page is not None else "")
        world.links[name] = url.removeprefix(f"{world.harness.http.base_url}/demo/fhir/")


async def finished(world: World, caller: str, answer: httpx.Response) -> httpx.Response:
    """The answer of the job that was begun."""
    keep_link(world, "job", answer)
    async with asyncio.timeout(_JOB_SECONDS):
        while answer.status_code == 202:
            await asyncio.sleep(0.002)
            answer = await ask(world, caller, Request("GET", "", follows="job"))
    return answer


async def keep_anothers_links(world: World) -> None:
    """The front desk's page of patients, and its job, whose links may have got about."""
    keep_link(world, "another's next", await world.harness.get("Patient?_count=1", "sam"))
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient"}}]}
    options = {"json_": bundle, "headers": {"Prefer": "respond-async"}}
    keep_link(world, "another's job", await world.harness.send("POST", "", "sam", **options))


async def change(worlds: Iterable[World], rng: random.Random, people: Iterable[str]) -> None:
    """The clinic goes on beside the caller: something of these people's is made, changed or deleted."""
    type_, who, n = rng.choice(TYPES), rng.choice(sorted(people)), rng.randrange(MOST - 1)
    is_deleted, language = rng.random() < 0.3, rng.choice(("en", "de"))
    for world in worlds:
        made = clinical(type_, n, who) | {"language": language}
        if is_deleted and type_ not in ("Encounter", "Observation"):
            await world.harness.delete(f"{type_}/{made['id']}")
        else:
            await world.harness.put(made)


async def hunt_as(caller: str, whole: World, bare: World, seed: int, count: int) -> dict[str, int]:
    """Ask both worlds `count` times. Returns how often each kind was answered with success. Raises Leak."""
    rng = random.Random(f"{seed} {caller}")
    visible = CALLERS[caller]
    asker = Asker(rng, visible)
    hidden = {*PATIENTS, "elsewhere"} - visible
    answered = dict.fromkeys(asker.kinds, 0)
    for n in range(count):
        kind, request = asker.request()
        if n % _BETWEEN_CHANGES == 0:
            await change((whole,), rng, hidden - {"elsewhere"})
            if visible:
                await change((whole, bare), rng, visible)
        for world in (whole, bare):
            world.harness.clock.advance(_SECOND)
        if request.follows and (request.follows in whole.links) != (request.follows in bare.links):
            if request.follows != "another's next":
                raise Leak(f"{seed} {caller}: only one world gave a link '{request.follows}'")
            continue  # the front desk sees more
        answer, other = await ask(whole, caller, request), await ask(bare, caller, request)
        heard, expected = said(whole, answer), said(bare, other)
        if answer.status_code == other.status_code == 202:
            answer, other = await finished(whole, caller, answer), await finished(bare, caller, other)
            heard, expected = heard + said(whole, answer), expected + said(bare, other)
        report = f"{seed} {caller} #{n} {kind} {request}\n-- with all there:\n{heard}\n-- without:\n{expected}"
        if names_in(heard) & hidden - names_in(f"{request} {expected}"):
            raise Leak(f"named: {report}")
        if heard != expected:
            raise Leak(f"unlike: {report}")
        keep_link(whole, "next", answer)
        keep_link(bare, "next", other)
        answered[kind] += answer.status_code < 300
    return answered


async def hunt(
    kind: str, folder: Path, seed: int, count: int, callers: Iterable[str] = CALLERS, **settings: Any
) -> Mapping[str, int]:
    """Hunt as each caller, `count` requests in all to each of two worlds."""
    names = tuple(callers)
    answered: dict[str, int] = {}
    for caller in names:
        async with AsyncExitStack() as stack:
            worlds = []
            for name, people in (("whole", frozenset(PATIENTS)), ("bare", CALLERS[caller])):
                world = await make_world(kind, folder / f"{caller}-{name}", seed, people, **settings)
                stack.push_async_callback(world.close)
                await keep_anothers_links(world)
                worlds.append(world)
            found = await hunt_as(caller, worlds[0], worlds[1], seed, count // len(names))
            answered = {name: answered.get(name, 0) + times for name, times in found.items()}
    return answered
