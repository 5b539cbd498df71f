"""A whole server over HTTP with people and apps, and a browser without JavaScript that walks its pages."""

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from argon2 import PasswordHasher

from fhir_server.app import Parts, make_app, make_parts
from fhir_server.fhir.clock import Ids, Micros
from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.repository import Repository
from fhir_server.settings import Settings
from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients
from smart_auth.accounts import Account
from smart_auth.clients import Client
from tests.harness import open_store

ORIGIN = "https://fhir.example.org"
CALLBACK = "https://app.example.com/callback"
SECRET = "a-secret-of-the-portal"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PEOPLE: tuple[tuple[str, Any, str], ...] = (
    ("anna", "patient", "Patient/anna"),
    ("ben", "patient", "Patient/ben"),
    ("mum", "proxy", "RelatedPerson/mum"),
    ("dr-lee", "practitioner", "Practitioner/lee"),
    ("olga", "auditor", "Practitioner/olga"),
)
PATIENT_SCOPES = ("launch", "launch/patient", "openid", "fhirUser", "profile", "offline_access", "online_access",
                  "patient/*.cruds", "patient/*.read", "user/*.cruds")  # fmt: skip


@dataclass
class FixedClock:
    now: Micros = 1_800_000_000_000_000

    def __call__(self) -> Micros:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


@dataclass
class Page:
    """An HTML page's forms, as a person without JavaScript may fill them in."""

    answer: httpx.Response

    @property
    def fields(self) -> list[tuple[str, str]]:
        """What the form would send: hidden fields, ticked boxes; no buttons."""
        found = []
        for tag in re.findall(r"<input[^>]*>", self.answer.text):
            about = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
            is_ticked = about["type"] == "checkbox" and " checked" in tag
            if about["type"] in ("hidden", "text", "search") or is_ticked:
                found.append((about["name"], about.get("value", "")))
        return found

    @property
    def action(self) -> str:
        found = re.search(r'<form method="post" action="([^"]*)"', self.answer.text)
        assert found is not None, self.answer.text
        return unescape(found.group(1))


@dataclass
class Site:
    """The server, its clock, and one browser."""

    parts: Parts
    clock: FixedClock
    browser: httpx.AsyncClient
    app: Any
    verifier_of: dict[str, str] = field(default_factory=dict)

    async def write(self, work: Any, tenant: str = "demo") -> Any:
        return await self.parts.store.run(tenant, work, write=True)

    def authorize_url(self, client_id: str = "app", scope: str = "launch/patient patient/*.cruds", **more: Any) -> str:
        """A sound request; a change to None leaves a parameter out. Its PKCE verifier is kept by the state."""
        verifier = secrets.token_urlsafe(48)
        given = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": scope,
            "state": secrets.token_urlsafe(16),
            "aud": f"{ORIGIN}/demo/fhir",
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        } | more
        given = {name: value for name, value in given.items() if value is not None}
        self.verifier_of[given.get("state", "")] = verifier
        return f"{ORIGIN}/demo/auth/authorize?{urlencode(given)}"

    async def sign_in(self, url: str, name: str, password: str = "") -> httpx.Response:
        """Go to a page that asks to sign in, do so, and return where that leads."""
        page = await self.browser.get(url)
        if page.status_code == 303 and "/login" in page.headers["location"]:
            page = await self.browser.get(page.headers["location"])
        form = Page(page)
        fields = [pair for pair in form.fields if pair[0] != "name"]
        fields += [("name", name), ("password", password or f"demo-{name}")]
        answer = await self.submit(form.action, fields)
        return await self.browser.get(answer.headers["location"]) if answer.status_code == 303 else answer

    async def submit(self, action: str, fields: list[tuple[str, str]]) -> httpx.Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        return await self.browser.post(action, content=urlencode(fields), headers=headers)

    async def press(self, page: httpx.Response, action: str, **changes: str) -> httpx.Response:
        """Press a button of a page's form, some fields changed; an empty change takes the field away."""
        form = Page(page)
        fields = [pair for pair in form.fields if pair[0] not in changes]
        fields += [pair for pair in changes.items() if pair[1]]
        return await self.submit(form.action, [*fields, ("action", action)])

    async def redirected(self, answer: httpx.Response) -> dict[str, str]:
        """The parameters of a redirect to the app."""
        assert answer.status_code == 303, answer.text
        location = answer.headers["location"]
        assert location.startswith(f"{CALLBACK}?"), location
        return dict(parse_qsl(urlsplit(location).query))

    async def code(self, name: str = "anna", **request: Any) -> dict[str, str]:
        """Sign in, consent to all, and return what the app gets."""
        page = await self.sign_in(self.authorize_url(**request), name)
        return await self.redirected(await self.press(page, "allow"))

    async def redeem(self, got: Mapping[str, str], client_id: str = "app", **changes: Any) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": got["code"],
            "redirect_uri": CALLBACK,
            "client_id": client_id,
            "code_verifier": self.verifier_of[got["state"]],
        } | changes
        return await self.post("token", {name: value for name, value in form.items() if value is not None})

    async def tokens(self, name: str = "anna", **request: Any) -> dict[str, Any]:
        answer = await self.redeem(await self.code(name, **request), request.get("client_id", "app"))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def post(self, endpoint: str, form: Mapping[str, str], **headers: str) -> httpx.Response:
        async with self.app_http() as http:
            return await http.post(f"{ORIGIN}/demo/auth/{endpoint}", data=dict(form), headers=headers)

    async def get(self, path: str, token: str = "", **headers: str) -> httpx.Response:
        async with self.app_http() as http:
            bearer = {"Authorization": f"Bearer {token}"} if token else {}
            return await http.get(f"{ORIGIN}/demo/fhir/{path}", headers=bearer | headers)

    def app_http(self) -> httpx.AsyncClient:
        """The app's own connection, without the browser's cookies."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app))

    async def audited(self) -> list[tuple[str, str, str]]:
        """(subtype, outcome, description) of what was recorded, oldest first."""
        from fhir_server.audit.event import from_entry
        from fhir_server.store.protocol import AuditQuery

        async def work(unit: Unit) -> Any:
            return await unit.audited(AuditQuery(count=1000, ascending=True))

        found = await self.parts.store.run("demo", work, write=False)
        events = [from_entry(entry.recorded, entry.body) for entry in found]
        return [(event.subtype, event.outcome, event.description) for event in events]


@asynccontextmanager
async def open_site(kind: str, folder: Path, **options: Any) -> AsyncIterator[Site]:
    """A whole server over a store of this kind, with a browser."""
    clock = FixedClock()
    store = open_store(kind, folder, clock, Ids(clock))
    parts = make_parts(Settings(data=folder, origin=ORIGIN), store=store, clock=clock, **options)
    await fill(parts)
    app = make_app(parts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as browser:
        yield Site(parts, clock, browser, app)
    await store.close()


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def fill(parts: Parts) -> None:
    """Two clinics; the first with people, apps and records."""
    for tenant in ("demo", "other"):
        await parts.store.create_tenant(tenant)
    clinic = await parts.clinics.get("demo")

    async def work(unit: Unit) -> None:
        for name, role, who in PEOPLE:
            await accounts.save(unit, Account(name, CHEAP.hash(f"demo-{name}"), role, who, name.title()))
        for client in apps():
            await clients.save(unit, client)
        everything = Access(Agent("administrator"), {t: (Grant(frozenset("cruds")),) for t in parts.services.types})
        repository = Repository(unit, clinic, everything, is_import=True)
        for resource in records():
            await repository.create(resource, id_=resource["id"])

    await parts.store.run("demo", work, write=True)


def apps() -> list[Client]:
    grants: Any = ("authorization_code", "refresh_token")
    secret = clients.hash_secret(SECRET)
    portal = ("launch", "launch/patient", "openid", "fhirUser", "user/*.cruds", "patient/*.cruds", "offline_access")
    return [
        Client("app", "public", "patient-portal", PATIENT_SCOPES, grants, (CALLBACK,), name="Health App"),
        Client("second", "public", "patient-portal", PATIENT_SCOPES, grants, (CALLBACK,)),
        Client("portal", "confidential-symmetric", "provider-portal", portal, grants, (CALLBACK,), secret),
        Client("resource-server", "confidential-symmetric", "service", ("system/*.rs",), ("client_credentials",),
               secret_hash=secret),
    ]  # fmt: skip


def records() -> list[dict[str, Any]]:
    def patient(id_: str, given: str, family: str) -> dict[str, Any]:
        return {"resourceType": "Patient", "id": id_, "name": [{"given": [given], "family": family}],
                "birthDate": "1990-05-06", "gender": "female",
                "generalPractitioner": [{"reference": "Practitioner/lee"}]}  # fmt: skip

    def observation(id_: str, who: str, category: str) -> dict[str, Any]:
        system = "http://terminology.hl7.org/CodeSystem/observation-category"
        return {
            "resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/{who}"},
            "category": [{"coding": [{"system": system, "code": category}]}],
        }  # fmt: skip

    return [
        patient("anna", "Anna", "Berg"),
        patient("ben", "Ben", "Adler"),
        {"resourceType": "RelatedPerson", "id": "mum", "patient": {"reference": "Patient/ben"}},
        {"resourceType": "Practitioner", "id": "lee", "name": [{"family": "Lee"}]},
        {"resourceType": "Encounter", "id": "visit", "status": "finished", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/anna"}},
        observation("lab", "anna", "laboratory"),
        observation("vital", "anna", "vital-signs"),
        observation("bens", "ben", "laboratory"),
    ]  # fmt: skip
