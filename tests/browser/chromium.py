"""A headless Chromium of this machine, and a person who uses it: signs in, looks, and is watched for faults."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Says of each thing that the page's policy forbade what it was; read by `Visit.faults`.
_WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


def find_chromium():
    """Give the path of a Chromium or Chrome, None where there is none."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or (str(MAC) if MAC.exists() else None)


class Visit:
    """One person's browser. `faults` tells what went wrong in it so far."""

    def __init__(self, context, url):
        self.context = context
        self.url = url
        self.page = context.new_page()
        self._said = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._said.append(f"page error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("response", self._answered)

    def _hear(self, message):
        if message.type in {"error", "warning"}:
            self._said.append(f"console {message.type}: {message.text}")

    def _dialog(self, dialog):
        self._said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _answered(self, response):
        if response.status >= 500:
            self._said.append(f"{response.status} {response.url}")

    def faults(self):
        """Give what the console, the page's policy and the server said, and forget it."""
        violations = self.page.evaluate("window.__violations || []")
        said, self._said = [*self._said, *(f"policy: {one}" for one in violations)], []
        self.page.evaluate("window.__violations = []")
        return said

    def faults_expected(self, word):
        """Take it that an answer which the test itself provoked is told in the console."""
        self.page.wait_for_timeout(200)
        self._said = [said for said in self._said if word not in said]

    def go(self, path):
        return self.page.goto(self.url + path, wait_until="load")

    def sign_in(self, name, password):
        self.go("/sign-in")
        self.page.get_by_role("textbox", name="Name").or_(
            self.page.get_by_role("textbox", name="Nombre")
        ).fill(name)
        self.page.locator("input[type=password]").fill(password)
        self.page.locator("button[type=submit]").first.click()
        self.page.wait_for_load_state("networkidle")
        return self

    def text(self):
        return self.page.locator("#content").inner_text()


@contextmanager
def launched(executable):
    """Run a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS), headless=True)
        try:
            yield browser
        finally:
            browser.close()


def visit(browser, url, *, locale="en-GB", size=DESKTOP, scheme="light", state=None):
    """Open a browser of one person's own; `state` holds the cookies of an earlier one."""
    context = browser.new_context(
        locale=locale, viewport=size, color_scheme=scheme, reduced_motion="reduce", storage_state=state
    )
    context.set_default_timeout(20_000)
    context.add_init_script(_WATCH)
    return Visit(context, url)
