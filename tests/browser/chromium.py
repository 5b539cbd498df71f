"""Headless Chromium, driven by Selenium, that reaches the loopback interface and nothing else."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import install

T = TypeVar("T")

PHONE = {"width": 375, "height": 812, "pixelRatio": 2.0}
_WAIT_SECONDS = 60
# No sandbox: in containers there is none to be had as root. The rest keeps it from calling home.
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


@contextmanager
def chromium(profile: Path, app_port: int, *, is_phone: bool = False, has_script: bool = True) -> Iterator[Chrome]:
    """A browser with a fresh profile, for whom the demo clients' redirect address is the app's port.

    `localhost` is the loopback by its rules, which come before the system's own ways.
    """
    options = ChromeOptions()
    options.binary_location = install.program("chromium")
    rules = f"MAP localhost:4567 127.0.0.1:{app_port}, MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--host-resolver-rules={rules}"):
        options.add_argument(flag)
    if is_phone:
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": PHONE})
    if not has_script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    browser = Chrome(options=options, service=Service(install.program("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


class Person:
    """Somebody at a browser: reads pages, fills in forms, presses buttons, all by the keyboard.

    The driver's clicks wait for a script of their own, and so for ever where scripts are off.
    """

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser

    @property
    def heading(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "h1").text

    @property
    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "main").text

    def go(self, url: str) -> None:
        self.browser.get(url)

    def until_heading(self, begin: str) -> None:
        def is_there(browser: Chrome) -> bool:
            return any(each.text.startswith(begin) for each in browser.find_elements(By.TAG_NAME, "h1"))

        self._until(is_there, f"no heading '{begin}'")

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            field = self.browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)

    def press(self, words: str, *, leads_on: bool = True) -> None:
        """Press the button that says so, and see the page that it leads to."""
        page = self.browser.find_element(By.TAG_NAME, "html")
        self.browser.find_element(By.XPATH, f"//button[normalize-space()='{words}']").send_keys(Keys.ENTER)
        if leads_on:
            self.until_left(page, words)

    def until_left(self, page: WebElement, words: str) -> None:
        """Wait until another page is there than the one with this root, by what says so."""

        def is_left(_: Chrome) -> bool:
            try:
                page.is_enabled()
            except WebDriverException as error:
                if _is_replaced(error):
                    return True
                raise
            return False

        self._until(is_left, f"'{words}' leads nowhere")

    def follow(self, words: str) -> None:
        """Follow the link that says so, and see the page that it leads to."""
        page = self.browser.find_element(By.TAG_NAME, "html")
        self.browser.find_element(By.LINK_TEXT, words).send_keys(Keys.ENTER)
        self.until_left(page, words)

    def until_status(self, words: str) -> None:
        """Wait until the page tells something without being left."""

        def is_told(browser: Chrome) -> bool:
            return any(words in each.text for each in browser.find_elements(By.CSS_SELECTOR, "[role=status]"))

        self._until(is_told, f"no status '{words}'")

    def carry_authenticator(self) -> None:
        """A phone's or a computer's own: it keeps passkeys and verifies its person (WebAuthn Level 2 §11)."""
        options = VirtualAuthenticatorOptions(
            transport="internal", has_resident_key=True, has_user_verification=True, is_user_verified=True
        )
        self.browser.add_virtual_authenticator(options)

    def sign_in(self, name: str) -> None:
        self.until_heading("Sign in")
        self.fill(name=name, password=f"demo-{name}")
        self.press("Sign in")

    def choices(self) -> Sequence[str]:
        """The values of the boxes and circles of the page."""
        return [str(each.get_attribute("value")) for each in self._choices()]

    def tick(self, value: str) -> None:
        """Tick the box, or take its tick away."""
        next(each for each in self._choices() if each.get_attribute("value") == value).send_keys(Keys.SPACE)

    def _until(self, look: Callable[[Chrome], T | None], missing: str) -> T:
        """What is seen at last; a page may be replaced while it is looked at."""

        def attempt(browser: Chrome) -> T | None:
            try:
                return look(browser)
            except WebDriverException as error:
                if _is_replaced(error):
                    return None
                raise

        seen = WebDriverWait(self.browser, _WAIT_SECONDS).until(attempt, missing)
        assert seen is not None  # it waits for something true
        return seen

    def _choices(self) -> Sequence[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, "input[type=checkbox], input[type=radio]")

    def until_app(self, state: str) -> str:
        """Wait until the app shows something, which has to be this state, and return what it has seen, as JSON."""
        shown = self._until(_app_state, "the app shows nothing")
        seen = self.browser.find_element(By.ID, "seen").text
        assert shown == state, f"the app is {shown}: {seen}"
        return seen


def _is_replaced(error: WebDriverException) -> bool:
    """Whether the page of an element is not there any more; while it goes, the driver says so in words alone."""
    is_going = "does not belong to the document" in (error.msg or "")
    return isinstance(error, StaleElementReferenceException) or is_going


def _app_state(browser: Chrome) -> str | None:
    found = [each.text for each in browser.find_elements(By.ID, "state")]
    return found[0] if found and found[0] != "loading" else None
