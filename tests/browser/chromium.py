"""The browser that tests look through."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "Chromium is missing. On Debian: apt-get install -y chromium. Elsewhere: playwright install chromium"
)
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
    (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


class Browser:
    """Headless Chromium; each `visitor` is a fresh profile whose pages note what breaks the policy.

    A script that throws fails the test that its page belongs to.
    """

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium

    @contextmanager
    def visitor(self, **options: Any) -> Iterator[BrowserContext]:
        context = self._chromium.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
        context.add_init_script(WATCH)
        thrown: list[str] = []
        context.on("weberror", lambda failure: thrown.append(str(failure.error)))
        try:
            yield context
        finally:
            context.close()
        assert thrown == []

    @contextmanager
    def serving(self, folder: Path) -> Iterator[tuple[Page, str]]:
        """A page of the files in `folder`, over HTTP, since modules want an origin; and their address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            with self.visitor() as context:
                page = context.new_page()
                page.goto(f"{address}/icon.svg")
                yield page, address
        finally:
            server.shutdown()
            server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def binary() -> str | None:
    """The system's Chromium."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The browser; without one the test is skipped, or fails where REQUIRE_BROWSER=1."""
    with sync_playwright() as playwright:
        found = binary() or _of_playwright(playwright)
        if found is None:
            miss = pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip
            miss(MISSING)
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield Browser(chromium)
        finally:
            chromium.close()


def _of_playwright(playwright: Playwright) -> str | None:
    own = playwright.chromium.executable_path
    return own if Path(own).exists() else None
