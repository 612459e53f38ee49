"""A schedule is edited on its page and in the admin, and a real Beat follows within seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from playwright.sync_api import Page, expect

from jobs.models import Action, Tick, Timeline
from tests.harness import Installation, eventually

pytestmark = pytest.mark.django_db(transaction=True)
Visit = Callable[..., Page]


def schedule() -> PeriodicTask:
    monthly = CrontabSchedule.objects.create(minute="30", hour="2", day_of_month="1", timezone="Europe/Paris")
    row: PeriodicTask = PeriodicTask.objects.create(
        name="nightly-report", task="tests.tasks.add", args="[1, 2]", queue="low", crontab=monthly
    )
    return row


def rhythm(row: PeriodicTask) -> str:
    return str(Timeline.objects.values_list("rhythm", flat=True).get(schedule=row))


@pytest.mark.slow  # a crontab has no less than minutes
def test_an_edit_on_the_page_takes_effect_within_seconds(visit: Visit, installation: Installation) -> None:
    row = schedule()
    installation.monitor()
    beat = installation.beat()
    eventually(lambda: Timeline.objects.filter(schedule=row).exists(), 30, beat.text)
    page = visit(f"/schedules/{row.pk}/edit/")
    page.get_by_label("Crontab", exact=True).fill("1--100000000 * * * *")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Crontab", exact=True).fill("* * * * *")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("It will run at")).to_be_visible()
    assert not Action.objects.filter(command="schedule.edit").exists()
    page.get_by_label("Reason").fill("the month is too long")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("Beat takes it up now")).to_be_visible()
    eventually(lambda: rhythm(row) == "cron * * * * * Europe/Paris", 5, beat.text)
    expect(page.get_by_text("the month is too long")).to_be_visible()
    eventually(lambda: Tick.objects.filter(schedule=row, outcome="fired").exists(), 75, beat.text)
    expect(page.locator("tbody tr")).to_have_count(1, timeout=15_000)


def test_an_edit_in_the_admin_takes_effect_within_seconds(visit: Visit, installation: Installation) -> None:
    row = schedule()
    beat = installation.beat()
    eventually(lambda: Timeline.objects.filter(schedule=row).exists(), 30, beat.text)
    page = visit(f"/admin/django_celery_beat/crontabschedule/{row.crontab_id}/change/")
    page.get_by_label("Minute").fill("1--100000000")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errornote")).to_be_visible()
    page.get_by_label("Minute").fill("*/5")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(lambda url: url.rstrip("/").endswith("crontabschedule"))
    eventually(lambda: rhythm(row).startswith("cron */5 2 1 "), 5, beat.text)
    assert Action.objects.filter(command="admin.change", target_kind="crontabschedule").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_of_schedules_fit_the_window(visit: Visit, scheme: str, width: int) -> None:
    row, now = schedule(), timezone.now()
    told = ["fired"] * 20 + ["missed", "skipped", "paused", "overlapped", "held"] + ["fired"] * 10
    for number, outcome in enumerate(told):
        due = now - timedelta(minutes=len(told) - number)
        fired_at = due if outcome == "fired" else None
        reason = {"missed": "away", "overlapped": "running", "held": "running"}.get(outcome, "")
        Tick.objects.create(
            schedule=row, due=due, outcome=outcome, reason=reason, known_at=now, fired_at=fired_at
        )
    Timeline.objects.create(schedule=row, rhythm="cron 30 2 1 * * Europe/Paris", decided_until=now)
    page = visit("/schedules/", viewport={"width": width, "height": 760}, color_scheme=scheme)
    for name, path in {
        "list": "/schedules/",
        "detail": f"/schedules/{row.pk}/",
        "edit": f"/schedules/{row.pk}/edit/",
        "backfill": f"/schedules/{row.pk}/backfill/?begin=2026-08-01T00:00&end=2026-11-20T00:00",
    }.items():
        page.goto(path)
        if pictures := os.environ.get("PICTURES"):
            page.screenshot(path=Path(pictures) / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
