"""EHR launches: handles that the provider portal makes, and what an app learns from them (SMART App Launch 2.2.0)."""

from typing import Any

import pytest

from tests.smart.site import ORIGIN, SECRET, Site

OPEN = {"patient": "anna", "encounter": "visit", "intent": "reconcile", "need_patient_banner": False}


async def portal_token(site: Site, scope: str = "user/*.cruds") -> str:
    answer = await site.redeem(
        await site.code("dr-lee", client_id="portal", scope=scope), "portal", client_secret=SECRET
    )
    return str(answer.json()["access_token"])


async def make(site: Site, token: str, **body: Any) -> Any:
    async with site.app_http() as http:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await http.post(f"{ORIGIN}/demo/auth/launch", json=body, headers=headers)


async def handle(site: Site, **body: Any) -> str:
    answer = await make(site, await portal_token(site), **body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["iss"] == f"{ORIGIN}/demo/fhir"
    return str(answer.json()["launch"])


async def test_an_app_learns_what_is_open(site: Site) -> None:
    context = [{"reference": "Observation/lab"}]
    launch = await handle(site, **OPEN, fhirContext=context)
    scope = "launch openid fhirUser patient/Observation.rs user/Patient.rs"
    page = await site.browser.get(site.authorize_url("portal", scope, launch=launch))
    assert "Anna Berg" in page.text
    got = await site.redirected(await site.press(page, "allow"))
    body = (await site.redeem(got, "portal", client_secret=SECRET)).json()
    assert (body["patient"], body["encounter"]) == ("anna", "visit")
    assert (body["need_patient_banner"], body["intent"]) == (False, "reconcile")
    assert body["fhirContext"] == context
    assert body["smart_style_url"] == f"{ORIGIN}/demo/auth/smart-style.json"
    style = await site.browser.get(body["smart_style_url"])
    assert style.json()["color_text"].startswith("#")
    found = (await site.get("Observation", body["access_token"])).json()
    assert {entry["resource"]["id"] for entry in found["entry"]} == {"lab", "vital"}
    told = await site.post(
        "introspect", {"token": body["access_token"], "client_id": "portal", "client_secret": SECRET}
    )
    assert (told.json()["patient"], told.json()["encounter"]) == ("anna", "visit")


async def test_a_handle_is_good_once_and_for_five_minutes(site: Site) -> None:
    launch = await handle(site, **OPEN)
    url = site.authorize_url("portal", "launch patient/*.rs", launch=launch)
    first, second = await site.browser.get(url), await site.browser.get(url)
    assert "code" in await site.redirected(await site.press(first, "allow"))
    assert (await site.redirected(await site.press(second, "allow")))["error"] == "invalid_request"
    assert (await site.redirected(await site.browser.get(url)))["error"] == "invalid_request"
    late = await handle(site, **OPEN)
    site.clock.advance(301)
    url = site.authorize_url("portal", "launch patient/*.rs", launch=late)
    assert (await site.redirected(await site.browser.get(url)))["error"] == "invalid_request"


async def test_a_handle_is_for_its_person_and_its_app(site: Site) -> None:
    launch = await handle(site, patient="anna", client_id="another")
    url = site.authorize_url("portal", "launch patient/*.rs", launch=launch)
    assert (await site.redirected(await site.browser.get(url)))["error"] == "invalid_request"
    launch = await handle(site, patient="anna")
    site.browser.cookies.clear()
    page = await site.sign_in(site.authorize_url("app", "launch patient/*.rs", launch=launch), "anna")
    assert (await site.redirected(page))["error"] == "invalid_request"


@pytest.mark.parametrize("more", [{"scope": "launch patient/*.rs"}, {"launch": "x", "scope": "patient/*.rs"}])
async def test_scope_and_parameter_go_together(site: Site, more: dict[str, str]) -> None:
    answer = await site.browser.get(site.authorize_url("app", **more))
    assert (await site.redirected(answer))["error"] == "invalid_request"


@pytest.mark.requirement("R-6.3")
async def test_only_a_person_who_sees_the_patient_makes_a_handle(site: Site) -> None:
    assert (await make(site, "", **OPEN)).status_code == 401
    assert (await make(site, "no-token", **OPEN)).status_code == 401
    anna = (await site.tokens(scope="launch/patient patient/*.rs"))["access_token"]
    assert (await make(site, anna, patient="ben")).status_code == 403
    site.browser.cookies.clear()
    lee = await portal_token(site)
    for body in ({"patient": "nobody"}, {"patient": "ben", "encounter": "visit"}):
        assert (await make(site, lee, **body)).status_code == 403
    form = {"grant_type": "client_credentials", "scope": "system/Patient.rs", "client_id": "resource-server",
            "client_secret": SECRET}  # fmt: skip
    machine = (await site.post("token", form)).json()["access_token"]
    assert (await make(site, machine, patient="anna")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"patient": 1}, {"patient": "../x"}, {"encounter": "visit"}, {"other": "x"}, {"intent": "x" * 300},
        {"fhirContext": [{}]}, {"fhirContext": ["Observation/1"]}, {"fhirContext": [{"reference": "Patient/anna"}]},
        {"fhirContext": [{"reference": "https://x/Observation/1"}]},
        {"fhirContext": [{"reference": "Observation/1", "role": ""}]}, {"fhirContext": [{"reference": "Group/1"}] * 21},
    ],
)  # fmt: skip
async def test_a_malformed_launch_is_refused(site: Site, body: dict[str, Any]) -> None:
    answer = await make(site, await portal_token(site), **body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
