"""The overview of a system that burns: in one screen, moving by itself, and calm again afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.chromium import Browser
from tests.browser.conftest import sign_in
from tests.burning import burn
from tests.harness import Installation

# Samples come every 5 s, and the machine may have much to do.
PATIENCE = 90_000
Visit = Callable[..., Page]


def test_a_fire_is_told_in_one_screen_with_the_letters_of_its_chart(visit: Visit) -> None:
    burn(timezone.now())
    page = visit("/", viewport={"width": 1280, "height": 720})
    expect(page.get_by_role("heading", level=1, name="Burning")).to_be_visible()
    expect(page.locator(".needs > li").first).to_contain_text("Queue high has no workers.")
    expect(page.locator(".story li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollHeight") <= 720
    letters = page.locator("#story [data-mark]").evaluate_all("all => all.map(each => each.dataset.mark)")
    assert letters == sorted(letters, reverse=True)
    page.get_by_text("Summary to copy").click()
    assert page.locator("#summary").input_value().startswith("**Burning since ")


@pytest.mark.slow
def test_a_queue_that_nobody_reads_burns_and_is_quiet_again_when_the_fire_is_out(
    chromium: Browser, installation: Installation, site: object
) -> None:
    queue = max(settings.QUEUES.items(), key=lambda item: item[1].target)[0]
    installation.monitor()
    installation.worker(queue, DEMO="1")
    address = site.address  # type: ignore[attr-defined]
    with chromium.visitor(base_url=address) as context:
        page = context.new_page()
        sign_in(page)
        page.goto("/")
        expect(page.get_by_role("heading", level=1, name="Quiet")).to_be_visible(timeout=PATIENCE)
        fire = installation.manage("demo", "--burn", "no-consumer", "--minutes", "1", DEMO="1")
        fire.says("no worker reads")
        expect(page.get_by_role("heading", level=1, name="Burning")).to_be_visible(timeout=PATIENCE)
        expect(page.locator(".needs > li").first).to_contain_text(f"Queue {queue} has no workers.")
        assert fire.wait(PATIENCE / 1000) == 0
        expect(page.get_by_text(f"Queue {queue} has no workers.")).to_have_count(0, timeout=PATIENCE)
