"""Headless Chromium, driven by Selenium, that reaches the loopback interface and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import install

PHONE = {"width": 375, "height": 812, "pixelRatio": 2.0}
_WAIT_SECONDS = 60
# No sandbox: in containers there is none to be had as root. The rest keeps it from calling home.
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
          "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip


@contextmanager
def chromium(profile: Path, app_port: int, *, is_phone: bool = False, has_script: bool = True) -> Iterator[Chrome]:
    """A browser with a fresh profile, for whom the demo clients' redirect address is the app's port."""
    options = ChromeOptions()
    options.binary_location = install.program("chromium")
    rules = f"MAP localhost:4567 127.0.0.1:{app_port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
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

        self._wait().until(is_there, f"no heading '{begin}'")

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
            self._wait().until(expected_conditions.staleness_of(page), f"'{words}' leads nowhere")

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

    def _wait(self) -> "WebDriverWait[Chrome]":
        """A wait in which a page may be replaced while it is looked at."""
        return WebDriverWait(self.browser, _WAIT_SECONDS, ignored_exceptions=(StaleElementReferenceException,))

    def _choices(self) -> Sequence[Any]:
        return self.browser.find_elements(By.CSS_SELECTOR, "input[type=checkbox], input[type=radio]")

    def until_app(self, state: str) -> str:
        """Wait until the app shows something, which has to be this state, and return what it has seen, as JSON."""
        shown = self._wait().until(_app_state, "the app shows nothing")
        seen = self.browser.find_element(By.ID, "seen").text
        assert shown == state, f"the app is {shown}: {seen}"
        return seen


def _app_state(browser: Chrome) -> str | None:
    found = [each.text for each in browser.find_elements(By.ID, "state")]
    return found[0] if found and found[0] != "loading" else None
