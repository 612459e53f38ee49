"""Run by `benchmarks.ticks`: schedules in the database at hand, and a Beat's passes over them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

import django

django.setup()

from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

from workers.app import app
from workers.scheduler import Scheduler

PASSES = 40
DUE = 10
ZONES = ("UTC", "America/New_York", "Europe/Paris", "Asia/Kolkata")


def main(count: int) -> None:
    _make(count)
    beat, took = Scheduler(app=app), {}
    now = datetime.now(UTC)
    took["first"] = [_timed(lambda: beat.work(now))]
    took["quiet"] = [_timed(_a_second_later(beat, now)) for _ in range(PASSES)]
    took["due"] = [_timed(_with_some_due(beat, now)) for _ in range(PASSES)]
    took["edited"] = [_timed(_edited(beat, now)) for _ in range(PASSES // 4)]
    print(json.dumps(took))


def _make(count: int) -> None:
    """At other times of a day each, so that hardly any is due meanwhile."""
    crons = [
        CrontabSchedule(minute=str(minute), hour=str(hour), timezone=zone)
        for minute in range(60)
        for hour in range(24)
        for zone in ZONES
    ]
    CrontabSchedule.objects.bulk_create(crons, batch_size=500)
    what = {"task": "celery.backend_cleanup", "queue": "low"}
    tasks = [
        PeriodicTask(name=f"schedule {number}", crontab=crons[number % len(crons)], **what)
        for number in range(count)
    ]
    PeriodicTask.objects.bulk_create(tasks, batch_size=500)
    PeriodicTasks.update_changed()


def _a_second_later(beat: Scheduler, now: datetime) -> Callable[[], object]:
    """It renews its lease, says that it lives, and looks for edits."""
    beat._looked = beat._heard = beat._lease._renewed = float("-inf")
    return lambda: beat.work(now)


def _with_some_due(beat: Scheduler, now: datetime) -> Callable[[], object]:
    entries = list(beat.board.entries.values())[:DUE]
    for entry in entries:
        entry.decided(now - timedelta(days=1))
    beat.board.place(entries)
    return lambda: beat.work(now)


def _edited(beat: Scheduler, now: datetime) -> Callable[[], object]:
    task = PeriodicTask.objects.latest("pk")
    task.description += "."
    task.save()
    beat._looked = float("-inf")
    return lambda: beat.work(now)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]))
