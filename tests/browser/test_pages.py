"""The pages for people in a real browser: without scripts, at a phone's width, and by axe's rules of accessibility."""

import re
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urlencode

import httpx
import pytest
from selenium.webdriver.common.by import By

from tests.browser import install
from tests.browser.chromium import PHONE, Person
from tests.cli.running import Server, run

CALLBACK = "http://localhost:4567/callback"
LONG = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


def asked(
    server: Server, client: str = "patient-portal", scope: str = f"launch/patient patient/Patient.rs {LONG}"
) -> str:
    """Where an app sends a person, with a challenge of its own."""
    query = {"response_type": "code", "client_id": client, "redirect_uri": CALLBACK, "scope": scope, "state": "s" * 30,
             "aud": server.base, "code_challenge": "c" * 43, "code_challenge_method": "S256"}  # fmt: skip
    return f"{server.origin}/demo/auth/authorize?{urlencode(query)}"


def to_login(person: Person, server: Server) -> None:
    person.go(asked(server))
    person.until_heading("Sign in")


def to_login_refused(person: Person, server: Server) -> None:
    to_login(person, server)
    person.fill(name="nobody", password="wrong")
    person.press("Sign in")
    person.until_heading("Sign in")
    assert person.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text


def to_consent(person: Person, server: Server) -> None:
    person.go(asked(server))
    person.sign_in("anna")
    person.until_heading("Allow")


def to_picker(person: Person, server: Server) -> None:
    person.go(asked(server, "provider-portal", "launch/patient patient/Patient.rs"))
    person.sign_in("dr-lee")
    person.until_heading("Choose a patient")


def to_picker_empty(person: Person, server: Server) -> None:
    to_picker(person, server)
    person.fill(name="Nobody by this name")
    person.press("Search")
    person.until_heading("Choose a patient")
    assert not person.choices()


def to_signed_in(person: Person, server: Server) -> None:
    person.go(f"{server.origin}/demo/auth/login")
    person.sign_in("anna")
    person.until_heading("You are signed in")


def to_signed_out(person: Person, server: Server) -> None:
    to_signed_in(person, server)
    person.press("Sign out")
    person.until_heading("You are signed out")


def to_failure(person: Person, server: Server) -> None:
    person.go(f"{server.origin}/demo/auth/authorize?client_id={'unknown' * 30}")
    person.until_heading("This did not work")


def to_who_looked(person: Person, server: Server) -> None:
    """An app shows it, since the browser has no token."""
    words = ("token", "--tenant", "demo", "--client", "auditor", "--scope", "system/AuditEvent.rs")
    token = run(*words, "--origin", server.origin, "--data", server.data).stdout.strip()
    page = httpx.get(f"{server.base}/Patient/anna/$who-looked", headers={"Authorization": f"Bearer {token}"})
    assert page.status_code == 200, page.text
    person.go(f"data:text/html;charset=utf-8;base64,{b64encode(page.content).decode()}")
    person.until_heading("Who looked at")


def to_docs(person: Person, server: Server) -> None:
    person.go(f"{server.origin}/docs")
    person.until_heading("What this server offers")


def to_login_by_passkey(person: Person, server: Server) -> None:
    """Where nobody is verified, the page says what else there is to do."""
    person.carry_authenticator()
    person.browser.set_user_verified(False)
    person.go(f"{server.origin}/demo/auth/login")
    person.press("Sign in with a passkey", leads_on=False)
    person.until_status("No passkey was used.")


def to_passkeys(person: Person, server: Server) -> None:
    person.carry_authenticator()
    to_signed_in(person, server)
    person.follow("Your passkeys")
    person.until_heading("Your passkeys")


def to_passkeys_with_one(person: Person, server: Server) -> None:
    to_passkeys(person, server)
    person.fill(label="the phone that I bought in spring, " + "1234567890" * 3)
    person.press("Add a passkey")
    person.until_heading("Your passkeys")
    assert "the phone that I bought in spring" in person.text


def to_passkeys_failed(person: Person, server: Server) -> None:
    """Another page of the person has removed it meanwhile."""
    to_passkeys_with_one(person, server)
    person.browser.execute_script("document.querySelector('[name=passkey]').value = 'gone'")
    person.press("Remove")
    person.until_heading("Your passkeys")
    assert person.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text


def to_provider_refused(person: Person, server: Server) -> None:
    """The provider sends the person back with an error."""
    person.go(f"{server.origin}/north/auth/login")
    person.until_heading("You are not signed in")
    assert "Northside Login did not sign you in." in person.text
    person.follow("Begin again")
    person.until_heading("You are not signed in")


def to_provider_unknown(person: Person, server: Server) -> None:
    """The callback as nobody's browser was sent to it."""
    person.go(f"{server.origin}/north/auth/callback?error=access_denied&state=unknown")
    person.until_heading("You are not signed in")
    assert "was not begun in this browser" in person.text


PAGES: tuple[Callable[[Person, Server], None], ...] = (
    to_login, to_login_refused, to_consent, to_picker, to_picker_empty, to_signed_in, to_signed_out, to_failure,
    to_docs, to_who_looked,
)  # fmt: skip
PAGES_BY_NAME: tuple[Callable[[Person, Server], None], ...] = (
    to_login_by_passkey, to_passkeys, to_passkeys_with_one, to_passkeys_failed, to_provider_refused,
    to_provider_unknown,
)  # fmt: skip


@pytest.mark.parametrize("go", PAGES, ids=lambda go: go.__name__)
def test_a_page_fits_a_phone_and_everybody(server: Server, phone: Person, go: Callable[[Person, Server], None]) -> None:
    go(phone, server)
    check_fits(phone)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("go", PAGES_BY_NAME, ids=lambda go: go.__name__)
def test_a_page_that_a_name_is_needed_for_fits_too(
    by_name: Server, phone: Person, go: Callable[[Person, Server], None]
) -> None:
    go(phone, by_name)
    check_fits(phone)


def check_fits(phone: Person) -> None:
    """No scrolling sideways, fingers hit what they aim at, and axe finds nothing against WCAG 2.2 A and AA."""
    script = phone.browser.execute_script
    assert script("return document.documentElement.scrollWidth") <= PHONE["width"]
    for button in phone.browser.find_elements(By.CSS_SELECTOR, "button, .button, .choice"):
        assert button.size["height"] >= 44, button.text
    assert phone.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
    title = phone.browser.title
    assert title.startswith(phone.heading) or phone.heading in title or "fhir-server" in title
    script(install.script("axe-core").read_text(encoding="utf-8"))
    found = phone.browser.execute_async_script(
        "const done = arguments[0]; axe.run({ resultTypes: ['violations'] }).then((made) => done("
        "made.violations.map((one) => [one.id, one.help, one.nodes.map((node) => node.html)])))"
    )
    assert found == []


def test_axe_finds_what_is_wrong(phone: Person, server: Server) -> None:
    """The check can fail: a field that loses its label is found."""
    to_login(phone, server)
    phone.browser.execute_script("document.querySelector('label[for=password]').remove()")
    phone.browser.execute_script(install.script("axe-core").read_text(encoding="utf-8"))
    found = phone.browser.execute_async_script(
        "axe.run().then((made) => arguments[0](made.violations.map((v) => v.id)))"
    )
    assert "label" in found


def test_a_launch_needs_no_script_on_the_clinics_pages(server: Server, scriptless: Person) -> None:
    """Sign-in, a failed one first, consent with one scope less, and the redirect with a code."""
    to_login_refused(scriptless, server)
    scriptless.sign_in("anna")
    scriptless.until_heading("Allow")
    assert scriptless.choices() == ["launch/patient", "patient/Patient.rs", LONG]
    scriptless.tick(LONG)
    scriptless.press("Allow")
    scriptless.until_heading("Appointments")
    assert re.match(rf"{CALLBACK}\?code=\S+&state={'s' * 30}&iss=", scriptless.browser.current_url)
    assert scriptless.browser.find_element(By.ID, "state").text == "loading"  # no script ran


def test_picking_a_patient_needs_no_script(server: Server, scriptless: Person) -> None:
    to_picker_empty(scriptless, server)
    scriptless.fill(name="ave")
    scriptless.press("Search")
    scriptless.until_heading("Choose a patient")
    scriptless.tick("anna")
    scriptless.press("Continue")
    scriptless.until_heading("Allow")
    assert "Anna Avery" in scriptless.text
    scriptless.press("Allow")
    scriptless.until_heading("Appointments")
    assert "code=" in scriptless.browser.current_url
