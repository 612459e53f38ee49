"""Pages for whoever reads them, by eye, ear, finger or key: WCAG 2.2 AA as far as a machine can judge it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python  # type: ignore[import-untyped]
import pytest
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.chromium import Browser
from tests.browser.conftest import Site
from tests.every_page import a_full_record, every_page
from tests.seed import seed
from tests.test_authorise import Things, things  # noqa: F401 a fixture

Visit = Callable[..., Page]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# All but colours is the same in every theme.
COLOURS = {"type": "rule", "values": ["color-contrast"]}
THEMES: tuple[dict[str, Any], ...] = (
    {"color_scheme": "dark", "contrast": "no-preference"},
    {"color_scheme": "light", "contrast": "more"},
    {"color_scheme": "dark", "contrast": "more"},
)
PARTS = 4
DESK = ViewportSize(width=1280, height=720)
LARGE = ViewportSize(width=1920, height=1080)
PHONE = ViewportSize(width=390, height=844)

# What a thumb presses first: the dock, the finder, the buttons of the head and of forms.
SMALL = """() => [...document.querySelectorAll(
    ".dock a, .finder, main :is(.head, .verdict, form.sure) .button, form.sure :is(.input, select)")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
    .map((one) => `${one.getBoundingClientRect().height} px: ${one.outerHTML.slice(0, 100)}`)"""


def faults(page: Page, rules: dict[str, Any], look: str) -> Iterator[str]:
    """What axe finds on the page as it stands, a line each."""
    # The admin's links take their time to change colours.
    page.evaluate("document.getAnimations().forEach((each) => each.finish())")
    found = page.evaluate(f"axe.run({json.dumps({'runOnly': rules, 'resultTypes': ['violations']})})")
    for violation in found["violations"]:
        for node in violation["nodes"]:
            why = " ".join(node["failureSummary"].split())[:300]
            yield f"{page.url} ({look}): {violation['id']} at {node['target']}: {why}"


def faults_in_all_looks(page: Page) -> Iterator[str]:
    """The same in each theme, and on a phone."""
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light", contrast="no-preference")
    page.evaluate(AXE)
    yield from faults(page, RULES, "light")
    for theme in THEMES:
        page.emulate_media(**theme)
        yield from faults(page, COLOURS, " ".join(theme.values()))
    page.emulate_media(color_scheme="light", contrast="no-preference")
    page.set_viewport_size(PHONE)
    yield from faults(page, RULES, "phone")


def too_wide(page: Page) -> Iterator[str]:
    """Where the page itself would have to be scrolled sideways."""
    for size in (PHONE, DESK, LARGE):
        page.set_viewport_size(size)
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            yield f"{page.url} is wider than {size['width']}"


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_page_has_a_fault_in_any_theme_or_size(visit: Visit, things: Things, part: int) -> None:  # noqa: F811
    a_full_record(timezone.now())
    page = visit(reduced_motion="reduce")
    found: list[str] = []
    for address in [*every_page(things)][part::PARTS]:
        page.goto(address)
        found += faults_in_all_looks(page)
        found += too_wide(page)
        found += page.evaluate("window.violations")
        found += page.evaluate(
            "document.getAnimations().map(() => `${location} moves, though nothing should`)"
        )
    assert found == [], "\n".join(found)


@pytest.mark.slow
def test_what_opens_over_a_page_has_no_fault_either(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/", reduced_motion="reduce")
    found: list[str] = []
    for keys, opened in (("?", "#keys"), ("/", "#palette")):
        page.set_viewport_size(DESK)
        page.keyboard.press(keys)
        expect(page.locator(f"{opened}[open]")).to_be_visible()
        if opened == "#palette":
            expect(page.locator("#palette [role=option]").first).to_be_visible()
        found += faults_in_all_looks(page)
        page.keyboard.press("Escape")
    page.locator(".account .who").click()
    found += [*faults_in_all_looks(page), *too_wide(page)]
    assert found == [], "\n".join(found)


ADMIN = (
    "/admin/",
    "/admin/django_celery_beat/periodictask/",
    "/admin/django_celery_beat/periodictask/add/",
    "/admin/auth/user/",
)


@pytest.mark.slow
def test_signing_in_and_being_refused_have_no_fault(chromium: Browser, site: Site) -> None:
    with chromium.visitor(base_url=site.address, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto("/sign-in/")
        found = [*faults_in_all_looks(page), *too_wide(page)]
        page.get_by_label("User").fill("nobody")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        found += [*faults_in_all_looks(page), *too_wide(page)]
    assert found == [], "\n".join(found)


@pytest.mark.slow
def test_the_admin_has_no_fault(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")
    found: list[str] = []
    for address in ADMIN:
        page.goto(address)
        found += faults_in_all_looks(page)
    assert found == [], "\n".join(found)


@pytest.mark.slow
def test_a_finger_has_room_for_each_main_action_on_a_phone(visit: Visit, things: Things) -> None:  # noqa: F811
    a_full_record(timezone.now())
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    small: list[str] = []
    for address in every_page(things):
        page.goto(address)
        small += [f"{address}: {what}" for what in page.evaluate(SMALL)]
    assert small == [], "\n".join(small)
