"""An alert from firing through acknowledged to resolved, as a person follows it, with a real cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from jobs.models import Rule
from jobs.models.alerts import Kind, Severity
from tests import tasks
from tests.alerting import a_rule, an_alert
from tests.harness import Installation
from tests.seed import seed

# Samples come every 5 s, and rules are looked at as often; the machine may have much to do.
PATIENCE = 60_000
Visit = Callable[..., Page]


@pytest.fixture
def installation(installation: Installation) -> Installation:
    """Without the rules that are there from the first start."""
    Rule.objects.all().delete()
    return installation


def icon_of(page: Page) -> str:
    return page.locator("#icon").get_attribute("href") or ""


@pytest.mark.slow
def test_an_alert_is_followed_from_firing_to_resolved(
    installation: Installation, visit: Visit, tmp_path: Path
) -> None:
    rule = a_rule(Kind.NO_CONSUMER, severity=Severity.PAGE, resolve_seconds=0)
    installation.monitor()
    elsewhere, wall = visit("/jobs/"), visit("/wall/")
    page = visit("/alerts/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing fires", timeout=PATIENCE)
    tasks.note.apply_async((str(tmp_path / "ran"), "here"), queue="high")

    expect(page.get_by_role("heading", level=1)).to_contain_text("1 alert fires", timeout=PATIENCE)
    expect(elsewhere).to_have_title("(1) Jobs · Nightdesk", timeout=PATIENCE)
    expect(elsewhere.locator(".side .alerts-count")).to_contain_text("1 firing")
    assert "icon-firing" in icon_of(elsewhere)
    expect(wall.get_by_role("heading", level=1)).to_have_text("1 alert fires", timeout=PATIENCE)
    expect(wall.locator(".wall-rows")).to_contain_text("No worker reads high")

    page.get_by_role("link", name="No worker reads high", exact=True).click()
    expect(page.locator(".lead")).to_contain_text("1 wait, the oldest for")
    page.get_by_role("button", name="Acknowledge: No worker reads high").click()
    expect(page.locator(".lead")).to_contain_text("ops is on it", timeout=PATIENCE)
    expect(page.locator("h1 .state")).to_have_text("Acknowledged")

    installation.worker("high")
    expect(page.locator("h1 .state")).to_have_text("Resolved", timeout=PATIENCE)
    expect(page.locator(".deeds").last).to_contain_text("alert.acknowledge")
    page.goto("/alerts/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing fires", timeout=PATIENCE)
    expect(page.locator("tbody")).to_contain_text("ops")
    expect(elsewhere).to_have_title("Jobs · Nightdesk", timeout=PATIENCE)
    assert "icon-firing" not in icon_of(elsewhere)
    expect(wall.get_by_role("heading", level=1)).to_have_text("Quiet", timeout=PATIENCE)
    for each in (page, elsewhere, wall):
        assert each.evaluate("window.violations") == []
    assert rule.alerts.count() == 1


def test_pages_of_alerts_keep_to_their_width_and_to_the_policy(visit: Visit) -> None:
    now = timezone.now()
    seed(now)
    long = "a.very.long." * 18
    rule = a_rule(
        Kind.NO_CONSUMER, severity=Severity.PAGE, note=long, runbook_url=f"https://x.example/{long}"
    )
    alert = an_alert(rule, now, long, queue=long, note=long)
    an_alert(a_rule(Kind.FAILURE_RISE), now, long, task=long, acknowledged_at=now, acknowledged_by="ana")
    page = visit()
    for path in (
        "/alerts/", f"/alerts/{alert.pk}/", f"/alerts/{alert.pk}/silence/", "/alerts/rules/",
        f"/alerts/rules/{rule.pk}/", "/alerts/rules/new/", "/wall/", "/",
    ):  # fmt: skip
        page.goto(path)
        for width, height in ((1280, 720), (1920, 1080), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            expect(page.get_by_role("heading", level=1).first).to_be_visible()
            assert page.evaluate("window.violations") == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)


def test_the_summary_is_copied_with_a_button(visit: Visit) -> None:
    now = timezone.now()
    seed(now)
    alert = an_alert(a_rule(Kind.NO_CONSUMER), now, "high", queue="high")
    page = visit(f"/alerts/{alert.pk}/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the summary").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("No worker reads high\n")


def test_an_alert_is_acknowledged_without_script(visit: Visit) -> None:
    now = timezone.now()
    seed(now)
    an_alert(a_rule(Kind.NO_CONSUMER), now, "high", queue="high")
    page = visit("/alerts/", java_script_enabled=False)
    page.get_by_role("button", name="Acknowledge: No worker reads high").click()
    expect(page.locator(".lead")).to_contain_text("ops is on it")
