"""Back in time with a browser: by the form, by a step, by dragging over the chart."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from dashboard import moments
from tests.seed import seed

Visit = Callable[..., Page]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def drag(page: Page, begin: float, end: float) -> None:
    """Over the chart, from one share of its width to another."""
    point(page, begin)
    page.mouse.down()
    point(page, end)
    page.mouse.up()


def point(page: Page, share: float) -> None:
    """Move the pointer over the chart, to this share of its width."""
    ground = page.locator("[data-drag]")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2, steps=4)


def minutes_asked(page: Page) -> float:
    asked = parse_qs(urlsplit(page.url).query)
    since, until = (datetime.fromisoformat(asked[end][0]) for end in ("since", "until"))
    return (until - since) / timedelta(minutes=1)


def test_a_span_dragged_over_the_chart_is_shown_and_again_a_part_of_it(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/?cluster=default")
    drag(page, 0.3, 0.6)
    page.wait_for_url(re.compile(r"since=\d{4}-\d\d-\d\dT"))
    assert "cluster=default" in page.url
    assert 17 <= minutes_asked(page) <= 20
    expect(page.locator(".then")).to_contain_text("The system from")
    expect(page.locator("#chart canvas")).to_be_visible()
    first = page.url
    drag(page, 0.25, 0.75)
    page.wait_for_url(lambda url: url != first and "since=" in url)
    assert 8 <= minutes_asked(page) <= 12
    page.get_by_role("link", name="Back to live").click()
    expect(page.locator("#fresh")).to_have_attribute("data-fresh", "live")


def test_a_span_dragged_to_the_edge_ends_with_the_last_whole_minute(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/")
    drag(page, 0.9, 0.999)
    page.wait_for_url(re.compile(r"until="))
    expect(page.locator(".then")).to_contain_text("The system from")


def test_a_span_dragged_to_the_edge_of_a_chart_of_hours_ends_where_that_ends(visit: Visit) -> None:
    seed(timezone.now())
    until = timezone.now() - timedelta(minutes=1)
    until -= timedelta(minutes=0 if until.minute else 1)
    shown = f"/?since={moments.field(until - timedelta(hours=12))}&until={moments.field(until)}"
    page = visit(shown)
    drag(page, 0.5, 0.999)
    page.wait_for_url(lambda url: shown not in url)
    expect(page.locator(".then")).to_contain_text("The system from")
    assert parse_qs(urlsplit(page.url).query)["until"] == [moments.field(until)]


@pytest.mark.parametrize(
    ("path", "leads_to", "minutes"),
    [
        ("/tasks/workers.demo.tasks.sync_product/", "/", range(6 * 60, 9 * 60)),
        ("/queues/default/", "/queues/default/", range(16, 23)),
    ],
)
def test_a_chart_drawn_by_the_server_is_dragged_over_as_well(
    visit: Visit, path: str, leads_to: str, minutes: range
) -> None:
    seed(timezone.now())
    page = visit(f"{path}?cluster=default")
    drag(page, 0.3, 0.6)
    page.wait_for_url(re.compile(r"since=\d{4}-\d\d-\d\dT"))
    assert urlsplit(page.url).path == leads_to
    assert "cluster=default" in page.url
    assert minutes_asked(page) in minutes
    expect(page.locator(".then")).to_contain_text("The system from")


def test_a_drag_over_the_running_hour_ends_with_the_last_whole_minute(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/tasks/workers.demo.tasks.sync_product/")
    drag(page, 0.8, 1.1)
    page.wait_for_url(re.compile(r"until="))
    until = datetime.fromisoformat(parse_qs(urlsplit(page.url).query)["until"][0])
    assert abs(until.replace(tzinfo=UTC) - timezone.now()) < timedelta(minutes=2)
    expect(page.locator(".then")).to_contain_text("The system from")


def test_what_is_dragged_over_is_seen_and_a_slip_of_the_hand_leads_nowhere(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/queues/default/")
    point(page, 0.3)
    page.mouse.down()
    point(page, 0.6)
    expect(page.locator(".picked")).to_be_visible()
    point(page, 0.301)
    expect(page.locator(".picked")).to_be_hidden()
    page.mouse.up()
    assert urlsplit(page.url).query == ""


def test_two_fingers_on_a_chart_zoom_and_lead_nowhere(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/queues/default/")
    page.evaluate(
        """() => {
          const ground = document.querySelector("[data-drag]");
          const send = (what, clientX, isPrimary) =>
            ground.dispatchEvent(new PointerEvent(what, { bubbles: true, clientX, isPrimary }));
          send("pointerdown", 400, true);
          send("pointerdown", 500, false);
          send("pointermove", 700, true);
          send("pointerup", 700, true);
        }"""
    )
    page.locator("#wait-h").click()
    assert urlsplit(page.url).query == ""


def test_a_span_can_be_asked_for_and_shifted_without_script(visit: Visit) -> None:
    seed(timezone.now())
    page = visit("/", java_script_enabled=False)
    page.locator(".earlier summary").click()
    now = timezone.now()
    page.get_by_label("From (UTC)").fill(moments.field(now - timedelta(minutes=40)))
    page.get_by_label("until").fill(moments.field(now - timedelta(minutes=20)))
    page.get_by_role("button", name="Show span").click()
    expect(page.locator(".then")).to_contain_text("20 min")
    page.get_by_role("link", name="Zoom out").click()
    assert 38 <= minutes_asked(page) <= 40
    page.get_by_role("link", name="failed jobs").click()
    expect(page.get_by_label("Published from (UTC)")).not_to_have_value("")


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
