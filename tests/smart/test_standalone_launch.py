"""A standalone launch from discovery to data, over HTTP with a browser's pages (SMART App Launch 2.2.0)."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_server.interactions.access import Access, Agent, Grant
from fhir_server.interactions.repository import Repository
from fhir_server.store.protocol import Unit
from smart_auth import accounts, clients
from smart_auth.clients import Client
from tests.smart.site import CALLBACK, ORIGIN, SECRET, Page, Site

FULL = "launch/patient openid fhirUser offline_access patient/Observation.rs patient/Patient.r"


@pytest.mark.requirement("R-6.2", "R-8.4")
async def test_a_patient_launches_an_app_and_reads_own_records(site: Site) -> None:
    body = await site.tokens(scope=FULL, nonce="n-1")
    assert body["token_type"] == "Bearer"
    assert body["scope"] == FULL
    assert (body["patient"], body["need_patient_banner"], body["tenant"]) == ("anna", True, "demo")
    assert body["expires_in"] <= 3600
    assert "encounter" not in body
    assert "fhirContext" not in body
    found = (await site.get("Observation", body["access_token"])).json()
    assert {entry["resource"]["id"] for entry in found["entry"]} == {"lab", "vital"}
    assert (await site.get("Observation/bens", body["access_token"])).status_code == 404
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200


async def test_the_id_token_says_who_signed_in(site: Site) -> None:
    """OpenID Connect Core §2, SMART fhirUser."""
    body = await site.tokens(scope=FULL, nonce="n-1")
    keys = KeySet.import_key_set((await site.browser.get("/demo/auth/jwks")).json())
    token = jwt.decode(body["id_token"], keys, algorithms=["RS256"])
    claims = token.claims
    now = site.clock() // 1_000_000
    assert token.header["kid"]
    assert claims["iss"] == f"{ORIGIN}/demo/auth"
    assert (claims["aud"], claims["sub"], claims["nonce"]) == ("app", "anna", "n-1")
    assert claims["fhirUser"] == f"{ORIGIN}/demo/fhir/Patient/anna"
    assert claims["iat"] == now
    assert claims["exp"] > now
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200


async def test_without_openid_there_is_no_id_token_and_without_offline_no_refresh_token(site: Site) -> None:
    body = await site.tokens(scope="launch/patient patient/*.rs")
    assert not {"id_token", "refresh_token"} & body.keys()


async def test_the_answer_names_its_issuer_and_returns_the_state(site: Site) -> None:
    """RFC 9207 §2."""
    got = await site.code(state="a state & more")
    assert (got["state"], got["iss"]) == ("a state & more", f"{ORIGIN}/demo/auth")


async def test_a_request_by_form_is_answered_as_one_by_url(site: Site) -> None:
    """SMART `authorize-post`."""
    await site.sign_in(f"{ORIGIN}/demo/auth/login", "anna")
    url = site.authorize_url()
    answer = await site.browser.post(
        f"{ORIGIN}/demo/auth/authorize",
        content=url.partition("?")[2],
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 303
    page = await site.browser.get(answer.headers["location"])
    assert "code" in await site.redirected(await site.press(page, "allow"))


async def test_resource_is_a_synonym_of_aud(site: Site) -> None:
    got = await site.code(aud=None, resource=f"{ORIGIN}/demo/fhir")
    assert "code" in got


@pytest.mark.requirement("R-6.3")
async def test_a_person_may_grant_less_than_asked(site: Site) -> None:
    page = await site.sign_in(
        site.authorize_url(scope="launch/patient patient/Observation.rs patient/Patient.r"), "anna"
    )
    assert "Anna Berg" in page.text
    got = await site.redirected(await site.press(page, "allow", scope="patient/Patient.r"))
    body = (await site.redeem(got)).json()
    assert body["scope"] == "patient/Patient.r"
    assert (await site.get("Observation", body["access_token"])).status_code == 403


async def test_granting_nothing_is_a_refusal(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(), "anna")
    assert (await site.redirected(await site.press(page, "allow", scope="")))["error"] == "access_denied"


async def test_more_than_was_asked_cannot_be_granted(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(scope="launch/patient patient/Patient.r"), "anna")
    got = await site.redirected(await site.press(page, "allow", scope="user/*.cruds"))
    assert got["error"] == "access_denied"


async def test_a_person_may_refuse(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(state="s"), "anna")
    got = await site.redirected(await site.press(page, "deny"))
    assert got == {"error": "access_denied", "error_description": "The person refused.", "state": "s",
                   "iss": f"{ORIGIN}/demo/auth"}  # fmt: skip


OVER: dict[str, dict[str, Any]] = {
    "not active": {"active": False},
    "ended": {"period": {"end": "2020-01-01"}},
    "ended last month": {"period": {"start": "2020", "end": "2026-12"}},
    "not begun": {"period": {"start": "2027-02"}},
    "another patient": {"patient": {"reference": "Patient/anna"}},
}


async def relate(site: Site, **relation: Any) -> None:
    """Change the RelatedPerson who is ben's mother, as the clinic's administrators would."""
    clinic = await site.parts.clinics.get("demo")
    access = Access(Agent("administrator"), {"RelatedPerson": (Grant(frozenset("ru")),)})
    mum = {"resourceType": "RelatedPerson", "id": "mum", "patient": {"reference": "Patient/ben"}}

    async def work(unit: Unit) -> None:
        repository = Repository(unit, clinic, access, is_import=True)
        await repository.update(await repository.read("RelatedPerson", "mum"), mum | relation)

    await site.write(work)


@pytest.mark.requirement("R-6.2")
@pytest.mark.parametrize("why", OVER)
async def test_a_proxy_acts_for_nobody_once_the_relation_is_over(site: Site, why: str) -> None:
    """Within a minute by tokens that were issued, and by no new one."""
    body = await site.tokens("mum", scope="launch/patient patient/*.cruds offline_access")
    assert (await site.get("Patient/ben", body["access_token"])).status_code == 200
    await relate(site, **OVER[why])
    site.clock.advance(61)
    assert (await site.get("Patient/ben", body["access_token"])).status_code in (403, 404)
    answer = await refresh(site, body["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.requirement("R-6.2")
@pytest.mark.parametrize(
    "period", [{"start": "2027"}, {"end": "2027-01"}, {"start": "2020-01-01", "end": "2027-01-15"}]
)
async def test_a_proxy_goes_on_while_the_relation_lasts(site: Site, period: dict[str, str]) -> None:
    """A month or a year that is named lasts to its last day."""
    body = await site.tokens("mum", scope="launch/patient patient/*.cruds offline_access")
    await relate(site, active=True, period=period)
    site.clock.advance(61)
    assert (await site.get("Patient/ben", body["access_token"])).status_code == 200
    assert (await refresh(site, body["refresh_token"])).json()["patient"] == "ben"


async def test_a_proxy_acts_for_the_patient_of_the_relation(site: Site) -> None:
    body = await site.tokens("mum", scope="launch/patient patient/Observation.rs")
    assert body["patient"] == "ben"
    found = (await site.get("Observation", body["access_token"])).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["bens"]


async def test_a_provider_picks_the_patient(site: Site) -> None:
    url = site.authorize_url("portal", "launch/patient patient/Observation.rs")
    page = await site.sign_in(url, "dr-lee")
    assert "Anna Berg" in page.text
    assert "Ben Adler" in page.text
    page = await site.press(page, "find", name="berg")
    assert "Ben Adler" not in page.text
    nobody = await site.press(page, "choose")
    assert "Choose a patient first" in nobody.text
    page = await site.press(page, "choose", patient="anna")
    assert "Allow portal?" in page.text
    got = await site.redirected(await site.press(page, "allow"))
    body = (await site.redeem(got, "portal", client_secret=SECRET)).json()
    assert body["patient"] == "anna"
    assert (await site.get("Observation/bens", body["access_token"])).status_code == 404
    searches = [entry for entry in await site.audited() if entry[0] == "search-type"]
    assert len(searches) == 2 + 1 + 1  # an event for each patient that was listed: two at first, then one, twice


async def test_a_patient_who_is_not_there_cannot_be_picked(site: Site) -> None:
    page = await site.sign_in(site.authorize_url("portal", "launch/patient patient/*.rs"), "dr-lee")
    for id_ in ("nobody", "../x", "a b"):
        assert (await site.redirected(await site.press(page, "choose", patient=id_)))["error"] == "access_denied"


async def test_a_person_of_another_surface_has_to_sign_in_as_somebody_else(site: Site) -> None:
    page = await site.sign_in(site.authorize_url(), "dr-lee")
    assert page.status_code == 303
    assert "/login" in page.headers["location"]


@pytest.mark.parametrize("prompt", ["none"])
async def test_prompt_none_never_shows_a_page(site: Site, prompt: str) -> None:
    """OpenID Connect Core §3.1.2.6."""
    got = await site.redirected(await site.browser.get(site.authorize_url(prompt=prompt)))
    assert got["error"] == "login_required"
    await site.sign_in(f"{ORIGIN}/demo/auth/login", "anna")
    got = await site.redirected(await site.browser.get(site.authorize_url(prompt=prompt)))
    assert got["error"] == "consent_required"


async def test_prompt_login_and_max_age_ask_for_the_password_again(site: Site) -> None:
    await site.sign_in(f"{ORIGIN}/demo/auth/login", "anna")
    answer = await site.browser.get(site.authorize_url(prompt="login"))
    assert "/login" in answer.headers["location"]
    site.clock.advance(90)
    answer = await site.browser.get(site.authorize_url(max_age="60"))
    assert "/login" in answer.headers["location"]
    page = await site.sign_in(site.authorize_url(prompt="login"), "anna")
    assert "Allow Health App?" in page.text


# Refresh tokens


async def refresh(site: Site, token: str, client_id: str = "app", **more: str) -> Any:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id} | more
    return await site.post("token", form)


async def test_a_refresh_token_is_exchanged_for_new_ones(site: Site) -> None:
    """RFC 6749 §6."""
    first = await site.tokens(scope=FULL)
    answer = await refresh(site, first["refresh_token"])
    assert answer.status_code == 200, answer.text
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (second["scope"], second["patient"]) == (FULL, "anna")
    assert answer.headers["cache-control"] == "no-store"
    assert (await site.get("Observation", second["access_token"])).status_code == 200


async def test_a_refresh_may_ask_for_less_and_the_next_for_all_again(site: Site) -> None:
    first = await site.tokens(scope=FULL)
    second = (await refresh(site, first["refresh_token"], scope="patient/Patient.r")).json()
    assert second["scope"] == "patient/Patient.r"
    assert (await site.get("Observation", second["access_token"])).status_code == 403
    third = (await refresh(site, second["refresh_token"])).json()
    assert third["scope"] == FULL


async def test_a_public_client_need_not_name_itself_to_refresh(site: Site) -> None:
    """RFC 6749 §6; fhirclient sends no client_id. A used token still gives itself away."""
    token = (await site.tokens(scope=FULL))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    again = await site.post("token", form, Origin="https://app.example.com")
    assert again.status_code == 200
    assert again.headers["access-control-allow-origin"] == "https://app.example.com"
    assert (await site.post("token", form)).json()["error"] == "invalid_grant"
    assert (await site.get("Patient/anna", again.json()["access_token"])).status_code == 401
    of_portal = await site.redeem(
        await site.code("dr-lee", client_id="portal", scope="user/*.rs offline_access"), "portal", client_secret=SECRET
    )
    form = {"grant_type": "refresh_token", "refresh_token": of_portal.json()["refresh_token"]}
    assert (await site.post("token", form)).status_code == 401


async def test_online_access_ends_with_the_session(site: Site) -> None:
    body = await site.tokens(scope="launch/patient patient/*.rs online_access")
    again = (await refresh(site, body["refresh_token"])).json()
    page = await site.browser.get(f"{ORIGIN}/demo/auth/logout")
    await site.press(page, "")
    answer = await refresh(site, again["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_offline_access_outlasts_the_session(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    site.clock.advance(30 * 24 * 3600)
    again = await refresh(site, body["refresh_token"])
    assert again.status_code == 200
    site.clock.advance(91 * 24 * 3600)
    assert (await refresh(site, again.json()["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_disabled_person_is_out_at_once(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200
    await site.write(lambda unit: accounts.disable(unit, "anna"))
    site.clock.advance(1)
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 401
    assert (await refresh(site, body["refresh_token"])).json()["error"] == "invalid_grant"
    page = await site.browser.get(site.authorize_url())
    assert "/login" in page.headers["location"]


async def test_a_disabled_client_is_out_at_once_and_back_when_it_is_enabled(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    await site.write(lambda unit: clients.disable(unit, "app"))
    site.clock.advance(1)
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 401
    assert (await refresh(site, body["refresh_token"])).json()["error"] == "invalid_client"
    answer = await site.browser.get(site.authorize_url())
    assert answer.status_code == 400

    async def enable(unit: Unit) -> None:
        client = await clients.load(unit, "app")
        assert client is not None
        from dataclasses import replace

        await clients.save(unit, replace(client, disabled=False))

    await site.write(enable)
    site.clock.advance(1)
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200


# Revocation and introspection


async def test_a_revoked_refresh_token_takes_its_access_tokens_along(site: Site) -> None:
    """RFC 7009 §2.1."""
    body = await site.tokens(scope=FULL)
    answer = await site.post("revoke", {"token": body["refresh_token"], "client_id": "app"})
    assert answer.status_code == 200
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 401
    assert (await refresh(site, body["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_revoked_access_token_goes_alone(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    await site.post("revoke", {"token": body["access_token"], "client_id": "app"})
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 401
    again = (await refresh(site, body["refresh_token"])).json()
    assert (await site.get("Patient/anna", again["access_token"])).status_code == 200


async def test_a_client_revokes_its_own_tokens_only(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    for token in (body["access_token"], body["refresh_token"], "no token"):
        assert (await site.post("revoke", {"token": token, "client_id": "second"})).status_code == 200
    assert (await site.get("Patient/anna", body["access_token"])).status_code == 200
    assert (await refresh(site, body["refresh_token"])).status_code == 200


async def introspect(site: Site, token: str, **form: str) -> Any:
    return await site.post(
        "introspect", {"token": token, "client_id": "resource-server", "client_secret": SECRET} | form
    )


async def test_introspection_tells_of_an_active_token(site: Site) -> None:
    """RFC 7662 §2.2, SMART token-introspection."""
    body = await site.tokens(scope=FULL)
    found = (await introspect(site, body["access_token"])).json()
    assert found["active"] is True
    assert (found["scope"], found["client_id"], found["patient"], found["sub"]) == (FULL, "app", "anna", "anna")
    assert found["fhirUser"] == f"{ORIGIN}/demo/fhir/Patient/anna"
    assert found["exp"] > site.clock() // 1_000_000
    assert found["iss"] == f"{ORIGIN}/demo/auth"
    assert (await introspect(site, body["refresh_token"])).json()["active"] is True


async def test_introspection_tells_nothing_of_any_other(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    await site.post("revoke", {"token": body["refresh_token"], "client_id": "app"})
    for token in ("x", body["access_token"], body["refresh_token"]):
        answer = await introspect(site, token)
        assert (answer.status_code, answer.json()) == (200, {"active": False})


async def _sign_out(site: Site) -> None:
    page = await site.browser.get(f"{ORIGIN}/demo/auth/logout")
    await site.submit(Page(page).action, Page(page).fields)


async def _disable_person(site: Site) -> None:
    await site.write(lambda unit: accounts.disable(unit, "mum"))


async def _disable_app(site: Site) -> None:
    await site.write(lambda unit: clients.disable(unit, "app"))


async def _end_relation(site: Site) -> None:
    await relate(site, active=False)


async def _narrow_registration(site: Site) -> None:
    narrow = Client("app", "public", "patient-portal", ("launch/patient",), ("authorization_code", "refresh_token"),
                    (CALLBACK,))  # fmt: skip
    await site.write(lambda unit: clients.save(unit, narrow))


@pytest.mark.parametrize("ends", [_sign_out, _disable_person, _disable_app, _end_relation, _narrow_registration])
async def test_a_refresh_token_that_would_be_refused_is_not_active(site: Site, ends: Any) -> None:
    """RFC 7662 §4: what introspection says is what its use would get."""
    body = await site.tokens("mum", scope="launch/patient patient/*.cruds online_access")
    assert (await introspect(site, body["refresh_token"])).json()["active"] is True
    await ends(site)
    site.clock.advance(2)
    assert (await introspect(site, body["refresh_token"])).json() == {"active": False}
    assert (await refresh(site, body["refresh_token"])).status_code in (400, 401)


async def test_a_client_introspects_its_own_tokens_only(site: Site) -> None:
    body = await site.tokens(scope=FULL)
    as_portal = {"client_id": "portal", "client_secret": SECRET}
    assert (await introspect(site, body["access_token"], **as_portal)).json() == {"active": False}
    bearer = {"Authorization": f"Bearer {body['access_token']}"}
    own = await site.post("introspect", {"token": body["access_token"]}, **bearer)
    assert own.json()["active"] is True
    nobody = await site.post("introspect", {"token": body["access_token"], "client_id": "app"})
    assert nobody.status_code == 401


# Scopes with a search constraint


@pytest.mark.requirement("R-6.3")
async def test_a_constrained_scope_lets_only_matching_resources_through(site: Site) -> None:
    category = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
    body = await site.tokens(scope=f"launch/patient patient/Observation.rs?category={category}")
    token = body["access_token"]
    found = (await site.get("Observation", token)).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["lab"]
    assert (await site.get("Observation/lab", token)).status_code == 200
    assert (await site.get("Observation/vital", token)).status_code == 404
    assert (await site.get("Observation/bens", token)).status_code == 404


@pytest.mark.parametrize("query", ["nothing=x", "subject:Patient.name=x", "_has:Provenance:target:agent=x", "_count=3",
                                   "category:not=x", "_include=Observation:subject"])  # fmt: skip
async def test_a_constraint_that_cannot_be_enforced_is_refused(site: Site, query: str) -> None:
    got = await site.redirected(await site.browser.get(site.authorize_url(scope=f"patient/Observation.rs?{query}")))
    assert got["error"] == "invalid_scope"


PLAIN_IN_CONSTRAINTS = " ".join(
    f"patient/Observation.rs?code=http://x/scopes/{name}"
    for name in ("offline_access", "online_access", "openid", "fhirUser", "profile")
)


@pytest.mark.requirement("R-6.3")
async def test_the_value_of_a_constraint_is_no_scope(site: Site) -> None:
    """A refresh or ID token is for the scope that asks for it, which the person sees and the client may ask for."""
    plain = Client("plain", "public", "patient-portal", ("patient/Observation.rs",),
                   ("authorization_code", "refresh_token"), (CALLBACK,))  # fmt: skip
    await site.write(lambda unit: clients.save(unit, plain))
    body = await site.tokens(client_id="plain", scope=PLAIN_IN_CONSTRAINTS)
    assert body["scope"] == PLAIN_IN_CONSTRAINTS
    assert {"refresh_token", "id_token"}.isdisjoint(body)


@pytest.mark.parametrize("prefix", ["", "http://smarthealthit.org/fhir/scopes/"])
async def test_plain_scopes_count_in_their_uri_form_too(site: Site, prefix: str) -> None:
    named = " ".join(f"{prefix}{name}" for name in ("offline_access", "openid", "fhirUser"))
    body = await site.tokens(scope=f"launch/patient patient/Observation.rs {named}")
    assert {"refresh_token", "id_token"} <= body.keys()
