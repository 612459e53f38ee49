"""`make screenshots`: pictures for README and docs, taken from the running product.

Starts `manage.py up` with the demo shop in a folder of its own, lets it work
for a while, and looks at it as a signed-in person would.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "screenshots"
# file: (path, width, height, colour scheme)
VIEWS = {
    "overview.png": ("/", 1280, 720, "light"),
    "overview-dark.png": ("/", 1280, 720, "dark"),
    "overview-phone.png": ("/", 390, 844, "light"),
    "jobs.png": ("/jobs/", 1280, 720, "light"),
    "queues.png": ("/queues/", 1280, 720, "light"),
    "workers.png": ("/workers/", 1280, 720, "light"),
    "schedules.png": ("/schedules/", 1280, 720, "light"),
    "alerts.png": ("/alerts/", 1280, 720, "light"),
    "alerts-phone.png": ("/alerts/", 390, 844, "light"),
    "wall.png": ("/wall/", 1280, 720, "dark"),
    "errors.png": ("/errors/", 1280, 720, "light"),
    "tasks.png": ("/tasks/", 1280, 720, "light"),
    "workflows.png": ("/workflows/", 1280, 720, "light"),
    "coverage.png": ("/coverage/", 1280, 800, "light"),
    "coverage-phone.png": ("/coverage/", 390, 844, "light"),
}
# Tracebacks name the folder that this machine happens to keep the checkout in.
HIDE_THE_CHECKOUT = """(root) => {
  for (const pre of document.querySelectorAll("pre"))
    pre.textContent = pre.textContent.replaceAll(root, "/srv/shop");
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=float, default=420, help="seconds that the shop works before the pictures"
    )
    options = parser.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(12)
    with running_shop(password) as address:
        time.sleep(options.work)
        take_pictures(address, password)


@contextmanager
def running_shop(password: str) -> Iterator[str]:
    """A product at work; its address."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="nd-") as folder:
        env = {**os.environ, "DATA_DIR": folder, "PORT": str(port), "DEMO": "1", "ADMIN_PASSWORD": password}
        env.update(SITE_NAME="shop", ENVIRONMENT="demo", RELEASE="9f3c1e2")
        log = Path(folder) / "up.log"
        with log.open("wb") as output:
            up = subprocess.Popen(
                [sys.executable, "manage.py", "up"], cwd=ROOT, env=env, stdout=output, stderr=output
            )
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz", up)
            yield f"http://127.0.0.1:{port}"
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


def take_pictures(address: str, password: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        for name, (path, width, height, scheme) in VIEWS.items():
            context = browser.new_context(
                base_url=address,
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = context.new_page()
            _sign_in(page, password)
            _take(page, path, name)
            if name == "jobs.png":
                _take(page, _failed_job(page), "job.png")
            context.close()
        browser.close()


def _sign_in(page: Page, password: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)


def _take(page: Page, path: str, name: str) -> None:
    page.goto(path)
    page.locator("#fresh[data-fresh=live]").wait_for()
    page.wait_for_timeout(3000)  # the marks of changed cells fade
    page.evaluate(HIDE_THE_CHECKOUT, str(ROOT))
    page.screenshot(path=PICTURES / name)
    print(f"docs/screenshots/{name}")


def _failed_job(page: Page) -> str:
    """The address of the latest job that failed after retries, or else of the latest that failed."""
    page.goto("/jobs/?state=failed")
    links = page.locator("tbody tr")
    rows = [(row.inner_text(), row.locator("a").first.get_attribute("href")) for row in links.all()]
    retried = [href for text, href in rows if re.search(r"\b[2-9]\b", text) and href]
    return retried[0] if retried else str(rows[0][1])


def _wait_for(address: str, up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and up.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()  # noqa: S310 our own loopback address
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the product did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _chromium() -> str:
    for folder in os.environ["PATH"].split(os.pathsep):
        for name in ("chromium", "chromium-browser", "google-chrome"):
            if os.access(Path(folder) / name, os.X_OK):
                return str(Path(folder) / name)
    raise SystemExit("Chromium is missing; on Debian: apt-get install -y chromium")


if __name__ == "__main__":
    main()
