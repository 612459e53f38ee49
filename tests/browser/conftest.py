from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from playwright.sync_api import Page

from tests.browser.chromium import Browser, open_browser
from tests.harness import Installation, Process

PASSWORD = "a long night at the desk"


@pytest.fixture
def chromium(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """A browser of this test's own: Playwright's loop must not outlive it, or asyncio tests after it fail."""
    # Playwright drives its loop in this thread, which Django takes for an async context.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with open_browser() as browser:
        yield browser


@dataclass(frozen=True)
class Site:
    """A web process and its address."""

    process: Process
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@pytest.fixture
def site(installation: Installation, ops: User) -> Site:
    """A web process with the static files of a real installation."""
    # The web process has the product's own hashers, not the fast one of the suite.
    User.objects.filter(pk=ops.pk).update(
        password=PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=10)
    )
    if not (settings.STATIC_ROOT / "staticfiles.json").exists():
        assert installation.manage("collectstatic", "--noinput").wait() == 0
    return Site(*installation.web())


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens a page of the site as the signed-in administrator; options are those of a browser context."""
    with ExitStack() as stack:

        def open_page(path: str = "/", **options: object) -> Page:
            page = stack.enter_context(chromium.visitor(base_url=site.address, **options)).new_page()
            sign_in(page)
            page.goto(path)
            return page

        yield open_page


def sign_in(page: Page) -> None:
    page.goto("/sign-in/")
    page.get_by_label("User").fill("ops")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in/" not in url)
