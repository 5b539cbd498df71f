"""One-time codes of authenticator apps at sign-in (RFC 6238 §5.2: a code counts once)."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest

from fhir_server.store.protocol import Unit
from smart_auth import totp
from tests.smart.site import ORIGIN, Page, Site


@pytest.fixture
async def app(site: Site) -> pyotp.TOTP:
    """anna's authenticator app."""

    async def work(unit: Unit) -> str:
        return await totp.set_up(unit, site.parts.services.seal, "anna", "demo")

    uri = await site.parts.store.run("demo", work, write=True)
    return pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0])


async def sign_in(site: Site, code: str | None, password: str = "demo-anna", name: str = "anna") -> httpx.Response:
    site.browser.cookies.clear()
    page = await site.browser.get(f"{ORIGIN}/demo/auth/login")
    form = Page(page)
    fields = [pair for pair in form.fields if pair[0] not in ("name", "password", "code")]
    fields += [("name", name), ("password", password), *([("code", code)] if code is not None else [])]
    return await site.submit(form.action, fields)


def at(app: pyotp.TOTP, site: Site, steps: int = 0) -> str:
    return app.generate_otp(site.clock() // 30_000_000 + steps)


async def test_a_person_with_an_app_needs_its_code(site: Site, app: pyotp.TOTP) -> None:
    for wrong in (None, "", "000000", "abc", "１２３４５６", at(app, site, -2), at(app, site, 2)):
        answer = await sign_in(site, wrong)
        assert answer.status_code == 401, wrong
        site.clock.advance(600)  # not locked out meanwhile
    assert (await sign_in(site, at(app, site))).status_code == 303


@pytest.mark.parametrize("steps", [-1, 0, 1])
async def test_a_code_counts_once(site: Site, app: pyotp.TOTP, steps: int) -> None:
    code = at(app, site, steps)
    assert (await sign_in(site, f"{code[:3]} {code[3:]}")).status_code == 303
    assert (await sign_in(site, code)).status_code == 401


async def test_a_wrong_code_is_answered_like_a_wrong_password(site: Site, app: pyotp.TOTP) -> None:
    wrong_code = await sign_in(site, "000000")
    wrong_password = await sign_in(site, at(app, site), "wrong")
    assert (wrong_code.status_code, wrong_password.status_code) == (401, 401)
    fields = [[pair for pair in Page(each).fields if pair[0] != "form_token"] for each in (wrong_code, wrong_password)]
    assert fields[0] == fields[1]
    assert [e[1:] for e in await site.audited() if e[0] == "login"] == [("4", "failed"), ("4", "failed")]


async def test_without_an_app_no_code_is_asked(site: Site) -> None:
    assert (await sign_in(site, None, "demo-ben", "ben")).status_code == 303
    assert (await sign_in(site, "123456", "demo-ben", "ben")).status_code == 303


async def test_the_secret_is_kept_out_of_plain_sight_and_can_be_removed(site: Site, app: pyotp.TOTP) -> None:
    async def work(unit: Unit) -> bool:
        return await totp.remove(unit, "anna")

    assert await site.parts.store.run("demo", work, write=True)
    assert not await site.parts.store.run("demo", work, write=True)
    assert (await sign_in(site, None)).status_code == 303
