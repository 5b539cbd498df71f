"""Attacks on the authorization server, each tried (RFC 9700, OWASP)."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest

from fhir_server.store.protocol import Unit
from smart_auth import accounts, keys
from smart_auth.accounts import Account
from tests.smart.site import CALLBACK, CHEAP, ORIGIN, SECRET, Page, Site
from tests.smart.test_standalone_launch import FULL, refresh


async def check_invalid_grant(answer: Any) -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant"), answer.text


# Codes (RFC 9700 §4.5)


async def test_a_code_is_good_once_and_its_second_use_revokes_what_came_of_it(site: Site) -> None:
    """RFC 6749 §4.1.2."""
    got = await site.code(scope=FULL)
    first = (await site.redeem(got)).json()
    assert (await site.get("Patient/anna", first["access_token"])).status_code == 200
    await check_invalid_grant(await site.redeem(got))
    assert (await site.get("Patient/anna", first["access_token"])).status_code == 401
    await check_invalid_grant(await refresh(site, first["refresh_token"]))


async def test_of_many_who_redeem_a_code_at_once_one_gets_a_token(site: Site) -> None:
    got = await site.code()
    answers = await asyncio.gather(*(site.redeem(got) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9


async def test_a_code_lives_a_minute(site: Site) -> None:
    got = await site.code()
    site.clock.advance(61)
    await check_invalid_grant(await site.redeem(got))


async def test_a_code_of_another_client_is_refused(site: Site) -> None:
    """Code injection: a code that was stolen from one client and is brought by another."""
    await check_invalid_grant(await site.redeem(await site.code(), "second"))


async def test_a_code_of_another_session_is_refused(site: Site) -> None:
    """Code injection into the attacker's own session at the same client: PKCE binds the code to its request."""
    stolen = await site.code()
    own = site.authorize_url(state="own")
    assert own
    await check_invalid_grant(await site.redeem(stolen, code_verifier=site.verifier_of["own"]))


async def test_a_code_goes_with_its_redirect_uri(site: Site) -> None:
    await check_invalid_grant(await site.redeem(await site.code(), redirect_uri=CALLBACK + "/"))
    assert (await site.redeem(await site.code(), redirect_uri=None)).status_code == 400


async def test_a_code_of_another_clinic_is_refused(site: Site) -> None:
    got = await site.code()
    async with site.app_http() as http:
        form = {"grant_type": "authorization_code", "code": got["code"], "redirect_uri": CALLBACK, "client_id": "app",
                "code_verifier": site.verifier_of[got["state"]]}  # fmt: skip
        answer = await http.post(f"{ORIGIN}/other/auth/token", data=form)
    assert answer.status_code == 401


@pytest.mark.parametrize("verifier", [None, "", "short", "x" * 43, "x" * 200])
async def test_pkce_cannot_be_left_out_or_guessed(site: Site, verifier: str | None) -> None:
    """RFC 7636 §4.6, RFC 9700 §4.8."""
    assert (await site.redeem(await site.code(), code_verifier=verifier)).status_code == 400


@pytest.mark.parametrize(
    "more",
    [
        {"code_challenge": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": "short"},
    ],
)
async def test_pkce_cannot_be_downgraded(site: Site, more: dict[str, str | None]) -> None:
    got = await site.redirected(await site.browser.get(site.authorize_url(**more)))
    assert got["error"] == "invalid_request"


async def test_a_confidential_client_needs_its_secret_beside_the_code(site: Site) -> None:
    got = await site.code("dr-lee", client_id="portal", scope="user/*.rs")
    assert (await site.redeem(got, "portal")).status_code == 401
    assert (await site.redeem(got, "portal", client_secret="wrong")).status_code == 401
    assert (await site.redeem(got, "portal", client_secret=SECRET)).status_code == 200


# Redirects (RFC 9700 §4.1, §4.11)


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.com/", CALLBACK + "/", CALLBACK + "?x=1", CALLBACK + "#x", CALLBACK + "/../evil",
        "https://app.example.com:443/callback", "https://APP.example.com/callback", "http://app.example.com/callback",
        "https://app.example.com@evil.example.com/callback", "https://app.example.com/callback%2f..",
        "https://app.example.com.evil.example.com/callback", "javascript:alert(1)", "", None,
    ],
)  # fmt: skip
async def test_nobody_is_sent_to_an_unregistered_uri(site: Site, uri: str | None) -> None:
    for more in ({}, {"response_type": "token"}, {"scope": "nonsense"}, {"prompt": "none"}):
        answer = await site.browser.get(site.authorize_url(**(more | {"redirect_uri": uri})))
        assert answer.status_code == 400
        assert "location" not in answer.headers


@pytest.mark.parametrize("client_id", ["nobody", "", None, "../app", "resource-server"])
async def test_an_unknown_client_is_told_on_a_page(site: Site, client_id: str | None) -> None:
    answer = await site.browser.get(site.authorize_url(client_id=client_id))  # type: ignore[arg-type]
    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_a_parameter_given_twice_is_refused(site: Site) -> None:
    assert (await site.browser.get(site.authorize_url() + "&client_id=second")).status_code == 400
    assert (await site.browser.get(site.authorize_url() + "&redirect_uri=https://evil.example.com")).status_code == 400
    got = await site.redirected(await site.browser.get(site.authorize_url() + "&scope=openid"))
    assert got["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"state": None}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://evil.example.com/fhir"}, "invalid_request"),
        ({"aud": f"{ORIGIN}/other/fhir"}, "invalid_request"),
        ({"resource": "https://evil.example.com/fhir"}, "invalid_request"),
        ({"request": "eyJ"}, "invalid_request"),
        ({"request_uri": "https://evil.example.com"}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "patient/*.dus"}, "invalid_scope"),
        ({"scope": "patient/Nothing.rs"}, "invalid_scope"),
        ({"scope": "launch/encounter"}, "invalid_scope"),
    ],
)
async def test_a_malformed_request_is_told_by_redirect(site: Site, more: dict[str, Any], error: str) -> None:
    """RFC 6749 §4.1.2.1, RFC 9207 §2: with `iss`, against mix-up."""
    got = await site.redirected(await site.browser.get(site.authorize_url(**more)))
    assert got["error"] == error
    assert got["iss"] == f"{ORIGIN}/demo/auth"
    assert got["error_description"]


@pytest.mark.parametrize("target", ["https://evil.example.com", "//evil.example.com", "javascript:alert(1)"])
async def test_signing_in_leads_nowhere_else(site: Site, target: str) -> None:
    page = await site.browser.get(f"{ORIGIN}/demo/auth/login?{urlencode({'request': target})}")
    fields = [(name, value) for name, value in Page(page).fields if name != "name"]
    answer = await site.submit(Page(page).action, [*fields, ("name", "anna"), ("password", "demo-anna")])
    assert answer.headers["location"].startswith(f"{ORIGIN}/demo/auth/authorize?")


# CSRF and clickjacking (RFC 9700 §4.7, §4.16)


async def test_login_consent_and_logout_are_taken_from_our_own_forms_only(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(), "anna")
    fields = [pair for pair in Page(page).fields if pair[0] != "scope"]
    forged = [(name, "0" * 64 if name == "form_token" else value) for name, value in fields]
    for action in ("consent", "login", "logout"):
        url = f"{ORIGIN}/demo/auth/{action}"
        without = [pair for pair in fields if pair[0] != "form_token"]
        for sent in (forged, without, [*without, ("form_token", "\u00e9")]):
            answer = await site.submit(url, [*sent, ("action", "allow"), ("name", "anna"), ("password", "demo-anna")])
            assert answer.status_code == 403, action
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for origin in ("cross-site", "same-site"):
        content = urlencode([*Page(page).fields, ("action", "allow")])
        answer = await site.browser.post(Page(page).action, content=content, headers=kind | {"Sec-Fetch-Site": origin})
        assert answer.status_code == 403
    assert "code" in await site.redirected(await site.press(page, "allow"))


async def test_a_form_of_one_session_is_no_good_in_another(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(), "anna")
    site.browser.cookies.clear()
    await site.sign_in(f"{ORIGIN}/demo/auth/login", "ben")
    assert (await site.press(page, "allow")).status_code == 403


# The one script there is, on the pages with a button for passkeys.
SCRIPT = f'<script src="{ORIGIN}/demo/auth/passkeys.js" defer></script>'


async def test_pages_cannot_be_framed_cached_or_leaked_and_run_no_other_script(site: Site) -> None:
    login = await site.browser.get(f"{ORIGIN}/demo/auth/login")
    consent = await site.sign_in(site.authorize_url(), "anna")
    pages = [consent, login, await site.browser.get(f"{ORIGIN}/demo/auth/login"),
             await site.browser.get(f"{ORIGIN}/demo/auth/authorize")]  # fmt: skip
    pages.append(await site.press(consent, "deny"))
    assert [SCRIPT in page.text for page in pages] == [False, True, False, False, False]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        runs = [part for part in policy.split("; ") if part.startswith(("script-src", "connect-src"))]
        with_script = [f"script-src {ORIGIN}/demo/auth/passkeys.js", "connect-src 'self'"]
        assert runs == (with_script if SCRIPT in page.text else [])
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in page.text.replace(SCRIPT, "")
    assert f"form-action 'self' {CALLBACK.removesuffix('/callback')};" in consent.headers["content-security-policy"]


async def test_what_a_request_says_is_escaped(site: Site) -> None:
    """Cross-site scripting."""
    evil = "\"><script>alert('x')</script>"
    for page in (
        await site.browser.get(f"{ORIGIN}/demo/auth/login?{urlencode({'request': evil})}"),
        await site.sign_in(site.authorize_url(state=evil, nonce=evil), "anna"),
        await site.browser.get(site.authorize_url(client_id=evil)),
    ):
        assert "<script" not in page.text.replace(SCRIPT, "")


async def test_cookies_are_for_this_server_alone(site: Site) -> None:
    page = await site.browser.get(f"{ORIGIN}/demo/auth/login")
    fields = [(n, v) for n, v in Page(page).fields if n != "name"] + [("name", "anna"), ("password", "demo-anna")]
    answer = await site.submit(Page(page).action, fields)
    for cookie in (page.headers["set-cookie"], answer.headers["set-cookie"]):
        assert cookie.startswith("__Secure-")
        for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/demo/auth"):
            assert part in cookie


async def test_a_session_gets_a_new_value_at_sign_in_and_ends_at_sign_out(site: Site) -> None:
    """Session fixation."""
    site.browser.cookies.set("__Secure-session", "chosen-by-an-attacker", domain="fhir.example.org", path="/demo/auth")
    await site.sign_in(site.authorize_url(), "anna")
    values = [cookie.value for cookie in site.browser.cookies.jar if cookie.name == "__Secure-session"]
    assert values
    assert "chosen-by-an-attacker" not in values
    page = await site.browser.get(f"{ORIGIN}/demo/auth/logout")
    await site.press(page, "")
    site.browser.cookies.set("__Secure-session", str(values[-1]), domain="fhir.example.org", path="/demo/auth")
    answer = await site.browser.get(site.authorize_url())
    assert "/login" in answer.headers["location"]


async def test_a_session_ends_by_itself(site: Site) -> None:
    await site.sign_in(f"{ORIGIN}/demo/auth/login", "anna")
    for _ in range(3):
        site.clock.advance(20 * 60)
        assert (await site.browser.get(site.authorize_url())).status_code == 200
    site.clock.advance(31 * 60)
    assert "/login" in (await site.browser.get(site.authorize_url())).headers["location"]


# Passwords


async def test_a_name_is_locked_after_five_failures_and_opens_again(site: Site) -> None:
    for _ in range(5):
        answer = await site.sign_in(site.authorize_url(), "anna", "wrong")
        assert answer.status_code == 401
    assert (await site.sign_in(site.authorize_url(), "anna")).status_code == 401
    site.clock.advance(121)
    assert "Allow Health App?" in (await site.sign_in(site.authorize_url(), "anna")).text


async def test_guesses_made_at_once_are_counted_before_they_are_tried(site: Site) -> None:
    url = f"{ORIGIN}/demo/auth/login"
    page = Page(await site.browser.get(url))
    fields = [pair for pair in page.fields if pair[0] != "name"] + [("name", "anna")]
    wrong = [site.submit(page.action, [*fields, ("password", f"guess-{n}")]) for n in range(20)]
    await asyncio.gather(*wrong)
    answer = await site.submit(page.action, [*fields, ("password", "demo-anna")])
    assert answer.status_code == 401
    found = [description for subtype, _, description in await site.audited() if subtype == "login"]
    assert found.count("failed") == 5
    assert found.count("locked") == 16


async def test_an_address_is_slowed_whatever_names_it_tries(site: Site) -> None:
    page = Page(await site.browser.get(f"{ORIGIN}/demo/auth/login"))
    fields = [pair for pair in page.fields if pair[0] != "name"]
    for n in range(50):
        await site.submit(page.action, [*fields, ("name", f"user-{n}"), ("password", "x")])
    answer = await site.submit(page.action, [*fields, ("name", "anna"), ("password", "demo-anna")])
    assert answer.status_code == 401


async def test_right_passwords_buy_an_address_no_more_guesses(site: Site) -> None:
    """However many of the attacker's own sign-ins there are, at once or in turn."""
    page = Page(await site.browser.get(f"{ORIGIN}/demo/auth/login"))
    fields = [pair for pair in page.fields if pair[0] != "name"]

    async def tries(name: str, password: str) -> int:
        return (await site.submit(page.action, [*fields, ("name", name), ("password", password)])).status_code

    for n in range(45):
        assert await tries(f"user-{n}", "x") == 401
    assert await asyncio.gather(tries("anna", "demo-anna"), tries("anna", "demo-anna")) == [303, 303]
    assert [await tries("ben", "demo-ben") for _ in range(3)] == [303] * 3
    for n in range(5):
        assert await tries(f"other-{n}", "x") == 401
    assert await tries("anna", "demo-anna") == 401
    site.clock.advance(3601)
    assert await tries("anna", "demo-anna") == 303


async def test_answers_do_not_tell_who_has_an_account(site: Site) -> None:
    """User enumeration: the same status, words and headers, before and after the lock."""

    async def disabled(unit: Unit) -> None:
        await accounts.save(unit, Account("gone", CHEAP.hash("demo-gone"), "patient", "Patient/gone", disabled=True))

    await site.write(disabled)
    seen = []
    for name, password in (("anna", "wrong"), ("nobody", "wrong"), ("gone", "demo-gone"), ("'; --", "x")):
        answers = [await site.sign_in(f"{ORIGIN}/demo/auth/login", name, password) for _ in range(6)]
        seen.append([(a.status_code, "wrong, or there were too many" in a.text) for a in answers])
    assert seen[0] == [(401, True)] * 6
    assert all(each == seen[0] for each in seen)


async def test_a_password_is_never_in_a_url_or_a_log(site: Site) -> None:
    answer = await site.browser.get(f"{ORIGIN}/demo/auth/login?name=anna&password=demo-anna")
    assert "demo-anna" not in answer.text
    await site.code()
    assert "demo-anna" not in repr(await site.audited())


# Refresh tokens (RFC 9700 §4.14)


async def test_an_old_refresh_token_revokes_the_family(site: Site) -> None:
    first = await site.tokens(scope=FULL)
    second = (await refresh(site, first["refresh_token"])).json()
    await check_invalid_grant(await refresh(site, first["refresh_token"]))
    await check_invalid_grant(await refresh(site, second["refresh_token"]))
    for body in (first, second):
        assert (await site.get("Patient/anna", body["access_token"])).status_code == 401


async def test_of_many_who_refresh_at_once_at_most_one_gets_tokens(site: Site) -> None:
    token = (await site.tokens(scope=FULL))["refresh_token"]
    answers = await asyncio.gather(*(refresh(site, token) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9


async def test_a_refresh_token_is_its_clients_alone(site: Site) -> None:
    token = (await site.tokens(scope=FULL))["refresh_token"]
    await check_invalid_grant(await refresh(site, token, "second"))
    assert (await refresh(site, token)).status_code == 200


@pytest.mark.parametrize("scope", ["patient/Condition.rs", "user/*.cruds", f"{FULL} patient/*.cruds", "openid x"])
async def test_a_refresh_cannot_widen_the_scope(site: Site, scope: str) -> None:
    token = (await site.tokens(scope=FULL))["refresh_token"]
    answer = await refresh(site, token, scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert (await refresh(site, token)).status_code == 200


# Tokens in the wrong place, and CORS


async def test_a_token_in_the_url_does_not_count(site: Site) -> None:
    """RFC 9700 §4.3.2."""
    token = (await site.tokens())["access_token"]
    answer = await site.get(f"Observation?access_token={token}")
    assert answer.status_code in (400, 403)


async def test_an_id_token_opens_nothing(site: Site) -> None:
    token = (await site.tokens(scope=FULL))["id_token"]
    assert (await site.get("Patient/anna", token)).status_code == 401


async def test_only_the_clients_own_origin_reads_its_tokens(site: Site) -> None:
    """The Fetch standard: without the header a browser withholds the answer."""
    for origin, may in (("https://app.example.com", True), ("https://evil.example.com", False)):
        got = await site.code()
        form = {"grant_type": "authorization_code", "code": got["code"], "redirect_uri": CALLBACK, "client_id": "app",
                "code_verifier": site.verifier_of[got["state"]]}  # fmt: skip
        answer = await site.post("token", form, Origin=origin)
        assert ("access-control-allow-origin" in answer.headers) is may
        assert "access-control-allow-credentials" not in answer.headers
        answer = await site.get("metadata", Origin=origin)
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_registered_apps_may_read_the_fhir_base_from_a_browser(site: Site) -> None:
    token = (await site.tokens())["access_token"]
    site.clock.advance(11)  # a clinic's settings are read anew each ten seconds
    answer = await site.get("Observation", token, Origin="https://app.example.com")
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    answer = await site.get("Observation", token, Origin="https://evil.example.com")
    assert "access-control-allow-origin" not in answer.headers


async def test_what_happened_is_in_the_audit_log(site: Site) -> None:
    """R-6.5: sign-ins, refusals, consent, tokens, refreshes, revocations."""
    await site.sign_in(site.authorize_url(), "anna", "wrong")
    body = await site.tokens(scope=FULL)
    again = (await refresh(site, body["refresh_token"])).json()
    await site.post("revoke", {"token": again["refresh_token"], "client_id": "app"})
    await site.browser.get(site.authorize_url(aud="https://evil.example.com"))
    await site.press(await site.browser.get(f"{ORIGIN}/demo/auth/logout"), "")
    assert [(subtype, outcome) for subtype, outcome, _ in await site.audited()] == [
        ("login", "4"), ("login", "0"), ("consent", "0"), ("token", "0"), ("refresh", "0"), ("revoke", "0"),
        ("authorize", "4"), ("logout", "0"),
    ]  # fmt: skip


async def test_keys_are_replaced_by_age(site: Site) -> None:
    first = await site.parts.services.signing_key("demo")
    site.clock.advance(91 * 24 * 3600)
    second = await site.parts.services.signing_key("demo")
    assert second.kid != first.kid
    published = (await site.browser.get("/demo/auth/jwks")).json()["keys"]
    assert {first.kid, second.kid} <= {key["kid"] for key in published}
    await site.write(lambda unit: keys.withdraw(unit, first.kid))
