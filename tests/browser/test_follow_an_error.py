"""An error as a person follows it, with real failures: new, taken on, resolved, regressed, and retried."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from jobs.models import Error, ErrorJob
from nightdesk.recorder import Recorder
from tests import tasks
from tests.browser.test_look_at_pages import assert_in_order
from tests.harness import Installation, eventually
from tests.working import worker

Visit = Callable[..., Page]
PATIENCE = 60_000


@pytest.mark.slow
def test_an_error_is_followed_from_new_to_regressed_and_retried(
    installation: Installation, visit: Visit, published_from_here: Recorder
) -> None:
    installation.monitor()
    worker(installation)
    page = visit("/errors/")
    expect(page.locator(".side .errors-count")).to_be_hidden()

    for number in range(2):
        tasks.fail_with.delay(f"order {number} is gone")
    published_from_here.drain()
    row = page.locator("#errors tbody tr")
    expect(row).to_contain_text("order <n> is gone", timeout=PATIENCE)
    expect(page.locator(".side .errors-count")).to_contain_text("1", timeout=PATIENCE)
    row.get_by_role("link", name="KeyError").click()
    expect(page.locator("h1")).to_contain_text("New")
    expect(page.locator(".lead")).to_contain_text("2 jobs of fail_with", timeout=PATIENCE)
    page.get_by_role("button", name="I am on it").click()
    expect(page.locator(".lead")).to_contain_text("ops is on it.")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("h1")).to_contain_text("Resolved")

    tasks.fail_with.delay("order 7 is gone")
    published_from_here.drain()
    expect(page.locator("h1")).to_contain_text("Regressed", timeout=PATIENCE)
    expect(page.locator(".lead")).to_contain_text("3 jobs of fail_with")
    for width, height in ((1280, 720), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        assert_in_order(page)
    page.get_by_role("button", name="Retry all…").click()
    expect(page.locator("main")).to_contain_text("error:", timeout=PATIENCE)
    page.get_by_role("button", name="Retry 3 jobs").click()
    eventually(lambda: ErrorJob.objects.count() == 6, 60)
    assert Error.objects.get().times == 6
