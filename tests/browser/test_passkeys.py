"""Passkeys in a real browser, with an authenticator that Chromium plays (WebAuthn Level 2 §11).

Here the pages' script and a browser's own doing are what is tested; tests/smart/test_passkeys.py has the attacks.
"""

import json
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.virtual_authenticator import Credential

from tests.browser.chromium import Person
from tests.cli.running import Server

APP = "http://localhost:4567"
SIGN_IN = "Sign in with a passkey"


@pytest.fixture
def anna(by_name: Server, person: Person) -> Person:
    """anna at a browser, which knows a passkey of hers; she is signed out."""
    person.carry_authenticator()
    to_passkeys(person, by_name)
    person.fill(label="my phone")
    person.press("Add a passkey")
    person.until_heading("Your passkeys")
    assert "my phone" in person.text
    sign_out(person, by_name)
    return person


def to_passkeys(person: Person, server: Server) -> None:
    """anna's passkeys, after she typed her password."""
    to_login(person, server)
    person.sign_in("anna")
    person.until_heading("You are signed in")
    person.follow("Your passkeys")
    person.until_heading("Your passkeys")


def sign_out(person: Person, server: Server) -> None:
    person.go(f"{server.origin}/demo/auth/logout")
    person.press("Sign out")
    person.until_heading("You are signed out")


def to_login(person: Person, server: Server) -> None:
    person.go(f"{server.origin}/demo/auth/login")
    person.until_heading("Sign in")


def alert(person: Person) -> str:
    return person.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text


@pytest.mark.requirement("R-6.2")
def test_a_patient_signs_in_to_an_app_with_a_passkey(by_name: Server, anna: Person) -> None:
    """From the app to the sign-in page, one button, consent, and the app reads: nothing is typed."""
    anna.go(f"{APP}/launch/patient?iss={by_name.base}")
    anna.until_heading("Sign in")
    anna.press(SIGN_IN)
    anna.until_heading("Allow Patient portal?")
    anna.press("Allow")
    told = json.loads(anna.until_app("ready"))
    assert (told["patient"], told["observations"]) == ("anna", 200)
    anna.go(f"{by_name.origin}/demo/auth/passkeys")
    assert "last used" in anna.text


def test_a_device_has_one_passkey_of_a_person(by_name: Server, anna: Person) -> None:
    """§5.4.3, `excludeCredentials`: the page says so, and nothing is added."""
    to_login(anna, by_name)
    anna.press(SIGN_IN)
    anna.until_heading("You are signed in")
    anna.follow("Your passkeys")
    anna.until_heading("Your passkeys")
    before = anna.text.count("Added")
    anna.press("Add a passkey", leads_on=False)
    anna.until_status("This device has a passkey for you already.")
    anna.browser.refresh()
    assert anna.text.count("Added") == before


def test_a_passkey_that_was_removed_is_refused_with_words(by_name: Server, anna: Person) -> None:
    """The authenticator does not know that, and signs; the page is that of a wrong password, and the password works."""
    to_login(anna, by_name)
    anna.press(SIGN_IN)
    anna.until_heading("You are signed in")
    anna.follow("Your passkeys")
    anna.until_heading("Your passkeys")
    while anna.browser.find_elements(By.NAME, "passkey"):
        anna.press("Remove")
        anna.until_heading("Your passkeys")
    assert "You have no passkey yet." in anna.text
    sign_out(anna, by_name)
    to_login(anna, by_name)
    anna.press(SIGN_IN)
    anna.until_heading("Sign in")
    assert alert(anna).startswith("The name, the password, the code or the passkey is wrong")
    anna.sign_in("anna")
    anna.until_heading("You are signed in")


def test_another_key_under_the_id_of_a_passkey_is_refused(by_name: Server, anna: Person) -> None:
    """Whoever knows id and handle of a passkey has nothing: the signature is another's."""
    (own,) = anna.browser.get_credentials()
    assert own.user_handle is not None
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    forged = Credential.create_resident_credential(
        decode(own.id), own.rp_id, decode(own.user_handle), key, own.sign_count + 5
    )
    anna.browser.remove_all_credentials()
    anna.browser.add_credential(forged)
    to_login(anna, by_name)
    anna.press(SIGN_IN)
    anna.until_heading("Sign in")
    assert alert(anna).startswith("The name, the password, the code or the passkey is wrong")
    anna.browser.remove_all_credentials()
    anna.browser.add_credential(own)
    anna.press(SIGN_IN)
    anna.until_heading("You are signed in")  # nothing else was amiss


def test_whoever_is_not_verified_stays_on_the_page(by_name: Server, anna: Person) -> None:
    """Another's finger: the browser gives nothing out, and the page tells what else there is to do."""
    anna.browser.set_user_verified(False)
    to_login(anna, by_name)
    anna.press(SIGN_IN, leads_on=False)
    anna.until_status("No passkey was used. Try again, or go on without.")
    assert anna.browser.switch_to.active_element.text == SIGN_IN  # who uses the keyboard is not sent to the top
    anna.browser.set_user_verified(True)
    anna.press(SIGN_IN)
    anna.until_heading("You are signed in")


def test_without_scripts_no_page_offers_what_needs_them(by_name: Server, scriptless: Person) -> None:
    """The password signs in; the page of passkeys says what adding one needs."""
    to_login(scriptless, by_name)
    assert SIGN_IN not in scriptless.text
    to_passkeys(scriptless, by_name)
    assert "needs JavaScript" in scriptless.text


def test_a_browser_without_passkeys_says_so(by_name: Server, person: Person) -> None:
    """Not every browser has them, nor every view of the web within an app."""
    script = {"source": "delete window.PublicKeyCredential"}
    person.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    to_login(person, by_name)
    assert SIGN_IN not in person.text
    to_passkeys(person, by_name)
    assert "This browser cannot use passkeys." in person.text
    assert not person.browser.find_element(By.NAME, "label").is_displayed()


def test_enter_in_the_field_adds_a_passkey(by_name: Server, person: Person) -> None:
    """A form is sent by Enter too, and would go without a passkey."""
    person.carry_authenticator()
    to_passkeys(person, by_name)
    page = person.browser.find_element(By.TAG_NAME, "html")
    person.browser.find_element(By.NAME, "label").send_keys("my computer", Keys.ENTER)
    person.until_left(page, "Enter")
    person.until_heading("Your passkeys")
    assert "my computer" in person.text
    assert not person.browser.find_elements(By.CSS_SELECTOR, "[role=alert]")


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
