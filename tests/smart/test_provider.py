"""Signing in at an OpenID provider instead of the built-in login (OpenID Connect Core §3.1, RFC 9700, RFC 9207)."""

import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
import respx
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from fhir_server.store.protocol import AuditQuery, Unit
from smart_auth import accounts, provider_accounts, providers, seals
from smart_auth.accounts import NO_PASSWORD, Account
from tests.smart.site import ORIGIN, Page, Site, challenge, open_site

ISSUER = "https://login.example.net/realms/clinic"
ADDRESS = "https://8.8.8.8"  # what its name stands for
SECRET = "a secret of the clinic's client"
CLIENT = "fhir-server"
CONFIGURATION: dict[str, Any] = {
    "issuer": ISSUER, "client-id": CLIENT, "name": "Example Login", "account-claim": "preferred_username",
}  # fmt: skip
CREATES = CONFIGURATION | {
    "accounts": "create",
    "roles": {"claim": "groups", "values": {"physicians": "practitioner", "reception": "front-desk"}},
    "fhir-user-claim": "fhirUser",
}
LOGIN, BACK = f"{ORIGIN}/demo/auth/login", f"{ORIGIN}/demo/auth/callback"
KEYS = {"rsa": RSAKey.generate_key(2048), "other": RSAKey.generate_key(2048), "ec": ECKey.generate_key("P-256")}


@dataclass
class OpenIdProvider:
    """The provider as respx plays it: what it answers can be changed, and what it was asked is kept."""

    site: Site
    routes: respx.MockRouter
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "person-1", "preferred_username": "anna"})
    metadata: dict[str, Any] = field(default_factory=dict)
    published: list[str] = field(default_factory=lambda: ["rsa"])
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "rsa"})
    key: Any = field(default_factory=lambda: KEYS["rsa"])
    token: str | None = None
    asked: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        base = f"{ADDRESS}/realms/clinic"
        self.discovery = self.routes.get(f"{base}/.well-known/openid-configuration").mock(side_effect=self._metadata)
        self.jwks = self.routes.get(f"{base}/keys").mock(side_effect=self._jwks)
        self.exchange = self.routes.post(f"{base}/token").mock(side_effect=self._token)

    def _metadata(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["host"] == "login.example.net"
        said = {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/authorize?realm=1",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }  # fmt: skip
        return httpx.Response(200, json={name: v for name, v in (said | self.metadata).items() if v is not None})

    def _jwks(self, _: httpx.Request) -> httpx.Response:
        keys = [{**KEYS[name].as_dict(private=False), "kid": name, "use": "sig"} for name in self.published]
        return httpx.Response(200, json={"keys": keys}, headers={"Cache-Control": "max-age=300"})

    def _token(self, request: httpx.Request) -> httpx.Response:
        """RFC 6749 §4.1.3, RFC 7636 §4.6: checked as a provider would."""
        form = dict(parse_qsl(request.content.decode()))
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        wanted = {
            "grant_type": (form.get("grant_type"), "authorization_code"),
            "code": (form.get("code"), "the-code"),
            "redirect_uri": (form.get("redirect_uri"), BACK),
            "code_verifier": (challenge(form.get("code_verifier", "")), self.asked["code_challenge"]),
            "authorization": (request.headers.get("authorization"), f"Basic {basic}"),
        }
        self.faults += [name for name, (got, right) in wanted.items() if got != right]
        if self.faults:
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"access_token": "x", "token_type": "Bearer", "id_token": self.id_token()})

    def id_token(self) -> str:
        if self.token is not None:
            return self.token
        now = self.site.clock() // 1_000_000
        claims = {"iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": self.asked["nonce"]}
        said = {name: value for name, value in (claims | self.claims).items() if value is not None}
        return jws.serialize_compact(self.header, json.dumps(said).encode(), self.key, algorithms=[self.header["alg"]])

    async def go(self, url: str = LOGIN) -> dict[str, str]:
        """Follow the browser from a page of ours to the provider; what it brings along."""
        page = await self.site.browser.get(url)
        while page.headers.get("location", "").startswith(ORIGIN):
            page = await self.site.browser.get(page.headers["location"])
        location = page.headers.get("location", "")
        assert (page.status_code, location.startswith(f"{ISSUER}/authorize?realm=1&")) == (303, True), page.text
        self.asked = dict(parse_qsl(urlsplit(location).query))
        return self.asked

    async def back(self, **changes: Any) -> httpx.Response:
        """The provider sends the browser back; a change to None leaves a parameter out."""
        given = {"code": "the-code", "state": self.asked["state"]} | changes
        return await self.site.browser.get(f"{BACK}?{urlencode({n: v for n, v in given.items() if v is not None})}")

    async def sign_in(self, **changes: Any) -> httpx.Response:
        await self.go()
        return await self.back(**changes)


@pytest.fixture
def routes() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
async def site(store_kind: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A whole server over each store, with a browser; every name stands for one public address."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1" if host.endswith(".internal") else "8.8.8.8"]

    async with open_site(store_kind, tmp_path, resolve=resolve) as made:
        yield made


@pytest.fixture
async def provider(site: Site, routes: respx.MockRouter) -> OpenIdProvider:
    """The provider of the clinic `demo`, configured."""
    await configure(site, CONFIGURATION)
    return OpenIdProvider(site, routes)


async def configure(site: Site, given: dict[str, Any], tenant: str = "demo") -> None:
    assert providers.faults(given) == []
    await site.write(lambda unit: providers.save(unit, site.parts.services.seal, given, SECRET), tenant)


async def last_login(site: Site) -> tuple[str, str]:
    return [event[1:] for event in await site.audited() if event[0] == "login"][-1]


async def check_refused(site: Site, answer: httpx.Response, why: str, status: int = 400) -> None:
    """A plain page, no session, and an entry in the log."""
    assert answer.status_code == status, answer.text
    assert "You are not signed in" in answer.text
    assert all(cookie.name != "__Secure-session" for cookie in site.browser.cookies.jar)
    assert await last_login(site) == ("4", why)


# What it is for


async def test_from_the_app_to_the_provider_and_back_with_a_token(site: Site, provider: OpenIdProvider) -> None:
    """The whole way: app, authorize, provider, callback, consent, code, token."""
    asked = await provider.go(site.authorize_url(scope="launch/patient openid fhirUser patient/*.rs"))
    assert (asked["response_type"], asked["client_id"], asked["redirect_uri"], asked["scope"]) == (
        "code", CLIENT, BACK, "openid",
    )  # fmt: skip
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    answer = await provider.back()
    consent = await site.browser.get(answer.headers["location"])
    assert "Allow Health App?" in consent.text
    body = (await site.redeem(await site.redirected(await site.press(consent, "allow")))).json()
    assert body["patient"] == "anna"
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200
    assert provider.faults == []
    assert [event[:2] for event in await site.audited()] == [
        ("account-link", "0"), ("login", "0"), ("consent", "0"), ("token", "0"), ("read", "0"),
    ]  # fmt: skip


async def test_no_password_is_asked_and_none_is_taken(site: Site, provider: OpenIdProvider) -> None:
    """Neither by an old form, nor by a passkey."""
    await site.write(providers.remove)
    page = Page(await site.browser.get(LOGIN))
    await configure(site, CONFIGURATION)
    fields = [pair for pair in page.fields if pair[0] != "name"]
    sent = [*fields, ("name", "anna"), ("password", "demo-anna")]
    assert (await site.submit(LOGIN, sent)).status_code == 403
    assert (await site.submit(f"{LOGIN}/passkey", fields)).status_code == 403
    assert (await site.browser.get(f"{ORIGIN}/demo/auth/passkeys")).status_code == 404
    other = await site.browser.get(f"{ORIGIN}/other/auth/login")
    assert 'name="password"' in other.text  # each clinic for itself
    assert (await site.browser.get(f"{ORIGIN}/other/auth/callback?state=x&code=x")).status_code == 404


async def test_somebody_else_may_sign_in_for_an_app_that_refuses_the_first(
    site: Site, provider: OpenIdProvider
) -> None:
    """The provider has to ask again, else the browser would go round in circles."""
    await provider.sign_in()
    asked = await provider.go(site.authorize_url(client_id="portal", scope="user/*.rs"))
    assert asked["prompt"] == "login"
    provider.claims = {"sub": "person-2", "preferred_username": "dr-lee"}
    answer = await provider.back()
    assert "Signed in as <strong>Dr-Lee" in (await site.browser.get(answer.headers["location"])).text


async def test_what_the_app_asks_of_the_sign_in_is_asked_of_the_provider(site: Site, provider: OpenIdProvider) -> None:
    """OpenID Connect Core §3.1.2.1: prompt, max_age, and auth_time as its proof."""
    now = site.clock() // 1_000_000
    asked = await provider.go(site.authorize_url(prompt="login", max_age="60"))
    assert (asked["prompt"], asked["max_age"]) == ("login", "60")
    await check_refused(site, await provider.back(), "token auth_time")
    await provider.go(site.authorize_url(max_age="60"))
    provider.claims["auth_time"] = now - 600
    await check_refused(site, await provider.back(), "token auth_time")
    await provider.go(site.authorize_url(max_age="60", scope="openid patient/*.rs launch/patient"))
    provider.claims["auth_time"] = now - 30
    consent = await site.browser.get((await provider.back()).headers["location"])
    got = await site.redirected(await site.press(consent, "allow"))
    token = (await site.redeem(got)).json()["id_token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(token + "=="))["auth_time"] == now - 30


async def test_signing_out_here_says_that_it_is_here_only(site: Site, provider: OpenIdProvider) -> None:
    await provider.sign_in()
    answer = await site.press(await site.browser.get(f"{ORIGIN}/demo/auth/logout"), "")
    assert "still be signed in at Example Login" in answer.text


# Who somebody is here


async def test_an_account_is_linked_once_and_names_do_not_matter_after(site: Site, provider: OpenIdProvider) -> None:
    """§5.7: only iss and sub say who it is."""
    assert (await provider.sign_in()).status_code == 303
    site.browser.cookies.clear()
    provider.claims["preferred_username"] = "ben"  # the same person, renamed
    await provider.sign_in()
    assert "Anna" in (await site.browser.get(LOGIN)).text
    site.browser.cookies.clear()
    provider.claims = {"sub": "person-2", "preferred_username": "anna"}  # somebody else, by anna's name
    await check_refused(site, await provider.sign_in(), "unknown person", 403)
    assert await site.write(lambda unit: provider_accounts.unlink(unit, "anna"))
    assert not await site.write(lambda unit: provider_accounts.unlink(unit, "anna"))
    assert (await provider.sign_in()).status_code == 303


async def test_an_unknown_person_gets_a_plain_page(site: Site, provider: OpenIdProvider) -> None:
    for name in ("nobody", "", None, 7, ["anna"], "\ud800", "an na", "x" * 5000):
        provider.claims["preferred_username"] = name
        answer = await provider.sign_in()
        await check_refused(site, answer, "unknown person", 403)
        assert "does not know you" in answer.text
        assert "Begin again" not in answer.text


async def test_a_disabled_person_is_not_let_in(site: Site, provider: OpenIdProvider) -> None:
    await site.write(lambda unit: accounts.disable(unit, "anna"))
    await check_refused(site, await provider.sign_in(), "unknown person", 403)
    await configure(site, CREATES)
    await check_refused(site, await provider.sign_in(), "unknown person", 403)


async def test_an_email_address_counts_when_it_is_verified(site: Site, provider: OpenIdProvider) -> None:
    await site.write(lambda unit: accounts.save(unit, Account("a@b.example", "x", "patient", "Patient/anna")))
    await configure(site, CONFIGURATION | {"account-claim": "email"})
    for verified in (None, False, "true", 1):
        provider.claims = {"sub": "p", "email": "A@b.example", "email_verified": verified}
        await check_refused(site, await provider.sign_in(), "unknown person", 403)
    provider.claims["email_verified"] = True
    assert (await provider.sign_in()).status_code == 303


async def test_claims_that_are_required_have_to_be_there(site: Site, provider: OpenIdProvider) -> None:
    await configure(site, CONFIGURATION | {"required-claims": {"tenant": "north"}})
    await check_refused(site, await provider.sign_in(), "unknown person", 403)
    provider.claims["tenant"] = "north"
    assert (await provider.sign_in()).status_code == 303


async def test_an_account_is_made_where_the_configuration_says_so(site: Site, provider: OpenIdProvider) -> None:
    """With the role and resource that the claims name, kept as they are there, and without a password."""
    await configure(site, CREATES)
    provider.claims = {"sub": "p", "preferred_username": "Dr-May", "name": "Dr. May", "groups": ["x", "physicians"],
                       "fhirUser": f"{ORIGIN}/demo/fhir/Practitioner/lee"}  # fmt: skip
    answer = await provider.sign_in()
    assert "Dr. May" in (await site.browser.get(answer.headers["location"])).text
    made = await site.write(lambda unit: accounts.load(unit, "dr-may"))
    assert made == Account("dr-may", NO_PASSWORD, "practitioner", "Practitioner/lee", "Dr. May")
    provider.claims |= {"groups": "reception"}
    site.browser.cookies.clear()
    await provider.sign_in()
    assert (await site.write(lambda unit: accounts.load(unit, "dr-may"))).role == "front-desk"
    site.browser.cookies.clear()
    provider.claims["groups"] = ["x"]
    await check_refused(site, await provider.sign_in(), "unknown person", 403)
    await site.write(providers.remove)
    for password in ("", NO_PASSWORD, "the password of nobody"):
        page = Page(await site.browser.get(LOGIN))
        fields = [pair for pair in page.fields if pair[0] != "name"]
        answer = await site.submit(page.action, [*fields, ("name", "dr-may"), ("password", password)])
        assert answer.status_code == 401, password


NO_ACCOUNT: list[dict[str, Any]] = [
    {"fhirUser": None},
    {"fhirUser": "Practitioner/unknown"},
    {"fhirUser": "Patient/anna"},
    {"fhirUser": f"{ORIGIN}/other/fhir/Practitioner/lee"},
    {"fhirUser": "https://evil.example/Practitioner/lee"},
    {"fhirUser": "Practitioner/lee/_history/1"},
    {"fhirUser": ["Practitioner/lee"]},
    {"groups": None},
    {"groups": [["physicians"]]},
    {"groups": {"physicians": 1}},
    {"preferred_username": "../x y"},
]


async def test_claims_that_name_no_account_make_none(site: Site, provider: OpenIdProvider) -> None:
    await configure(site, CREATES)
    sound = {"sub": "p", "preferred_username": "may", "groups": "physicians", "fhirUser": "Practitioner/lee"}
    for changes in NO_ACCOUNT:
        provider.claims = sound | changes
        await check_refused(site, await provider.sign_in(), "unknown person", 403)
        assert await site.write(lambda unit: accounts.load(unit, "may")) is None, changes
    provider.claims = sound
    assert (await provider.sign_in()).status_code == 303


async def test_an_account_with_a_password_keeps_its_role(site: Site, provider: OpenIdProvider) -> None:
    await configure(site, CREATES)
    provider.claims |= {"groups": "physicians", "fhirUser": "Practitioner/lee"}
    assert (await provider.sign_in()).status_code == 303
    assert (await site.write(lambda unit: accounts.load(unit, "anna"))).role == "patient"


# The callback attacked


async def test_a_state_that_was_not_given_out_is_refused(site: Site, provider: OpenIdProvider) -> None:
    await provider.go()
    for state in ("", None, "made-up", "x" * 5000, "\u00e9"):
        await check_refused(site, await provider.back(state=state), "state")
    assert not provider.exchange.called


async def test_a_state_counts_once(site: Site, provider: OpenIdProvider) -> None:
    assert (await provider.sign_in()).status_code == 303
    site.browser.cookies.delete("__Secure-session", domain="fhir.example.org", path="/demo/auth")
    await check_refused(site, await provider.back(), "state")
    assert provider.exchange.call_count == 1


async def test_a_state_is_its_browsers_and_for_ten_minutes(site: Site, provider: OpenIdProvider) -> None:
    """Login CSRF: nobody is signed in by a link that an attacker has begun."""
    await provider.go()
    site.browser.cookies.clear()
    await check_refused(site, await provider.back(), "state")
    first = await provider.go()
    site.browser.cookies.clear()
    await provider.go()
    await check_refused(site, await provider.back(state=first["state"]), "state")
    await provider.go()
    site.clock.advance(601)
    await check_refused(site, await provider.back(), "state")


async def test_a_state_of_another_provider_is_refused(site: Site, provider: OpenIdProvider) -> None:
    await provider.go()
    await configure(site, CONFIGURATION | {"issuer": "https://login.example.net/realms/other"})
    await check_refused(site, await provider.back(), "state")


@pytest.mark.parametrize("announced", [True, None])
async def test_an_answer_of_another_issuer_is_refused(
    site: Site, provider: OpenIdProvider, announced: bool | None
) -> None:
    """Mix-up (RFC 9207 §2.4)."""
    provider.metadata["authorization_response_iss_parameter_supported"] = announced
    await check_refused(site, await provider.sign_in(iss="https://evil.example.com"), "iss")
    assert not provider.exchange.called
    if announced:
        await check_refused(site, await provider.sign_in(), "iss")
    assert (await provider.sign_in(iss=ISSUER)).status_code == 303


async def test_a_refusal_of_the_provider_is_told(site: Site, provider: OpenIdProvider) -> None:
    """And nothing of what it wrote is on the page; the way back keeps the app's request."""
    await provider.go(site.authorize_url())
    answer = await provider.back(code=None, error="access_denied", error_description="<script>alert(1)</script>")
    await check_refused(site, answer, "denied")
    assert "Example Login did not sign you in" in answer.text
    assert "script" not in answer.text
    assert "/login?request=response_type%3Dcode" in answer.text
    await check_refused(site, await provider.sign_in(code=None), "denied")


async def test_parameters_given_twice_are_refused(site: Site, provider: OpenIdProvider) -> None:
    await provider.go()
    answer = await site.browser.get(f"{BACK}?state={provider.asked['state']}&code=a&code=b")
    assert answer.status_code == 400
    assert not provider.exchange.called


# The provider's answers


async def test_a_bad_token_signs_nobody_in(site: Site, provider: OpenIdProvider) -> None:
    """Over HTTP, one of each kind."""
    for changes, why in (({"nonce": "another"}, "nonce"), ({"aud": "x"}, "aud"), ({"exp": 1_799_999_000}, "exp")):
        provider.claims = {"sub": "person-1", "preferred_username": "anna"} | changes
        answer = await provider.sign_in()
        await check_refused(site, answer, f"token {why}")
        assert "cannot be trusted" in answer.text
    provider.claims = {"sub": "person-1", "preferred_username": "anna"}
    provider.token = "not a token"
    await check_refused(site, await provider.sign_in(), "token form")


async def test_new_keys_of_the_provider_are_asked_for(site: Site, provider: OpenIdProvider) -> None:
    """When a token names one that is not known yet; but not at every such token."""
    assert (await provider.sign_in()).status_code == 303
    provider.published, provider.header, provider.key = ["other"], {"alg": "RS256", "kid": "other"}, KEYS["other"]
    site.browser.cookies.clear()
    await check_refused(site, await provider.sign_in(), "token key")  # too soon after the first
    assert provider.jwks.call_count == 1
    site.clock.advance(31)
    assert (await provider.sign_in()).status_code == 303
    assert provider.jwks.call_count == 2


DOWN: tuple[Any, ...] = (
    httpx.ConnectError("no"), httpx.ReadTimeout("no"), httpx.Response(500), httpx.Response(200, content=b"<html>"),
    httpx.Response(200, json=[]), httpx.Response(200, content=b"x" * 70_000),
)  # fmt: skip


@pytest.mark.parametrize("place", ["discovery", "jwks", "exchange"])
async def test_a_provider_that_is_down_is_told(site: Site, provider: OpenIdProvider, place: str) -> None:
    route = getattr(provider, place)
    right = route.side_effect
    for answer in DOWN:
        site.clock.advance(301)  # nothing is kept from before
        route.side_effect = right
        if place != "discovery":
            await provider.go()
        route.side_effect = answer if isinstance(answer, Exception) else [answer]
        got = await site.browser.get(LOGIN) if place == "discovery" else await provider.back()
        await check_refused(site, got, "unavailable", 503)


async def test_a_code_that_the_provider_refuses_is_told(site: Site, provider: OpenIdProvider) -> None:
    await check_refused(site, await provider.sign_in(code="another"), "code")


UNSOUND: list[dict[str, Any]] = [
    {"issuer": "https://evil.example.com"},
    {"issuer": None},
    {"token_endpoint": None},
    {"jwks_uri": 7},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "http://login.example.net/a"},
    {"token_endpoint": "file:///etc/passwd"},
]


async def test_an_unsound_discovery_document_leads_nowhere(site: Site, provider: OpenIdProvider) -> None:
    """OpenID Connect Discovery §4.3."""
    for metadata in UNSOUND:
        provider.metadata = metadata
        await check_refused(site, await site.browser.get(LOGIN), "discovery")
        site.clock.advance(301)


async def test_no_address_inside_is_called_unless_the_operator_says_so(
    site: Site, provider: OpenIdProvider, routes: respx.MockRouter
) -> None:
    """Server-side request forgery through the discovery document."""
    provider.metadata["token_endpoint"] = "https://keys.internal/token"
    inside = routes.post("https://10.0.0.1/token").mock(side_effect=provider._token)
    await check_refused(site, await provider.sign_in(), "unavailable", 503)
    assert not inside.called
    await configure(site, CONFIGURATION | {"private-network": True})
    assert (await provider.sign_in()).status_code == 303


async def test_the_client_may_send_its_secret_by_form_or_have_none(site: Site, provider: OpenIdProvider) -> None:
    for method, sent in (("client_secret_post", {"client_id": CLIENT, "client_secret": SECRET}),
                         ("none", {"client_id": CLIENT})):  # fmt: skip
        await configure(site, CONFIGURATION | {"client-authentication": method})
        await provider.sign_in()
        form = dict(parse_qsl(provider.exchange.calls.last.request.content.decode()))
        assert sent.items() <= form.items()
        assert ("client_secret" in form) is ("client_secret" in sent)
        assert "authorization" not in provider.exchange.calls.last.request.headers


async def test_nothing_of_it_is_in_the_log(site: Site, provider: OpenIdProvider) -> None:
    """But why somebody was refused: no state, code, token or secret, nor what the provider calls people."""
    provider.claims = {"sub": "subject-77", "preferred_username": "somebody.else"}
    await provider.sign_in()
    asked, token = provider.asked, provider.id_token()
    await provider.go()
    await provider.back(code=None, error="access_denied", error_description="private-words")

    async def work(unit: Unit) -> Any:
        return await unit.audited(AuditQuery(count=1000))

    bodies = b"".join(entry.body for entry in await site.parts.store.run("demo", work, write=False))
    assert bodies.count(b"method=provider") == 2
    hidden = (asked["state"], asked["nonce"], "the-code", token, SECRET, "subject-77", "somebody.else", "private-words")
    assert [each for each in hidden if each.encode() in bodies] == []


# The configuration


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"issuer": "login.example.net"}, "issuer"), ({"issuer": "https://x/?a"}, "issuer"),
        ({"issuer": "https://user@x/"}, "issuer"), ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"), ({"algorithms": []}, "algorithms"), ({"scope": "email"}, "scope"),
        ({"accounts": "create"}, "the file"), ({"roles": {"claim": "x", "values": {"a": "practitioner"}}}, "the file"),
        ({"fhir-user-claim": "x", "accounts": "link"}, "accounts"),
        ({"accounts": "create", "fhir-user-claim": "x", "roles": {"claim": "x", "values": {"a": "root"}}}, "roles"),
        ({"secret": "x"}, "the file"), ({"name": ""}, "name"),
        ({"client-authentication": "private_key_jwt"}, "client-"),
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_cannot_serve_is_refused(given: dict[str, Any], place: str) -> None:
    assert any(fault.startswith(place) for fault in providers.faults(CONFIGURATION | given)), given
    assert providers.faults(CONFIGURATION) == providers.faults(CREATES) == []


async def test_the_secret_is_encrypted_at_rest_and_not_shown(site: Site) -> None:
    seal = seals.from_setting(base64.urlsafe_b64encode(b"k" * 32).decode())

    async def work(unit: Unit) -> bytes | None:
        await providers.save(unit, seal, CONFIGURATION, SECRET)
        return await unit.peek(providers.KIND, providers.SECRET)

    stored = await site.write(work)
    assert stored.startswith(b"AG1")
    assert SECRET.encode() not in stored
    found = await site.write(lambda unit: providers.load(unit, seal))
    assert found.secret == SECRET
    assert SECRET not in repr(found)
