"""Times in the browser's own zone: chosen with script and without, the same on a page and in its frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from dashboard import moments
from tests.browser.test_watch_pages import assert_fresh, overview, publish
from tests.seed import seed

Visit = Callable[..., Page]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
# Browsers have an old name for it, too.
KOLKATA = re.compile(r"Asia/(Kolkata|Calcutta)")
HERE = re.compile(r"\d\d:\d\d UTC\+5:30")
# Of each time of the page what it is of, and how that is written.
TIMES = """Object.fromEntries([...document.querySelectorAll("#main time:not([data-as=ago])")]
    .map((one) => [`${one.dataset.key} ${one.dataset.epoch}`, [one.textContent, one.title]]))"""


def choose_local(page: Page) -> None:
    page.locator(".account .who").click()
    page.get_by_role("button", name="Local").click()


def test_local_is_the_zone_of_the_browser_on_the_page_and_in_its_frames(visit: Visit) -> None:
    now = timezone.now()
    seed(now)
    page = visit("/?cluster=default", timezone_id="Asia/Kolkata")
    expect(page.locator("#clock")).to_have_text(re.compile(r"\d\d:\d\d UTC$"))
    choose_local(page)
    page.wait_for_url(lambda url: url.endswith("/?cluster=default"))
    expect(page.locator("html")).to_have_attribute("data-zone", KOLKATA)
    expect(page.locator("#fresh")).to_have_attribute("data-fresh", "live")
    expect(page.locator("#clock")).to_have_text(HERE)
    page.locator(".account .who").click()
    expect(page.locator(".account:not(.earlier) .menu")).to_contain_text(KOLKATA)
    page.get_by_role("button", name="UTC", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-zone", "UTC")


def test_a_frame_writes_every_time_as_the_page_did(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/", timezone_id="Asia/Kolkata")
    choose_local(page)
    expect(page.locator("html")).to_have_attribute("data-zone", KOLKATA)
    assert_fresh(page, "live")
    first = page.evaluate(TIMES)
    frame = overview()
    frame["figures"]["rate"]["now"] = 123_456.0
    publish(frame)
    expect(page.locator("#figure-rate .value")).to_have_text("123K")
    after = page.evaluate(TIMES)
    both = first.keys() & after.keys()
    assert {key: after[key] for key in both} == {key: first[key] for key in both}
    assert any("peak_at" in key for key in both)
    assert all(title.endswith(" UTC+5:30") for _, title in after.values() if title)


def test_without_script_the_zone_is_chosen_from_a_list_and_one_is_back_where_one_was(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/jobs/?state=failed", java_script_enabled=False)
    choose_local(page)
    page.get_by_label("Show times in").select_option("America/Sao_Paulo")
    page.get_by_role("button", name="Show times so").click()
    assert page.url.endswith("/jobs/?state=failed")
    expect(page.locator("#clock")).to_have_text(re.compile(r"\d\d:\d\d UTC-3"))
    page.get_by_label("Published from (America/Sao_Paulo)").fill("2026-11-21T21:00")
    page.get_by_role("button", name="Filter").click()
    assert parse_qs(urlsplit(page.url).query)["since"] == ["2026-11-22T00:00"]
    expect(page.get_by_label("Published from (America/Sao_Paulo)")).to_have_value("2026-11-21T21:00")


def test_a_filter_of_the_list_is_meant_in_the_zone_and_addressed_in_utc(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/jobs/", timezone_id="Asia/Kolkata")
    choose_local(page)
    expect(page.locator("#clock")).to_have_text(HERE)
    field = page.get_by_label(re.compile(r"Published from \(Asia/"))
    field.fill("2026-11-22T05:30")
    field.dispatch_event("change")
    page.wait_for_url(re.compile("since=2026-11-22T00:00&"))
    assert "zone=" not in page.url
    expect(field).to_have_value("2026-11-22T05:30")


def test_an_earlier_moment_is_asked_for_in_the_zone(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/queues/", timezone_id="Asia/Kolkata")
    choose_local(page)
    expect(page.locator("#clock")).to_have_text(HERE)
    at = timezone.now() - timedelta(minutes=30)
    local = at.astimezone(ZoneInfo("Asia/Kolkata")).strftime("%Y-%m-%dT%H:%M")
    page.locator(".earlier summary").click()
    page.get_by_label(re.compile(r"Show at \(Asia/")).fill(local)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".then")).to_contain_text(f"{local[-5:]} UTC+5:30")
    assert page.url.endswith(f"?at={moments.field(at)}")
