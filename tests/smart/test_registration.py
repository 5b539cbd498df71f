"""Dynamic registration of apps (RFC 7591), off unless a setting allows it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.app import make_app, make_parts
from fhir_server.settings import Settings
from fhir_server.store.protocol import Unit
from smart_auth import register
from tests.smart.site import ORIGIN, FixedClock, Site, fill

APP = {"client_name": "My App", "redirect_uris": ["https://my.example.com/cb"], "token_endpoint_auth_method": "none"}


@pytest.fixture(params=["open", "token", "off"])
async def setting(request: Any) -> str:
    return str(request.param)


@pytest.fixture
async def server(tmp_path: Path, setting: str) -> AsyncIterator[Site]:
    clock = FixedClock()
    parts = make_parts(Settings(data=tmp_path, origin=ORIGIN, registration=setting), clock=clock)
    await fill(parts)
    app = make_app(parts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ORIGIN) as browser:
        yield Site(parts, clock, browser, app)
    await parts.store.close()


async def post(site: Site, body: Any, token: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await site.browser.post("/demo/auth/register", json=body, headers=headers)


async def initial(site: Site, leave: register.Leave = register.Leave()) -> str:  # noqa: B008
    async def work(unit: Unit) -> str:
        return await register.new_initial_token(unit, leave, site.clock() + 1_000_000_000)

    return str(await site.write(work))


@pytest.mark.parametrize("setting", ["open"])
async def test_an_app_for_patients_registers_itself(server: Site) -> None:
    answer = await post(server, APP)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["redirect_uris"] == APP["redirect_uris"]
    assert "client_secret" not in made
    url = server.authorize_url(made["client_id"], "launch/patient patient/*.rs", redirect_uri=APP["redirect_uris"][0])
    assert "Allow My App?" in (await server.sign_in(url, "anna")).text
    page = await server.browser.get("/demo/fhir/.well-known/smart-configuration")
    assert page.json()["registration_endpoint"] == f"{ORIGIN}/demo/auth/register"


@pytest.mark.parametrize("setting", ["open"])
async def test_a_confidential_app_gets_a_secret_once(server: Site) -> None:
    made = (await post(server, APP | {"token_endpoint_auth_method": "client_secret_basic"})).json()
    assert len(made["client_secret"]) > 40
    assert made["client_secret_expires_at"] == 0


@pytest.mark.parametrize("setting", ["open"])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://evil.example.com"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example.com/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://u:p@a.example.com/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://a.example.com/"}, "invalid_redirect_uri"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "x"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"scope": "system/*.cruds"}, "invalid_client_metadata"),
        ({"scope": "user/*.cruds"}, "invalid_client_metadata"),
        ({"client_name": "x" * 200}, "invalid_client_metadata"),
    ],
)
async def test_what_an_app_may_not_have_is_refused(server: Site, change: dict[str, Any], error: str) -> None:
    answer = await post(server, APP | change)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize("setting", ["token"])
async def test_an_initial_token_is_good_for_one_registration_of_its_surface(server: Site) -> None:
    assert (await post(server, APP)).status_code == 401
    assert (await post(server, APP, "wrong")).status_code == 401
    token = await initial(server, register.Leave("provider-portal", "launch user/*.rs"))
    assert (await post(server, APP | {"scope": "user/*.cruds"}, token)).status_code == 400
    made = await post(server, APP | {"scope": "user/*.rs"}, token)
    assert made.status_code == 201
    assert (await post(server, APP, token)).status_code == 401


@pytest.mark.parametrize("setting", ["off"])
async def test_registration_is_off_by_default(server: Site) -> None:
    assert Settings().registration == "off"
    assert (await post(server, APP)).status_code == 404


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="FHIR_SERVER_REGISTRATION"):
        make_parts(replace(Settings(data=tmp_path), registration="yes"))
