"""Back in time with a browser: by the form, by a step, by dragging over the chart."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from dashboard import moments
from tests.seed import seed

Visit = Callable[..., Page]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_a_span_dragged_over_the_chart_leads_to_its_end(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/")
    box = page.locator("#chart .u-over").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"\?at=\d{4}-\d\d-\d\dT"))
    expect(page.locator(".then")).to_contain_text("The system at")
    expect(page.locator("#chart canvas")).to_be_visible()
    page.get_by_role("link", name="Back to live").click()
    expect(page.locator("#fresh")).to_have_attribute("data-fresh", "live")


def test_the_form_and_the_steps_work_without_script(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/queues/", java_script_enabled=False)
    at = moments.field(timezone.now() - timedelta(minutes=30))
    page.locator(".earlier summary").click()
    page.get_by_label("Show at (UTC)").fill(at)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".then")).to_contain_text(at[-5:])
    page.get_by_role("link", name="15 min").first.click()
    assert at not in page.url
    page.get_by_role("link", name="high", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("high")
    expect(page.locator(".then")).to_be_visible()
